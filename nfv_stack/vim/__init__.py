"""The infrastructure below a slave stack: one driver a file, found by name as entry points."""

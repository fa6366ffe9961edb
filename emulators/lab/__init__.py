"""The laboratory: the paper's four nodes as processes on one machine."""

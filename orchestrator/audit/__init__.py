"""Who did what from where: an append-only table, chained by hash (docs/audit.md)."""

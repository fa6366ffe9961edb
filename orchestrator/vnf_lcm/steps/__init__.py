"""The steps of operations, in the order and under the names of `docs/architecture.md`."""

TRANSFER = ("key", "circuit", "announce", "stream", "place", "notify")
"""How an image arrives: all of it under one key, or none."""
INSTANTIATE = (*TRANSFER, "boot", "acknowledge")
TERMINATE = ("remove",)

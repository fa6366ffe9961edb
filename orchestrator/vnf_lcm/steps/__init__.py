"""The steps of operations, in the order and under the names of `docs/architecture.md`."""

INSTANTIATE = ("key", "circuit", "announce", "stream", "place", "notify", "boot", "acknowledge")
TERMINATE = ("remove",)

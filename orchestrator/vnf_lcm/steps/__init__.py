"""The steps of operations, in the order and under the names of `docs/architecture.md`."""

TRANSFER = ("key", "circuit", "announce", "stream", "place", "notify")
"""How an image arrives: all of it under one key, or none."""
INSTANTIATE = (*TRANSFER, "boot", "acknowledge")
OPERATE = {"STOPPED": ("stop",), "STARTED": ("start",)}
"""By what the request wants it changed to."""
HEAL_IN_PLACE = ("recreate",)
HEAL = (*TRANSFER, "remove", "boot", "acknowledge")
"""Where the data centre lost the image."""
TERMINATE = ("remove",)
TERMINATE_GRACEFULLY = ("stop", "remove")

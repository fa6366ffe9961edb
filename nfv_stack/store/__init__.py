"""Tables of a slave stack: transfers and instances."""

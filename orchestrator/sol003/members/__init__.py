"""VNFs of several members: one occurrence over the ordinary operations of each of them."""

"""What a slave stack promises to its callers: documents, errors and a client.

This is the only part of `nfv_stack` that other rooms import.
"""

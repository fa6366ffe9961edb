"""A key management entity (KME): applications (SAEs) at both ends of a link get the same keys.

`service` does what the standard's three calls mean, `deliveries` journals which blocks of the link
make which delivered key, `contract` is what two KMEs say to each other.
"""

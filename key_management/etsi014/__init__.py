"""ETSI GS QKD 014 V1.1.1: the REST interface by which applications (SAEs) get keys from a KME.

`documents` are its data formats, `endpoints` answers requests, `client` makes them.
"""

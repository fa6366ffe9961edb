"""The key store of one end of a QKD link: what both ends hold, who reserved it, and that it is
used once.

`ledger` is the store itself, `wrapping` keeps the keys that wrap it outside the database,
`sources` brings keys in from QKD units, `extraction` makes both ends hold the same ids.
"""

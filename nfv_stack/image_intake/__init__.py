"""Takes sealed images: announces, issues tickets, receives streams, and places what was verified.

`intake` keeps the transfers, `listener` the TCP side, `placement` the way into the VIM.
"""

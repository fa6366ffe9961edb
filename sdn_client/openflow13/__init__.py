"""Codec of the subset of OpenFlow 1.3 that a fibre switch speaks, as `OPENFLOW13.md` writes it.

Bytes in, messages out; no sockets and no time. `sdn_client.openflow_framing` cuts a stream into
frames, `reading.decode` reads a frame, `messages.encode` writes a message, in both directions.
Whatever the bytes, the answer is a message or a `MalformedMessage`.
"""

"""Keys for ends that no QKD link joins, carried over trusted nodes (RELAY.md).

`message` is the wire format, `node` what every node on a route does, `origin` what the first one
does besides, `routes` the choice of the way.
"""

"""Errors of the relay.

KeyManagementError
└── RelayError
    ├── RelayMessageError     the message is malformed, or not the one that was reserved for
    ├── RelayForgedError      the tag does not verify; the blocks of the hop were burned
    ├── RelayBurnedError      the route was given up; its blocks are burned
    └── NoRouteError          no chain of links with enough keys leads there
"""

from __future__ import annotations

from key_management.errors import KeyManagementError


class RelayError(KeyManagementError):
    slug = "key-relay"
    title = "The keys could not be relayed"


class RelayMessageError(RelayError):
    slug = "relay-message"
    title = "The relay message is not acceptable"


class RelayForgedError(RelayError):
    slug = "relay-forged"
    title = "The relay message was altered on its way"


class RelayBurnedError(RelayError):
    slug = "relay-burned"
    title = "The route was given up"


class NoRouteError(RelayError):
    slug = "no-relay-route"
    title = "No route of trusted nodes has enough keys"

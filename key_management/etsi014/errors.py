"""Errors of an ETSI 014 client.

Etsi014Error
├── KmeUnreachableError   no answer
├── KmeUnavailableError   503: it cannot deliver now
└── KmeRefusedError       400 or 401, with its reason
"""

from __future__ import annotations

from key_management.errors import KeyManagementError


class Etsi014Error(KeyManagementError):
    slug = "etsi-014"
    title = "The KME did not deliver"


class KmeUnreachableError(Etsi014Error):
    slug = "kme-unreachable"
    title = "The KME does not answer"


class KmeUnavailableError(Etsi014Error):
    slug = "kme-unavailable"
    title = "The KME cannot deliver now"


class KmeRefusedError(Etsi014Error):
    slug = "kme-refused"
    title = "The KME refused"

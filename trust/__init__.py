"""Who may speak to whom: the lab's own certificate authority and mutual TLS between services.

A certificate names one service by role and name, in two subject alternative names:
`urn:qnfv:identity:ROLE:NAME` (what a server checks of its caller) and the DNS name
`NAME.ROLE.qnfv.internal` (what a caller checks of the server, whatever its address).
"""

from trust.authority import Authority
from trust.credentials import Credentials
from trust.errors import AuthorityExistsError, TrustError
from trust.identity import Identity, Role

__all__ = ["Authority", "AuthorityExistsError", "Credentials", "Identity", "Role", "TrustError"]

"""A new data centre gets its certificates with one command on each side.

The trusted side makes a token and waits (`desk`); the new side sends certificate requests and gets
certificates (`newcomer`). Nothing that travels is secret, so it travels in the clear: what counts
is who said it, and both say it with a MAC under the token's secret, which never travels.

    newcomer -> desk   MAC("request", body)   {"requests": {"slave:dc-5": CSR, ...}}
    desk -> newcomer   MAC("answer", body)    {"certificates", "authority", "revocations", "terms"}
    newcomer -> desk   MAC("received", body)  that it has them

The first keys that come are the ones: repeated requests for them get the same answer, other keys
are refused. The authority is believed by the fingerprint in the token.
"""

from trust.joining.desk import JoinDesk
from trust.joining.newcomer import join
from trust.joining.token import JoinToken

__all__ = ["JoinDesk", "JoinToken", "join"]

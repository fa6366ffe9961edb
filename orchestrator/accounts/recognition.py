"""From a request's headers to who is behind it."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from orchestrator.accounts.identity import LOCAL, Identity, Via
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.sessions import (
    BY_ITSELF_HEADER,
    COOKIE,
    CSRF_HEADER,
    csrf_token_of,
)


class Recognition:
    """Token of the token file, API token or session. Asks the database: call it in a thread."""

    def __init__(self, token: str, accounts: Accounts | None) -> None:
        self._token = token.encode()
        self._accounts = accounts

    def identity_of(self, headers: Headers) -> Identity | None:
        """None for nobody. A wrong token is nobody, whatever cookie comes with it."""
        given = token_in(headers)
        if given is not None:
            if hmac.compare_digest(given.encode(), self._token):
                return LOCAL
            return self._accounts.tokens.identity_of(given) if self._accounts else None
        cookie = cookie_in(headers)
        if cookie is None or self._accounts is None:
            return None
        by_itself = BY_ITSELF_HEADER in headers
        return self._accounts.sessions.identity_of(cookie, seen=not by_itself)


def has_csrf_token(identity: Identity, headers: Headers) -> bool:
    """Whether a session's own page asks for a change; who has a token needs no such proof."""
    if identity.via is not Via.SESSION:
        return True
    expected = csrf_token_of(cookie_in(headers) or "")
    return hmac.compare_digest(expected.encode(), headers.get(CSRF_HEADER, "").encode())


def token_in(headers: Headers) -> str | None:
    """What `Authorization: Bearer` or `X-Auth-Token` hold; None where there is neither."""
    if "authorization" not in headers and "x-auth-token" not in headers:
        return None
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return (value if scheme.lower() == "bearer" else headers.get("x-auth-token", "")).strip()


def cookie_in(headers: Headers) -> str | None:
    """The session's cookie."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and morsel.value else None

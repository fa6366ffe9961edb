"""Requests to subscribers: to origins that the settings name, and to nobody else.

A callback is an address that somebody else chose, asked from inside our network. So no redirect is
followed, no proxy of the environment is used, no cookie is kept, an exchange has one deadline, and
of an answer only the status is looked at.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Collection
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any
from uuid import UUID

import httpx

from orchestrator.sol003.notifications.deadline import DeadlineTransport
from orchestrator.sol003.notifications.documents import (
    Oauth2Parameters,
    SubscriptionAuthentication,
)
from orchestrator.sol003.notifications.errors import (
    CallbackRefusedError,
    CallbackTestsBusyError,
)
from timekeeping import Clock

_TIMEOUT_S = 5.0
"""Of a whole exchange, with the one for its token."""
_TESTS_AT_ONCE = 4
"""Beside them the courier sends; whoever wants another one is told to come back."""
_TOKEN_BYTES = 16_384
_TOKEN_RESERVE_S = 10.0
"""A token that ends sooner is not used any more."""
_TOKEN_LIFE_S = 60.0
"""Where the token's server does not say how long it holds."""
_LONGEST_TOKEN_LIFE_S = 86_400.0


class Callbacks:
    """Thread-safe."""

    def __init__(
        self, allowed: Collection[str], clock: Clock, *, ca_file: Path | None = None
    ) -> None:
        """`allowed`: origins as `https://host:port`; without a port every one of that host."""
        self._allowed = frozenset(each.lower().rstrip("/") for each in allowed)
        self._clock = clock
        self._lock = Lock()
        self._tokens: dict[UUID, tuple[str, float]] = {}
        self._tests = BoundedSemaphore(_TESTS_AT_ONCE)
        trusted = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._network = DeadlineTransport(trusted, clock)
        self._http = httpx.Client(
            transport=self._network,
            timeout=_TIMEOUT_S,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )

    def check(self, uri: str) -> None:
        """Whether something may be sent there. Raises CallbackRefusedError."""
        try:
            url = httpx.URL(uri)
        except httpx.InvalidURL as error:
            raise CallbackRefusedError(
                f"{uri!r} is no URI: {error}.", next_step="Give an absolute http or https URI."
            ) from error
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.fragment:
            raise CallbackRefusedError(
                "A callback is an absolute http or https URI without user and fragment.",
                next_step="Give the user's name and password as `authentication`.",
            )
        host = f"[{url.host}]" if ":" in url.host else url.host
        origin = f"{url.scheme}://{host}".lower()
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        if not {origin, f"{origin}:{port}"} & self._allowed:
            raise CallbackRefusedError(
                f"{origin}:{port} is not among the origins that notifications may go to.",
                next_step="Ask whoever runs the orchestrator to name it in "
                "notifications.allowed_callbacks.",
            )

    def test(
        self, subscription_id: UUID, uri: str, authentication: SubscriptionAuthentication | None
    ) -> None:
        """A GET must be answered with 204.

        Raises CallbackRefusedError, or CallbackTestsBusyError while too many are tested.
        """
        self.check(uri)
        if authentication is not None and authentication.params_oauth2_client_credentials:
            self.check(authentication.params_oauth2_client_credentials.token_endpoint)
        if not self._tests.acquire(blocking=False):
            raise CallbackTestsBusyError(
                f"{_TESTS_AT_ONCE} callbacks are being tested at this moment, the most at once.",
                next_step=f"Subscribe again in {_TIMEOUT_S:.0f} s.",
            )
        try:
            why = self._send("GET", subscription_id, uri, authentication, None, (204,))
        finally:
            self._tests.release()
        if why is not None:
            raise CallbackRefusedError(
                f"The callback was tested by GET {uri}: {why}.",
                next_step="Let it answer 204, then subscribe again.",
            )

    def notify(
        self,
        subscription_id: UUID,
        uri: str,
        authentication: SubscriptionAuthentication | None,
        body: dict[str, Any],
    ) -> str | None:
        """Send one notification. None where it was taken; else why it was not."""
        try:
            self.check(uri)
        except CallbackRefusedError as error:  # the settings changed
            return error.detail
        return self._send("POST", subscription_id, uri, authentication, body, range(200, 300))

    def forget(self, subscription_id: UUID) -> None:
        """Its token goes."""
        with self._lock:
            self._tokens.pop(subscription_id, None)

    def close(self) -> None:
        self._http.close()

    # --- inside

    def _send(
        self,
        method: str,
        subscription_id: UUID,
        uri: str,
        authentication: SubscriptionAuthentication | None,
        body: dict[str, Any] | None,
        good: Collection[int],
    ) -> str | None:
        try:
            with self._network.within(_TIMEOUT_S):
                status = self._status(method, subscription_id, uri, authentication, body)
        except _TokenError as error:
            why = str(error)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            why = f"it cannot be reached ({type(error).__name__})"
        else:
            if status in good:
                return None
            why = f"it answered {status}"
        self.forget(subscription_id)
        return why

    def _status(
        self,
        method: str,
        subscription_id: UUID,
        uri: str,
        authentication: SubscriptionAuthentication | None,
        body: dict[str, Any] | None,
    ) -> int:
        """Raises _TokenError, and what httpx raises."""
        headers = {"Version": "1.3.0", "Accept": "application/json"}
        auth: httpx.Auth | None = None
        if authentication is not None and (basic := authentication.params_basic):
            auth = httpx.BasicAuth(basic.user_name, basic.password.get_secret_value())
        elif authentication is not None:
            token = self._token(subscription_id, authentication.params_oauth2_client_credentials)
            headers["Authorization"] = f"Bearer {token}"
        with self._http.stream(method, uri, headers=headers, json=body, auth=auth) as answer:
            return answer.status_code

    def _token(self, subscription_id: UUID, params: Oauth2Parameters | None) -> str:
        """Raises _TokenError, and what httpx raises."""
        assert params is not None  # the document was checked
        with self._lock:
            token, until = self._tokens.get(subscription_id, ("", 0.0))
        if self._clock.monotonic() < until:
            return token
        try:
            self.check(params.token_endpoint)
        except CallbackRefusedError as error:
            raise _TokenError(error.detail) from error
        with self._http.stream(
            "POST",
            params.token_endpoint,
            data={"grant_type": "client_credentials"},
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            auth=httpx.BasicAuth(params.client_id, params.client_password.get_secret_value()),
        ) as answer:
            document = _small_json(answer)
        token = str(document.get("access_token", ""))
        if answer.status_code != 200 or not token.isascii() or not token.isprintable() or not token:
            raise _TokenError(f"its token endpoint gave no token (status {answer.status_code})")
        until = self._clock.monotonic() + _life_s(document.get("expires_in", _TOKEN_LIFE_S))
        with self._lock:
            self._tokens[subscription_id] = (token, until - _TOKEN_RESERVE_S)
        return token


class _TokenError(Exception):
    """No token; the text has no secret."""


def _life_s(said: object) -> float:
    """How long a token holds. Raises _TokenError for what is no number of seconds."""
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise _TokenError("its token endpoint said an expires_in that is no number")
    if isinstance(said, float) and not math.isfinite(said):
        raise _TokenError("its token endpoint said an expires_in that is not finite")
    return float(max(0, min(said, _LONGEST_TOKEN_LIFE_S)))


def _small_json(answer: httpx.Response) -> dict[str, Any]:
    """The document of an answer, empty where it is none."""
    content = b""
    for piece in answer.iter_raw():
        content += piece
        if len(content) > _TOKEN_BYTES:
            return {}
    try:
        document = httpx.Response(200, content=content).json()
    except (ValueError, RecursionError):  # the latter of brackets in brackets
        return {}
    return document if isinstance(document, dict) else {}

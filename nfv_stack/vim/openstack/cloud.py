"""One project of one cloud, and what its answers mean in our errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import openstack
from keystoneauth1.exceptions import ClientException, ConnectFailure
from keystoneauth1.exceptions.http import HttpError
from openstack.connection import Connection
from openstack.exceptions import ConfigException, HttpException, SDKException

from nfv_stack.errors import VimRefusedError, VimUnreachableError

_GATEWAY_ERRORS = (502, 503, 504)
_NOT_AUTHORISED = (401, 403)
_CONFLICT = 409
_TOO_LARGE = 413
_WORDS_MAX = 1000
Found = TypeVar("Found")


class Cloud:
    """Opens its connection when it is first needed, and anew after the cloud was away."""

    def __init__(self, *, cloud: str, clouds_file: Path | None, timeout_s: float) -> None:
        self._name = cloud
        self._clouds_file = clouds_file
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        """Raises VimRefusedError if the configuration names no such cloud."""
        with self._lock:
            if self._connection is None:
                files = None if self._clouds_file is None else [str(self._clouds_file)]
                try:
                    config = openstack.config.OpenStackConfig(config_files=files)
                    region = config.get_one(self._name, api_timeout=self.timeout_s)
                    self._connection = Connection(config=region)
                except (ConfigException, OSError) as error:
                    raise VimRefusedError(
                        f"The cloud {self._name} is not configured: {error}.",
                        next_step="Name it in clouds.yaml, and that file in "
                        "vim.options.clouds_file.",
                    ) from error
            return self._connection

    def forget(self) -> None:
        """What was found out about end points may be wrong: ask again. Whoever uses the connection
        just now may finish."""
        with self._lock:
            self._connection = None

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SDKException, ClientException):
                connection.close()

    @contextmanager
    def speaking(self) -> Iterator[Connection]:
        """Turn the client's errors into VimRefusedError and VimUnreachableError."""
        try:
            yield self.connection()
        except HttpException as error:
            status = error.status_code or 0
            if status in _GATEWAY_ERRORS:
                self.forget()
                raise self._unreachable(f"it answers {status}: {said(error)}") from error
            raise refusal(status, said(error)) from error
        except HttpError as error:  # of Keystone, before any service is asked
            if error.http_status in _GATEWAY_ERRORS:
                self.forget()
                raise self._unreachable(f"Keystone answers {error.http_status}") from error
            raise refusal(error.http_status, f"Keystone: {error.message}") from error
        except (SDKException, ClientException) as error:
            # No end point, no answer in time, a connection that broke.
            self.forget()
            raise self._unreachable(_cause(error)) from error

    def _unreachable(self, why: str) -> VimUnreachableError:
        return VimUnreachableError(
            f"The cloud {self._name} does not answer: {why}.",
            next_step="See whether its services run and this host reaches them; then repeat.",
        )


def said(error: HttpException) -> str:
    """The service's own words; Glance says them in plain text, which the client leaves out."""
    words = str(error.details or error.message)
    response = error.response
    if response is not None and words == response.reason and response.text:
        words = " ".join(response.text[:_WORDS_MAX].split())
    return words.strip().rstrip(".")


def _cause(error: Exception) -> str:
    kind = "" if isinstance(error, ConnectFailure) else f"{type(error).__name__}: "
    return f"{kind}{error}".strip().rstrip(".")


def refusal(status: int, words: str) -> VimRefusedError:
    """Why the cloud does not do it, and what may help."""
    if "quota" in words.lower() or status == _TOO_LARGE:
        next_step = "Remove what is not needed, or have the project's quota raised."
    elif status in _NOT_AUTHORISED:
        next_step = "Check the user, its password and its role in clouds.yaml."
    elif status == _CONFLICT:
        next_step = "Something else is being done to it; repeat in a moment."
    elif status >= 500:
        next_step = "See the service's log, then repeat."
    else:
        next_step = "Correct what it names, then repeat."
    return VimRefusedError(f"The cloud refused ({status}): {words}.", next_step=next_step)


def absent_is_none(ask: Callable[[], Found]) -> Found | None:
    """The answer, or None where the service says 404."""
    try:
        return ask()
    except HttpException as error:
        if error.status_code == 404:
            return None
        raise

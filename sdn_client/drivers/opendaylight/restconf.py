"""RESTCONF (RFC 8040) towards OpenDaylight: calls with a deadline, answers of bounded size."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from sdn_client.drivers.opendaylight.connections import KeepingTransport
from sdn_client.drivers.opendaylight.options import OpenDaylightOptions
from sdn_client.errors import MalformedAnswer, SwitchUnreachable

_MOST_BYTES = 16 << 20
_KEEPALIVE_S = 20.0  # below the 30 s after which OpenDaylight closes an idle connection
_JSON = "application/yang-data+json"

M = TypeVar("M", bound=BaseModel)

log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """A call was sent and its outcome never came."""


@dataclass(frozen=True)
class Answer:
    """Status and body of one call."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def read(self, model: type[M]) -> M:
        """The body as `model`; an empty body is an empty object. Raises MalformedAnswer."""
        try:
            return model.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise MalformedAnswer(
                f"OpenDaylight's answer cannot be read: {where}: {first['msg']}.",
                next_step="See whether the URL is that of an OpenDaylight of a known version.",
            ) from error


class Restconf:
    """One OpenDaylight. Safe from any thread.

    A session cookie spares OpenDaylight the password's 20,000 rounds at every call.
    """

    def __init__(self, options: OpenDaylightOptions) -> None:
        self._options = options
        try:
            password = options.password_file.read_text("utf-8").strip()
            verify = _tls(options) if options.url.startswith("https") else False
        except (OSError, UnicodeDecodeError) as error:
            raise SwitchUnreachable(
                f"A file of the driver opendaylight cannot be used: {error}.",
                next_step="Correct password_file, ca_file, certificate_file or key_file.",
            ) from error
        self._client = httpx.Client(
            base_url=options.url,
            auth=(options.username, password),
            transport=KeepingTransport(verify, _KEEPALIVE_S),
            trust_env=False,
            headers={"Accept": _JSON},
            timeout=httpx.Timeout(options.confirm_timeout_s, connect=options.connect_timeout_s),
        )

    def get(self, path: str) -> Answer:
        """Raises SwitchUnreachable or MalformedAnswer."""
        try:
            return self._call("GET", path, None)
        except Interrupted as error:
            raise SwitchUnreachable(
                f"OpenDaylight at {self._options.url} does not answer: {error}.",
                next_step="See whether it runs, and its log.",
            ) from error

    def delete(self, path: str) -> Answer:
        """Raises SwitchUnreachable, MalformedAnswer or Interrupted."""
        return self._call("DELETE", path, None)

    def invoke(self, rpc: str, given: Mapping[str, Any]) -> Answer:
        """Call `rpc`. Raises SwitchUnreachable (nothing was sent), MalformedAnswer, Interrupted."""
        return self._call("POST", f"/rests/operations/{rpc}", {"input": given})

    def close(self) -> None:
        self._client.close()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Answer:
        extensions: dict[str, Any] = {}
        headers = {}
        if self._options.server_name:
            extensions["sni_hostname"] = self._options.server_name
            headers["Host"] = self._options.server_name
        deadline_s = time.monotonic() + self._options.confirm_timeout_s
        try:
            request = self._client.build_request(
                method, path, json=body, headers=headers, extensions=extensions
            )
            response = self._client.send(request, stream=True)
            try:
                return self._checked(Answer(response.status_code, _read(response, deadline_s)))
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise SwitchUnreachable(
                f"OpenDaylight at {self._options.url} is not reachable: {error}.",
                next_step="Start it, or correct the URL; with `certificate` in the reason, ca_file"
                " and server_name.",
            ) from error
        except httpx.DecodingError as error:
            raise MalformedAnswer(
                f"OpenDaylight's answer cannot be unpacked: {error}.",
                next_step="See whether the URL is that of an OpenDaylight.",
            ) from error
        except (httpx.TransportError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            raise Interrupted(str(error) or type(error).__name__) from error

    def _checked(self, answer: Answer) -> Answer:
        if answer.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SwitchUnreachable(
                f"OpenDaylight at {self._options.url} refuses the user {self._options.username!r}"
                f" or the password (HTTP {answer.status}).",
                next_step="Correct username and password_file in the driver's options.",
            )
        return answer


def _read(response: httpx.Response, deadline_s: float) -> bytes:
    data = bytearray()
    for piece in response.iter_bytes():
        data += piece
        if len(data) > _MOST_BYTES:
            raise MalformedAnswer(
                f"OpenDaylight's answer is longer than {_MOST_BYTES} bytes.",
                next_step="See whether the URL is that of an OpenDaylight.",
            )
        if time.monotonic() > deadline_s:
            raise Interrupted("the answer came too slowly")
    return bytes(data)


def _tls(options: OpenDaylightOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(
        cafile=None if options.ca_file is None else str(options.ca_file)
    )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate_file is not None:
        context.load_cert_chain(options.certificate_file, options.key_file)
    if options.tls_key_log is not None:
        log.warning("TLS session keys are written to a file", file=str(options.tls_key_log))
        context.keylog_filename = str(options.tls_key_log)
    return context

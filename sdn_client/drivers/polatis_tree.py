"""The YANG tree `optical-switch@2018-03-22` of a Polatis, over RESTCONF (RFC 8040) as a client.

Answers are checked by their shape before anything is believed. What the switch refuses is a
`TreeRefusal`; what does not arrive is SwitchUnreachable; what cannot be read is MalformedAnswer.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdn_client.errors import MalformedAnswer, SdnError, SwitchUnreachable, Unverified
from timekeeping import Clock

MOST_ANSWER_BYTES: Final = 4 << 20
_MODULE: Final = "optical-switch"

REASONS: Final = {
    "data-exists": "a port is in use on the switch",
    "data-missing": "nothing is joined there",
    "invalid-value": "the switch has no such port, or the ports do not fit together",
    "access-denied": "the ports are of another partition, or not this user's",
    "in-use": "the switch is busy",
    "lock-denied": "another client holds the switch",
    "resource-denied": "the switch is short of resources",
    "too-big": "the batch is too large for the switch",
    "unknown-element": "the switch names its list otherwise (option list_name)",
    "unknown-namespace": "the switch does not know this YANG module",
    "malformed-message": "the switch could not read the request",
    "operation-not-supported": "the switch cannot do that",
    "operation-failed": "the switch could not do it",
}
"""RFC 8040 error-tags. Which one a real Polatis gives for which refusal was not seen."""

_M = TypeVar("_M", bound=BaseModel)


class PolatisOptions(BaseModel):
    """Options of the driver `polatis_restconf`. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^/\s]+/?$")
    """For example `https://10.0.0.5:8008`."""
    chassis: str | None = None
    """Which chassis of the topology this is; needed when it has several."""
    username: str = Field(default="admin", max_length=64)
    password_file: Path
    ca_file: Path | None = None
    """Whom to trust for `https`; without it, the system's authorities."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    media_type: str = "application/yang-data+json"
    """`application/json` for servers that know no other."""
    root: str = Field(default="/api", pattern=r"^(/[\w.-]+)*$")
    list_name: Literal["pair", "pairs"] = "pair"
    """`pairs` for YANG revisions before 2017-08-04."""
    connect_timeout_s: float = Field(default=2.0, gt=0)
    request_timeout_s: float = Field(default=5.0, gt=0)
    confirm_timeout_s: float = Field(default=2.0, gt=0)
    """How long the table may take to show what was asked, from the switching time on."""
    answers_settled: bool = False
    """The switch answers a change when its mirrors stand still, so nothing more is waited."""
    poll_interval_s: float = Field(default=0.5, gt=0)
    loss_of_light_dbm: float = Field(default=-45.0, ge=-100, le=30)
    wait_to_restore_s: float = Field(default=300.0, ge=0)


class TreeRefusal(Exception):
    """The switch answered a change with an error; the text is its reason."""


class _Row(BaseModel):
    ingress: int = Field(ge=1, le=65535)
    egress: int = Field(ge=1, le=65535)


class _PortRow(BaseModel):
    port_id: int = Field(alias="port-id", ge=1, le=65535)
    status: Literal["UNSUPPORTED", "ENABLED", "DISABLED", "FAILED"] = "ENABLED"


class _PowerRow(BaseModel):
    port_id: int = Field(alias="port-id", ge=1, le=65535)
    power: float = Field(ge=-1000, le=1000, allow_inf_nan=False)


class _Ports(BaseModel):
    port: list[_PortRow] = Field(default=[], max_length=65535)


class _Powers(BaseModel):
    port: list[_PowerRow] = Field(default=[], max_length=65535)


class _Error(BaseModel):
    tag: str = Field(alias="error-tag", max_length=64)
    message: str = Field(default="", alias="error-message")


class PolatisTree:
    """One switch. Its methods are safe from any thread."""

    def __init__(self, options: PolatisOptions, clock: Clock) -> None:
        """Raises SwitchUnreachable when password or certificates cannot be used."""
        self._options = options
        self._clock = clock
        try:
            password = options.password_file.read_text("utf-8").strip()
            context = _tls(options)
        except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
            raise SwitchUnreachable(
                f"The credentials for {options.url} cannot be used: {error}.",
                next_step="Check the files that the driver's options name.",
            ) from error
        # Whole URLs: a relative one with a colon in it would be taken for a scheme.
        self._data = f"{options.url.rstrip('/')}{options.root}/data/{_MODULE}:"
        self._http = httpx.Client(
            auth=(options.username, password),
            verify=context,
            timeout=httpx.Timeout(options.request_timeout_s, connect=options.connect_timeout_s),
            headers={"Accept": options.media_type},
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def pairs(self) -> dict[int, int]:
        """The whole table, ingress to egress."""
        content = self._read("cross-connects")
        rows = content.pop(self._options.list_name, [])
        if content:
            raise MalformedAnswer(
                f"The cross-connects at {self._options.url} hold {sorted(content)[:3]} and not only"
                f" {self._options.list_name!r}.",
                next_step="Set the option list_name as the switch's YANG revision has it.",
            )
        if not isinstance(rows, list) or len(rows) > 65535:
            raise self._malformed("no list of pairs")
        table: dict[int, int] = {}
        seen: set[int] = set()
        for row in (self._checked(_Row, row) for row in rows):
            if row.ingress == row.egress or seen & {row.ingress, row.egress}:
                raise self._malformed(f"a port in two pairs ({row.ingress}-{row.egress})")
            seen |= {row.ingress, row.egress}
            table[row.ingress] = row.egress
        return table

    def ports(self) -> dict[int, str]:
        """Each port's status: UNSUPPORTED (it has no shutter), ENABLED, DISABLED or FAILED."""
        rows = self._checked(_Ports, self._read("port-config")).port
        return {row.port_id: row.status for row in rows}

    def powers_dbm(self) -> dict[int, float]:
        """The power that comes in, at each port that has a meter."""
        try:
            rows = self._checked(_Powers, self._read("opm-power")).port
        except Unverified:  # a switch without meters has no such container
            return {}
        return {row.port_id: row.power for row in rows}

    def merge(self, pairs: Collection[tuple[int, int]]) -> None:
        """Join all of `pairs` in one PATCH. Raises TreeRefusal."""
        rows = [{"ingress": a, "egress": b} for a, b in sorted(pairs)]
        body = {f"{_MODULE}:cross-connects": {self._options.list_name: rows}}
        self._change("PATCH", "cross-connects", body)

    def remove(self, ingress: int) -> None:
        """Part the pair of `ingress`. Raises TreeRefusal."""
        self._change("DELETE", f"cross-connects/{self._options.list_name}={ingress}")

    def _read(self, name: str) -> dict[str, Any]:
        status, document = self._send("GET", name)
        if status == 404:
            raise Unverified(
                f"{self._options.url} has no {_MODULE}:{name}.",
                next_step="Check root and url; this driver needs a Polatis with RESTCONF.",
            )
        if status != 200:
            raise self._malformed(f"HTTP {status} to GET {name}: {_reason(status, document)}")
        if not isinstance(document, dict):
            raise self._malformed("no JSON object")
        content = document.get(f"{_MODULE}:{name}", document.get(name))
        if not isinstance(content, dict):
            raise self._malformed(f"an answer without {_MODULE}:{name}")
        return dict(content)

    def _change(self, method: str, name: str, body: Any = None) -> None:
        status, document = self._send(method, name, body)
        if not 200 <= status < 300:
            raise TreeRefusal(_reason(status, document))

    def _send(self, method: str, name: str, body: Any = None) -> tuple[int, Any]:
        """One exchange: the status, and the JSON of the answer (None where there is none)."""
        deadline = self._clock.monotonic() + self._options.request_timeout_s
        headers = {"Content-Type": self._options.media_type} if body is not None else {}
        data = bytearray()
        try:
            request = self._http.build_request(
                method, f"{self._data}{name}", json=body, headers=headers
            )
            answer = self._http.send(request, stream=True)
            try:
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MOST_ANSWER_BYTES:
                        raise self._malformed(f"more than {MOST_ANSWER_BYTES} bytes")
                    if self._clock.monotonic() > deadline:
                        raise httpx.ReadTimeout("the answer does not end")
            finally:
                answer.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SwitchUnreachable(
                f"{self._options.url} did not answer: {str(error) or type(error).__name__}.",
                next_step="See whether the switch runs and the url is right.",
            ) from error
        if answer.status_code == 401:
            raise SwitchUnreachable(
                f"{self._options.url} refuses the user {self._options.username!r}.",
                next_step="Correct username and password_file.",
            )
        return answer.status_code, self._json(bytes(data), answer.status_code)

    def _json(self, data: bytes, status: int) -> Any:
        if not data:
            return None
        try:
            return httpx.Response(200, content=data).json()
        except (ValueError, RecursionError) as error:
            if status >= 300:
                return None
            raise self._malformed("no JSON") from error

    def _checked(self, model: type[_M], content: Any) -> _M:
        try:
            return model.model_validate(content)
        except (ValidationError, RecursionError) as error:
            raise self._malformed(f"a {model.__name__.strip('_')} of the wrong shape") from error

    def _malformed(self, what: str) -> SdnError:
        return MalformedAnswer(
            f"{self._options.url} answered with what cannot be read: {what}.",
            next_step="The switch's software does not fit the driver; see docs/optical-devices.md.",
        )


def _reason(status: int, document: Any) -> str:
    """The switch's reason: what its error-tag means, and its own words."""
    try:
        first = _Error.model_validate(document["ietf-restconf:errors"]["error"][0])
    except (ValidationError, KeyError, TypeError, IndexError, RecursionError):
        return f"no reason known (HTTP {status})"
    known = REASONS.get(first.tag, "no reason known")
    words = f": {first.message[:200].rstrip('.')}" if first.message else ""
    return f"{known} ({first.tag}, HTTP {status}{words})"


def _tls(options: PolatisOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if options.certificate_file is not None:
        context.load_cert_chain(options.certificate_file, options.key_file)
    return context

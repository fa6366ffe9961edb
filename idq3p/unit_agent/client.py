"""The agent's client: one method a request."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import BaseModel, ValidationError

from idq3p.unit_agent.contract import StartRequest, StopRequest, UnitView
from idq3p.unit_agent.errors import (
    UnitAgentError,
    UnitAgentRefusedError,
    UnitAgentUnreachableError,
)
from problem_details.answers import read
from trust import Credentials, Identity, Role
from trust.client import open_client
from trust.delivery import ListView, send_list

# Stopping waits for the program's own grace.
_COMMAND_TIMEOUT_S: Final = 90.0


class UnitAgentClient:
    """Speaks to the agent `name` over an `httpx.Client` that does mutual TLS. Thread-safe.

    Every method raises `UnitAgentUnreachableError` or `UnitAgentRefusedError` (whose `problem` is
    the agent's own). All requests can be repeated.
    """

    def __init__(self, name: str, http: httpx.Client) -> None:
        self.name = name
        self._http = http

    @classmethod
    def open(
        cls, name: str, base_url: str, credentials: Credentials, *, timeout_s: float = 10.0
    ) -> Self:
        """A client that insists on talking to the unit agent called `name`."""
        peer = Identity(Role.UNIT_AGENT, name)
        return cls(
            name, open_client(base_url, credentials=credentials, peer=peer, timeout_s=timeout_s)
        )

    def unit(self) -> UnitView:
        return self._ask("GET", "/v1/unit")

    def start(self, request: StartRequest) -> UnitView:
        return self._ask("POST", "/v1/unit/start", request)

    def stop(self, request: StopRequest) -> UnitView:
        return self._ask("POST", "/v1/unit/stop", request)

    def take_revocations(self, pem: bytes) -> ListView:
        """Hand on the list of revoked certificates; raises as `trust.delivery.send_list`."""
        return send_list(self._http, pem)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: BaseModel | None = None) -> UnitView:
        options: dict[str, Any] = {}
        if body is not None:
            options["json"] = body.model_dump(mode="json", exclude_none=True)
            options["timeout"] = _COMMAND_TIMEOUT_S
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise UnitAgentUnreachableError(
                f"The unit agent {self.name} does not answer ({type(error).__name__}: {error}).",
                next_step="Check that it runs and that its address and certificate are right.",
            ) from error
        if not answer.is_success:
            kind = answer.headers.get("content-type", "")
            raise UnitAgentRefusedError(self.name, read(answer.status_code, kind, answer.content))
        try:
            return UnitView.model_validate_json(answer.content)
        except ValidationError as error:
            raise UnitAgentError(
                f"The unit agent {self.name} answered with a document of another form.",
                next_step="Run the same version of qnfv on both sides.",
            ) from error

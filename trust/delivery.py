"""How a list of revoked certificates reaches every service.

It is signed, so any peer may hand it on. The orchestrator brings it to its neighbours, a slave
stack to its units' agents, whenever it changes and until each of them has it; and again now and
then, for one that lost it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import httpx
import structlog
from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError

from problem_details import Problem
from problem_details.answers import read
from problem_details.rest import answer
from timekeeping import Clock, Rounds, SystemClock
from trust.bodies import body_within
from trust.credentials import Credentials
from trust.errors import CredentialsError, RevocationListError
from trust.revocation import Revocations

log = structlog.get_logger(__name__)

PATH: Final = "/v1/revocations"
_MOST_BYTES = 1024**2
_LOOK_EVERY_S = 5.0
_AGAIN_AFTER_S = 60.0
_GRACE_S = 30.0
"""Who only starts again is not told of."""
OURS: Final = "our own"
"""In place of a neighbour's name: the list that we should bring cannot be used."""


class ListView(BaseModel):
    """Which list a service has, and who of those that it brings it to has not, and why."""

    number: int
    revoked: int
    without: dict[str, str] = {}


Give = Callable[[bytes], ListView]


def add_delivery(app: FastAPI, credentials: Credentials) -> None:
    """Let `app` take newer lists, if it keeps one. Its state may name a `revocation_courier`."""
    if credentials.revocations is None:
        return
    revocations = Revocations(credentials.revocations, credentials.authority)

    async def deliver(request: Request) -> object:
        too_large = RevocationListError(
            f"The list is larger than {_MOST_BYTES} bytes.",
            next_step="Let old certificates end instead of revoking them.",
        )
        try:
            body = await body_within(request, _MOST_BYTES, too_large)
        except RevocationListError as error:
            return answer(Problem.of(error, 413))
        try:
            taken = revocations.take(body)
        except RevocationListError as error:
            return answer(Problem.of(error, 422))
        except CredentialsError as error:
            return answer(Problem.of(error, 503))
        courier: RevocationCourier | None = getattr(app.state, "revocation_courier", None)
        without = {} if courier is None else courier.without(taken.number)
        return ListView(number=taken.number, revoked=len(taken.serials), without=without)

    app.add_api_route(PATH, deliver, methods=["PUT"], response_model=None)


def send_list(http: httpx.Client, pem: bytes) -> ListView:
    """Hand a list to the service behind `http`. Raises httpx.HTTPError or RevocationListError."""
    answered = http.put(PATH, content=pem)
    if not answered.is_success:
        kind = answered.headers.get("content-type", "")
        problem = read(answered.status_code, kind, answered.content)
        raise RevocationListError(
            f"The list was not taken: {problem.detail}", next_step=problem.next_step or ""
        )
    try:
        return ListView.model_validate_json(answered.content)
    except ValidationError as error:
        raise RevocationListError(
            "The answer to the list has another form.",
            next_step="Run the same version of qnfv on both sides.",
        ) from error


class RevocationCourier:
    """Brings our list to our neighbours, each by a function of its own.

    `tell` hears the name and why of each who goes without the newest list for `grace_s`, a
    neighbour of a neighbour too, and the name with None when it has it; it says whether it noted
    that, or is told again.
    """

    def __init__(
        self,
        credentials: Credentials,
        neighbours: Mapping[str, Give],
        *,
        tell: Callable[[str, str | None], bool] = lambda _name, _why: True,
        clock: Clock | None = None,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._revocations: Revocations | None = None
        if credentials.revocations is not None:
            self._revocations = Revocations(credentials.revocations, credentials.authority)
        self._neighbours = dict(neighbours)
        self._tell = tell
        self._clock = clock or SystemClock()
        self._grace_s = grace_s
        self._has: dict[str, tuple[int, float]] = {}
        self._behind: dict[str, dict[str, str]] = {}
        self._without_since: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._told: dict[str, str | None] = {}
        self._rounds = Rounds("revocations", self._bring_again, self._clock, _LOOK_EVERY_S)

    def start(self) -> None:
        if self._revocations is not None:
            self._rounds.start()

    def close(self) -> None:
        self._rounds.close()

    def without(self, number: int) -> dict[str, str]:
        """Who has not the list `number`, and why, as far as we know."""
        failed = self._failed
        return {
            name: failed.get(name, "it was not brought yet")
            for name in self._neighbours
            if self._has.get(name, (0, 0.0))[0] < number
        }

    def bring(self) -> dict[str, str]:
        """Once to everybody who has not the newest list; why it could not be brought, by name."""
        assert self._revocations is not None
        try:
            newest = self._revocations.current
        except CredentialsError as error:
            return {OURS: error.detail}
        failed: dict[str, str] = {}
        now = self._clock.monotonic()
        for name, give in self._neighbours.items():
            number, at = self._has.get(name, (0, 0.0))
            is_recent = number >= newest.number and now - at < _AGAIN_AFTER_S
            if is_recent and not self._behind.get(name):
                continue
            try:
                taken = give(newest.pem)
            except (httpx.HTTPError, RevocationListError) as error:
                failed[name] = str(error) or type(error).__name__
            else:
                self._has[name] = newest.number, now
                self._behind[name] = taken.without
                if number != newest.number:
                    log.info("list of revoked certificates brought", to=name, list=newest.number)
        for name, behind in self._behind.items():
            failed |= {f"{unit} behind {name}": why for unit, why in behind.items()}
        return failed

    def _bring_again(self) -> None:
        failed = self.bring()
        for name, why in failed.items():
            if self._failed.get(name) != why:
                log.warning("list of revoked certificates not brought", to=name, why=why)
        self._failed = failed
        now = self._clock.monotonic()
        self._without_since = {name: self._without_since.get(name, now) for name in failed}
        for name in dict.fromkeys((OURS, *self._neighbours, *failed, *self._told)):
            fault = failed.get(name)
            if fault is not None and now - self._without_since[name] < self._grace_s:
                continue
            is_news = name not in self._told or self._told[name] != fault
            if is_news and self._tell(name, fault):
                self._told[name] = fault

"""What is different where several orchestrators share a database.

docs/deploy.md says how they are set up, docs/decisions/0015 why it is done so.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from sqlalchemy import Engine

from database import Exclusive
from orchestrator.settings import ReplicasTable
from orchestrator.workflow.claims.alone import Alone
from orchestrator.workflow.claims.fences import Fences
from orchestrator.workflow.claims.port import Claims
from timekeeping import Clock

if TYPE_CHECKING:
    from orchestrator.events.bus import EventBus
    from orchestrator.events.shared import SharedEvents

_SHORTEST_IDLE_LIMIT_S: Final = 20.0
"""Longer than a device takes to be programmed, which is done under a lock in the database."""
_LIVES_OF_A_CLAIM: Final = 4


class Replicas:
    """One replica among others, or an orchestrator alone."""

    def __init__(self, table: ReplicasTable | None, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        # Also other than that of an earlier process of the same replica.
        self._own_name = f"{table.name}/{uuid4()}" if table else ""
        self._locks: dict[str, Exclusive] = {}

    @property
    def is_alone(self) -> bool:
        return self._table is None

    @property
    def idle_limit_s(self) -> int | None:
        """Of connections to the database: one that was stopped in the middle of something holds no
        other up for longer."""
        if self._table is None:
            return None
        return round(max(_SHORTEST_IDLE_LIMIT_S, _LIVES_OF_A_CLAIM * self._table.claim_life_s))

    def in_turn(self, engine: Engine, name: str) -> AbstractContextManager[object]:
        """Inside, no other replica is inside what has this name."""
        if self._table is None:
            return nullcontext()
        return self._locks.setdefault(name, Exclusive(engine, name)).held()

    def turns(
        self, engine: Engine, name: str
    ) -> Callable[[], AbstractContextManager[object]] | None:
        """`in_turn` for who does it again and again; None for one alone."""
        return None if self._table is None else partial(self.in_turn, engine, name)

    def claims(self, fences: Fences) -> Claims:
        """Raises JobboardError."""
        if self._table is None:
            return Alone()
        # On demand, here and below: Redis and its client cost one alone time and memory.
        from orchestrator.workflow.claims.jobboard import JobboardClaims

        return JobboardClaims(
            self._own_name,
            self._table.board,
            self._table.all_options,
            fences,
            self._clock,
            claim_life_s=self._table.claim_life_s,
        )

    def shared_events(self, bus: EventBus) -> SharedEvents | None:
        """Other boards than Redis carry no events: there one hears of changes by looking."""
        if self._table is None or self._table.board != "redis":
            return None
        from orchestrator.events.shared import SharedEvents
        from orchestrator.workflow.claims.jobboard import redis_client

        options = self._table.all_options
        return SharedEvents(
            bus,
            redis_client(options, wait_s=self._table.claim_life_s),
            self._clock,
            who=self._own_name,
            namespace=str(options["namespace"]),
        )

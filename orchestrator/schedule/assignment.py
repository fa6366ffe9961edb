"""Which Alice serves which Bob, as recorded: `qkd_scheduler.policies.assignment` decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.schedule.ways import Ways
from orchestrator.store.tables import BobAssignmentRow
from qkd_scheduler.bounds import Lot
from qkd_scheduler.policies.assignment import Route, Site, assign
from timekeeping import Clock

log = structlog.get_logger(__name__)


class Assignments:
    """The assignment in force. Thread-safe."""

    def __init__(self, engine: Engine, clock: Clock, ways: Ways) -> None:
        self._engine = engine
        self._clock = clock
        self._ways = ways
        self._lock = threading.Lock()
        self._alice_of: dict[str, str] = {}
        self._fresh: set[str] = set()
        self.load()

    def load(self) -> None:
        """Read what was recorded; who is new, or lost his Alice, has his first way's meanwhile."""
        found: dict[str, str] = {}
        fresh: set[str] = set()
        with self._lock:
            with reading(self._engine) as session:
                rows = session.scalars(select(BobAssignmentRow)).all()
                recorded = {row.link: row.alice for row in rows}
            for link in self._ways.links:
                ways = self._ways.to(link)
                alice = recorded.get(link)
                if alice is None or alice not in ways:
                    fresh.add(link)
                    alice = min(ways)
                found[link] = alice
            self._alice_of, self._fresh = found, fresh

    def alice_of(self, link: str) -> str:
        """Raises UnknownLinkError."""
        self._ways.to(link)
        with self._lock:
            return self._alice_of[link]

    def bobs_of(self, alice: str) -> list[str]:
        with self._lock:
            return sorted(link for link, of in self._alice_of.items() if of == alice)

    def proposal(
        self, lot_of: Callable[[str, str], Lot], alices: Collection[str]
    ) -> dict[str, str]:
        """The Alice whom each Bob should have, of these; `lot_of` tells the lot of a link under an
        Alice. Bobs whom none of them reaches are left out."""
        with self._lock:
            present = {k: v for k, v in self._alice_of.items() if k not in self._fresh}
        sites = [
            Site(
                link,
                {
                    alice: Route(lot_of(link, alice), way.resources)
                    for alice, way in self._ways.to(link).items()
                    if alice in alices
                },
            )
            for link in self._ways.links
        ]
        return assign([site for site in sites if site.routes], alices, present).alice_of

    def accept(self, proposal: Mapping[str, str]) -> list[str]:
        """Record these; returns who moved from the Alice that he had."""
        with self._lock:
            before = dict(self._alice_of)
            changed = {k: v for k, v in proposal.items() if k in self._fresh or before[k] != v}
            if not changed:
                return []
            self._record(changed)
            moved = [link for link in changed if link not in self._fresh]
            self._alice_of |= changed
            self._fresh -= changed.keys()
        for link in moved:
            log.info("a Bob moves", link=link, before=before[link], alice=changed[link])
        return moved

    def _record(self, alice_of: Mapping[str, str]) -> None:
        def work(session: Session) -> None:
            for link, alice in alice_of.items():
                row = session.get(BobAssignmentRow, link, with_for_update=True)
                if row is None:
                    row = BobAssignmentRow(link=link)
                    session.add(row)
                row.alice, row.since = alice, self._clock.now()

        in_transaction(self._engine, work)

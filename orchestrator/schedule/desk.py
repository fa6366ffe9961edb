"""Where turns are claimed and run, one at a time for each Alice, and where their faults are judged.

A claim is what keeps two Alices from fibres, ports or a Bob of each other; it is made under a lock,
planning is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

import structlog

from orchestrator.schedule.assignment import Assignments
from orchestrator.schedule.books import Books
from orchestrator.schedule.ways import Way, Ways
from orchestrator.store.tables import TurnRow
from qkd_scheduler.errors import TurnFailedError
from qkd_scheduler.faults import UNTRUSTED, WITHOUT_BLAME, Fault
from qkd_scheduler.policies import Choice
from qkd_scheduler.states import TurnState
from qkd_scheduler.turn import TurnRunner
from timekeeping import Clock

log = structlog.get_logger(__name__)

_IN_ORDER: Final = (TurnState.GENERATING.value, TurnState.DRAINING.value)
"""From here on a turn can end early in order, with its keys."""


@dataclass(frozen=True)
class Present:
    """A turn that is on in this process."""

    turn_id: UUID
    way: Way
    fencing: int
    stop: threading.Event = field(default_factory=threading.Event)
    finish: threading.Event = field(default_factory=threading.Event)


class TurnDesk:
    """The present turns of all Alices. Thread-safe."""

    def __init__(
        self,
        ways: Ways,
        assignments: Assignments,
        turns: TurnRunner,
        books: Books,
        clock: Clock,
        *,
        fencing: Callable[[], int | None],
        exclude_untrusted: bool,
    ) -> None:
        """`fencing` tells the number that this process leads under now, None if it must not."""
        self._ways = ways
        self._assignments = assignments
        self._turns = turns
        self._timetable = books.timetable
        self._orders = books.orders
        self._alarms = books.alarms
        self._clock = clock
        self._fencing = fencing
        self._exclude_untrusted = exclude_untrusted
        self._lock = threading.Lock()
        self._present: dict[str, Present] = {}
        self._closed = False

    # --- claims -----------------------------------------------------------------------------------

    def claim(self, alice: str, link: str, fencing: int) -> Present | None:
        """Take the Bob and the path for a turn; None if another Alice was faster, or if we do not
        lead under this number any more."""
        way = self._ways.find(link, alice)
        with self._lock:
            taken = any(
                present.way.link == link or (way and way.resources & present.way.resources)
                for present in self._present.values()
            )
            if way is None or taken or self._closed or self._assignments.alice_of(link) != alice:
                return None
            present = Present(uuid4(), way, fencing)
            # In its place before looking whether we still lead: whoever changes that stops it.
            self._present[alice] = present
        if self._fencing() != fencing:
            self._leave(present)
            return None
        return present

    def reassign(self, proposal: dict[str, str]) -> list[str]:
        """Let Bobs move, except those who have a turn on; returns who moved."""
        with self._lock:
            fixed = {present.way.link for present in self._present.values()}
            fixed |= {row.link for row in self._timetable.unfinished()}
            return self._assignments.accept(
                {link: alice for link, alice in proposal.items() if link not in fixed}
            )

    def _leave(self, present: Present) -> None:
        with self._lock:
            del self._present[present.way.alice]

    # --- turns ------------------------------------------------------------------------------------

    def serve(self, present: Present, choice: Choice) -> Fault | None:
        """Run the claimed turn to its end; returns what ended it early, None if it went well.

        Raises what is not an expected fault of a turn: then the turn is still unfinished.
        """
        way, turn_id = present.way, present.turn_id
        with structlog.contextvars.bound_contextvars(
            turn=str(turn_id), alice=way.alice, link=way.link
        ):
            try:
                return self._serve(present, choice)
            finally:
                self._leave(present)

    def _serve(self, present: Present, choice: Choice) -> Fault | None:
        way, turn_id = present.way, present.turn_id
        began_at = self._clock.now()
        self._timetable.open(
            turn_id, way.alice, way.link, fencing=present.fencing, dwell_s=choice.dwell_s
        )
        try:
            gained = self._turns.run(
                turn_id,
                way.pair,
                fencing=present.fencing,
                dwell_s=choice.dwell_s,
                stop=present.stop,
                finish=present.finish,
            )
        except TurnFailedError as error:
            log.warning("turn failed", fault=error.fault.value, why=error.detail)
            self._judge(present, error)
            return error.fault
        log.info("turn done", keys=gained)
        self._orders.served(way.link, began_at)
        self._alarms.over(way.link)
        return None

    def _judge(self, present: Present, error: TurnFailedError) -> None:
        """Raise the alarm for whom the fault blames."""
        link, fault = present.way.link, error.fault
        if fault is Fault.ALICE_SILENT:
            self._alarms.raise_(fault.value, present.way.alice, error.detail, present.turn_id)
        if fault in WITHOUT_BLAME:
            return
        self._alarms.raise_(fault.value, link, error.detail, present.turn_id)
        if fault in UNTRUSTED and self._exclude_untrusted:
            self._orders.exclude(link, None, f"{fault.value}: {error.detail}")

    def end_unfinished(self, alice: str, fencing: int, known: list[str]) -> None:
        """End what an earlier leader, or a bug, left lit or running for this Alice.

        The first of the `known` Alices also ends the turns of those that are no longer configured.
        """
        for row in self._timetable.unfinished():
            if row.alice == alice or (alice == known[0] and row.alice not in known):
                self._end(row, fencing)

    def _end(self, row: TurnRow, fencing: int) -> None:
        way = self._ways.find(row.link, row.alice)
        left = self._turns.put_back(row.turn_id, way.pair if way else None, fencing)
        self._timetable.enter(
            row.turn_id,
            TurnState.FAILED,
            f"{row.state}: its orchestrator went away{left}",
            fault=Fault.INTERRUPTED,
        )
        log.warning("an unfinished turn was ended", turn=str(row.turn_id), link=row.link)

    # --- ending turns early -----------------------------------------------------------------------

    def stop_all(self, *, but: int | None = None) -> None:
        """Stop every turn at once, except those under the fencing number `but`."""
        with self._lock:
            for present in self._present.values():
                if present.fencing != but:
                    present.stop.set()

    def close(self) -> None:
        """Stop every turn, and let none begin."""
        with self._lock:
            self._closed = True
        self.stop_all()

    def end_early(self, alice: str, *, link: str | None = None, unless: str | None = None) -> bool:
        """End this Alice's present turn: with its keys once it generates, otherwise at once.

        Only if it serves `link`, or another link than `unless`. False if there was nothing to end.
        """
        with self._lock:
            present = self._present.get(alice)
        if present is None or (link is not None and present.way.link != link):
            return False
        if present.way.link == unless:
            return False
        rows = [row for row in self._timetable.unfinished() if row.turn_id == present.turn_id]
        if rows and rows[0].state in _IN_ORDER:
            present.finish.set()
        else:
            present.stop.set()
        return True

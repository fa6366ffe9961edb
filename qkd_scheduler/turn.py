"""One turn of Alice, from the first cross-connect to the last key.

Bob's key server is started first, then Alice's; both stand by until the initialisation is over;
they generate for the dwell; then both ends extract the same key ids (the paper's scheduling steps
ii to iv). Whatever goes wrong, the units are stopped, the path is released and half extracted keys
are discarded at both ends, so that Alice is never lit towards two Bobs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from problem_details import ProblemError
from qkd_scheduler.errors import InitialisationError, TurnFailedError
from qkd_scheduler.ports import Keys, Pair, QuantumPath, TurnJournal, Unit, UnitReading
from qkd_scheduler.states import TurnState
from timekeeping import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TurnLimits:
    """Limits of one turn, in seconds of QKD time.

    A Bob at 25 km needs 1265 s to initialise, so 3600 s is nearly three times the longest.
    """

    initialisation_s: float = 3600.0
    look_every_s: float = 20.0
    unanswered_reads: int = 3
    """So many readings in a row may fail before the turn does."""
    drain_every_s: float = 600.0
    """Keys are also extracted while a long turn generates; each time costs one sacrificed key."""


class TurnRunner:
    """Runs turns, one after the other."""

    def __init__(
        self,
        path: QuantumPath,
        keys: Keys,
        journal: TurnJournal,
        clock: Clock,
        limits: TurnLimits | None = None,
    ) -> None:
        self._path = path
        self._keys = keys
        self._journal = journal
        self._clock = clock
        self._limits = limits or TurnLimits()

    def run(
        self,
        turn_id: UUID,
        pair: Pair,
        *,
        fencing: int,
        dwell_s: float,
        stop: threading.Event,
    ) -> int:
        """Run one turn to its end; returns how many keys both ends gained.

        Raises TurnFailedError after everything was put back. `stop` ends it early, as a failure
        unless keys are being drained already.
        """
        state = TurnState.WAITING

        def enter(next_state: TurnState) -> None:
            nonlocal state
            state = next_state
            self._journal.enter(turn_id, state)

        try:
            enter(TurnState.CONNECTING)
            self._keys.settle(pair.link)
            loss_db = self._path.connect(turn_id, pair.link)
            enter(TurnState.STANDBY)
            for unit in (pair.bob, pair.alice):
                unit.start(turn_id, fencing, loss_db=loss_db)
                self._await(unit, lambda r: r.standing_by or r.generating, stop)
            enter(TurnState.INITIALISING)
            self._await_generation(pair, stop)
            enter(TurnState.GENERATING)
            self._journal.measured(turn_id, self._read(pair.alice, stop))
            gained = self._generate(pair, dwell_s, stop)
            enter(TurnState.DRAINING)
            gained += self._keys.drain(pair.link)
        except ProblemError as error:
            left = self.put_back(turn_id, pair, fencing)
            detail = f"{state.value}: {error.detail}{left}"
            self._journal.enter(turn_id, TurnState.FAILED, detail)
            raise TurnFailedError(
                f"The turn of {pair.link} failed while {detail}",
                next_step=error.next_step or "It is tried again in its next turn.",
                link=pair.link,
            ) from error
        left = self.put_back(turn_id, pair, fencing)
        self._journal.enter(turn_id, TurnState.DONE, f"{gained} keys{left}")
        return gained

    def put_back(self, turn_id: UUID, pair: Pair | None, fencing: int) -> str:
        """Stop both units, release the path, settle the stores; says what could not be done.

        Without a pair (its link is no longer configured) the path alone is released.
        """
        undone: list[str] = []

        def attempt(what: str, act: Callable[[], None]) -> None:
            try:
                act()
            except ProblemError as error:
                undone.append(f"{what}: {error.detail}")
                log.warning("could not put back", what=what, why=error.detail)

        if pair is not None:
            attempt("stop Alice", partial(pair.alice.stop, turn_id, fencing))
            attempt("stop Bob", partial(pair.bob.stop, turn_id, fencing))
        attempt("release the path", partial(self._path.release, turn_id))
        if pair is not None:
            attempt("settle the key stores", partial(self._keys.settle, pair.link))
        return f" (left: {'; '.join(undone)})" if undone else ""

    def _generate(self, pair: Pair, dwell_s: float, stop: threading.Event) -> int:
        """Let both units generate for the dwell; returns how many keys were extracted meanwhile."""
        gained = 0
        end_s = self._clock.monotonic() + dwell_s
        drain_s = self._clock.monotonic() + self._limits.drain_every_s
        while True:
            gained += self._keys.serve_waiting(pair.link)
            now_s = self._clock.monotonic()
            left_s = end_s - now_s
            if left_s <= 0 or stop.is_set():
                return gained
            if now_s >= drain_s:
                gained += self._keys.drain(pair.link)
                drain_s = self._clock.monotonic() + self._limits.drain_every_s
            for unit in (pair.alice, pair.bob):
                reading = self._read(unit, stop)
                if reading.failed or not reading.generating:
                    raise TurnFailedError(
                        f"a unit stopped generating ({reading.detail})",
                        next_step="See the unit's log; the Bob gets another turn.",
                    )
            self._clock.wait(stop, min(self._limits.look_every_s, left_s))

    def _read(self, unit: Unit, stop: threading.Event) -> UnitReading:
        """What the unit tells; a missing answer does not end minutes of initialisation."""
        for _ in range(self._limits.unanswered_reads):
            try:
                return unit.read()
            except ProblemError as error:
                log.warning("a unit did not answer", why=error.detail)
            if self._clock.wait(stop, self._limits.look_every_s):
                break
        return unit.read()

    def _await_generation(self, pair: Pair, stop: threading.Event) -> None:
        for unit in (pair.alice, pair.bob):
            self._await(unit, lambda r: r.generating, stop)

    def _await(
        self,
        unit: Unit,
        ready: Callable[[UnitReading], bool],
        stop: threading.Event,
    ) -> None:
        deadline_s = self._clock.monotonic() + self._limits.initialisation_s
        while True:
            reading = self._read(unit, stop)
            if reading.failed:
                raise InitialisationError(
                    f"a unit failed ({reading.detail})",
                    next_step="See the unit's log, and whether light reaches it.",
                )
            if ready(reading):
                return
            if self._clock.monotonic() > deadline_s:
                raise InitialisationError(
                    f"a unit was not ready after {self._limits.initialisation_s:g} s of QKD time "
                    f"({reading.detail})",
                    next_step="See the unit's log, and whether light reaches it.",
                )
            if self._clock.wait(stop, self._limits.look_every_s):
                raise TurnFailedError("it was stopped", next_step="")

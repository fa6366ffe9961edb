"""One turn of Alice, from the first cross-connect to the last key.

Bob's key server is started first, then Alice's; both stand by until the initialisation is over;
they generate for the dwell; then both ends extract the same key ids (the paper's scheduling steps
ii to iv). Whatever goes wrong, the units are stopped, the path is released and half extracted keys
are discarded at both ends, so that Alice is never lit towards two Bobs. Where the error rate or
the comparison of keys says that the line cannot be trusted, the turn's keys are quarantined too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog

from key_management.errors import KeyAgreementError
from problem_details import ProblemError
from qkd_scheduler.errors import (
    InitialisationError,
    QberTooHighError,
    TurnFailedError,
    UnitSilentError,
)
from qkd_scheduler.faults import UNTRUSTED, Fault
from qkd_scheduler.measurements import Measurements, UnitReading
from qkd_scheduler.policies import KEY_BIT
from qkd_scheduler.ports import Keys, Pair, QuantumPath, TurnJournal, Unit
from qkd_scheduler.states import TurnState
from timekeeping import Clock

log = structlog.get_logger(__name__)

_BATCH_KEYS = 512
"""A drain may always take so many: what the last block added."""
_FAULT_IN: dict[TurnState, Fault] = {
    TurnState.WAITING: Fault.KEY_STORES,
    TurnState.CONNECTING: Fault.PATH,
    TurnState.STANDBY: Fault.UNIT_FAILED,
    TurnState.INITIALISING: Fault.INITIALISATION,
    TurnState.GENERATING: Fault.KEY_STORES,
    TurnState.DRAINING: Fault.KEY_STORES,
}
"""What an error means that does not say it itself, by the state in which it came."""


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
    qber_threshold: float = 0.08
    """No secret key is left at 11 %; a good line lies below 6 %."""
    silence_s: float = 3600.0
    """A unit that tells no block for so long does not generate, whatever it says."""


class TurnRunner:
    """Runs turns; one at a time for each Alice, and those of several Alices at once."""

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
        finish: threading.Event | None = None,
    ) -> int:
        """Run one turn to its end; returns how many keys both ends gained.

        Raises TurnFailedError after everything was put back. `stop` ends it early, as a failure
        unless keys are being drained already; `finish` ends the dwell early, in order.
        """
        return _Turn(self, turn_id, pair, fencing, stop, finish or threading.Event()).run(dwell_s)

    def put_back(self, turn_id: UUID, pair: Pair | None, fencing: int) -> str:
        """Stop both units, release the path, settle the stores; says what could not be done.

        Without a pair (its link is no longer configured) the path alone is released.
        """
        undone: list[str] = []

        def attempt(what: str, act: Callable[[], object]) -> None:
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


class _Turn:
    """One turn on its way; friend of its runner."""

    def __init__(
        self,
        runner: TurnRunner,
        turn_id: UUID,
        pair: Pair,
        fencing: int,
        stop: threading.Event,
        finish: threading.Event,
    ) -> None:
        self._put_back = partial(runner.put_back, turn_id, pair, fencing)
        self._path = runner._path
        self._keys = runner._keys
        self._journal = runner._journal
        self._clock = runner._clock
        self._limits = runner._limits
        self._id = turn_id
        self._pair = pair
        self._fencing = fencing
        self._stop = stop
        self._finish = finish
        self._state = TurnState.WAITING
        self._measurements = Measurements()
        self._gained = 0
        self._began_s = self._clock.monotonic()

    def run(self, dwell_s: float) -> int:
        pair = self._pair
        try:
            self._enter(TurnState.CONNECTING)
            self._keys.settle(pair.link)
            loss_db = self._path.connect(self._id, pair.link)
            self._enter(TurnState.STANDBY)
            for unit in (pair.bob, pair.alice):
                with self._speaking_to(unit):
                    unit.start(self._id, self._fencing, loss_db=loss_db)
                self._await(unit, lambda r: r.standing_by or r.generating)
            self._enter(TurnState.INITIALISING)
            for unit in (pair.alice, pair.bob):
                self._await(unit, lambda r: r.generating)
            self._enter(TurnState.GENERATING)
            self._generate(dwell_s)
            self._enter(TurnState.DRAINING)
            self._drain()
            # The last block may have come after the last look.
            for unit in (pair.alice, pair.bob):
                self._check_qber(self._read(unit))
        except ProblemError as error:
            raise self._failed(error) from error
        left = self._put_back()
        self._journal.enter(self._id, TurnState.DONE, f"{self._gained} keys{left}")
        return self._gained

    def _enter(self, state: TurnState) -> None:
        self._state = state
        self._journal.enter(self._id, state)

    def _failed(self, error: ProblemError) -> TurnFailedError:
        """Put everything back and journal why; returns the error to raise."""
        fault = self._fault_of(error)
        detail = f"{self._state.value}: {error.detail}"
        if fault in UNTRUSTED:
            # Before the units go: nobody shall take such a key while we tidy up.
            detail += self._quarantine(error.detail)
        detail += self._put_back()
        self._journal.enter(self._id, TurnState.FAILED, detail, fault=fault)
        return TurnFailedError(
            f"The turn of {self._pair.link} failed while {detail}",
            fault=fault,
            next_step=error.next_step or "It is tried again in its next turn.",
            link=self._pair.link,
        )

    def _fault_of(self, error: ProblemError) -> Fault:
        if isinstance(error, TurnFailedError):
            return error.fault
        if isinstance(error, KeyAgreementError):
            return Fault.KEYS_DISAGREE
        return _FAULT_IN[self._state]

    def _quarantine(self, why: str) -> str:
        try:
            keys = self._keys.quarantine(self._pair.link, self._id, why)
        except ProblemError as error:
            log.error("keys could not be quarantined", why=error.detail)
            return f"; quarantine is not complete: {error.detail}"
        return f"; {keys} keys of this turn are quarantined"

    # --- generating -------------------------------------------------------------------------------

    def _generate(self, dwell_s: float) -> None:
        """Let both units generate for the dwell, watch them, extract keys meanwhile."""
        pair = self._pair
        end_s = self._clock.monotonic() + dwell_s
        drain_s = 0.0
        self._new_block_s = self._clock.monotonic()
        while True:
            # Looked at before keys are taken: those of a bad block shall not get far.
            self._look()
            self._gain(self._keys.serve_waiting(pair.link, self._id))
            now_s = self._clock.monotonic()
            left_s = end_s - now_s
            if left_s <= 0 or self._stop.is_set() or self._finish.is_set():
                break
            if now_s >= drain_s:
                self._drain()
                drain_s = now_s + self._limits.drain_every_s
            self._clock.wait(self._stop, min(self._limits.look_every_s, left_s))
        self._journal.measured(self._id, self._measurements.so_far())

    def _look(self) -> None:
        """Light passes, both units generate, their blocks come, and the error rate is low."""
        self._check_light()
        for unit in (self._pair.alice, self._pair.bob):
            reading = self._read(unit)
            if not reading.generating:
                self._journal.measured(self._id, self._measurements.so_far())
                raise TurnFailedError(
                    f"a unit stopped generating ({reading.detail})",
                    fault=Fault.UNIT_FAILED if reading.failed else Fault.LIGHT_LOST,
                    next_step="See the unit's log, and whether light reaches it.",
                )
            if unit is self._pair.alice:
                self._measure(reading)
            self._check_qber(reading)

    def _check_light(self) -> None:
        """The switch may know of a lost fibre before the units tell that they see nothing."""
        why = self._path.loss_of_light(self._id)
        if why is not None:
            self._journal.measured(self._id, self._measurements.so_far())
            raise TurnFailedError(
                why, fault=Fault.LIGHT_LOST, next_step="See `qnfv network show`; mend the fibre."
            )

    def _measure(self, reading: UnitReading) -> None:
        now_s = self._clock.monotonic()
        first = self._measurements.so_far().blocks == 0
        if self._measurements.take(reading):
            self._new_block_s = now_s
            if first:
                self._journal.measured(self._id, self._measurements.so_far())
        elif reading.last_block_at and now_s - self._new_block_s > self._limits.silence_s:
            raise TurnFailedError(
                f"Alice's unit told no block for {self._limits.silence_s:g} s of QKD time",
                fault=Fault.LIGHT_LOST,
                next_step="See the unit's log, and whether light reaches it.",
            )

    def _check_qber(self, reading: UnitReading) -> None:
        if reading.qber is None or reading.qber <= self._limits.qber_threshold:
            return
        self._journal.measured(self._id, self._measurements.so_far())
        raise QberTooHighError(
            f"the QBER is {reading.qber:.2%}, above {self._limits.qber_threshold:.2%}",
            fault=Fault.QBER,
            next_step="Somebody may be listening, or the line is bad: look at the fibre before "
            "this link is used again.",
        )

    def _drain(self) -> None:
        # No more than the units can have made by now: where QKD time is scaled they make keys
        # faster than anybody extracts them, and a drain would never end.
        made_bit = (self._measurements.largest_rate_bps or 0.0) * self._age_s()
        at_most = max(_BATCH_KEYS, math.ceil(made_bit / KEY_BIT) - self._gained)
        self._gain(self._keys.drain(self._pair.link, self._id, at_most=at_most))

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._began_s

    def _gain(self, keys: int) -> None:
        if keys:
            self._gained += keys
            self._journal.gained(self._id, self._gained)

    # --- units ------------------------------------------------------------------------------------

    def _read(self, unit: Unit) -> UnitReading:
        """What the unit tells; a missing answer does not end minutes of initialisation."""
        for _ in range(self._limits.unanswered_reads):
            try:
                return unit.read()
            except ProblemError as error:
                log.warning("a unit did not answer", why=error.detail)
            if self._clock.wait(self._stop, self._limits.look_every_s):
                break
        with self._speaking_to(unit):
            try:
                return unit.read()
            except UnitSilentError:
                raise
            except ProblemError as error:
                raise UnitSilentError(error.detail, next_step=error.next_step) from error

    @contextmanager
    def _speaking_to(self, unit: Unit) -> Iterator[None]:
        """Silence is the fault of whom we speak to."""
        try:
            yield
        except UnitSilentError as error:
            is_alice = unit is self._pair.alice
            raise TurnFailedError(
                error.detail,
                fault=Fault.ALICE_SILENT if is_alice else Fault.BOB_SILENT,
                next_step=error.next_step,
            ) from error

    def _await(self, unit: Unit, ready: Callable[[UnitReading], bool]) -> None:
        deadline_s = self._clock.monotonic() + self._limits.initialisation_s
        while True:
            reading = self._read(unit)
            if reading.failed:
                raise InitialisationError(
                    f"a unit failed ({reading.detail})",
                    fault=Fault.UNIT_FAILED,
                    next_step="See the unit's log, and whether light reaches it.",
                )
            if ready(reading):
                return
            self._check_light()
            if self._clock.monotonic() > deadline_s:
                raise InitialisationError(
                    f"a unit was not ready after {self._limits.initialisation_s:g} s of QKD time "
                    f"({reading.detail})",
                    fault=Fault.INITIALISATION,
                    next_step="See the unit's log, and whether light reaches it.",
                )
            if self._clock.wait(self._stop, self._limits.look_every_s):
                raise TurnFailedError("it was stopped", fault=Fault.STOPPED)

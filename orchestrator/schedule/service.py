"""Shares one Alice among the Bobs that need her, while this process leads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.keys.service import KeyService
from orchestrator.schedule.lease import Lease
from orchestrator.schedule.timetable import Timetable
from problem_details import ProblemError
from qkd_scheduler.policies import BobView, Choice, Policy
from qkd_scheduler.ports import Pair
from qkd_scheduler.states import TurnState
from qkd_scheduler.turn import TurnRunner
from timekeeping import QkdClock

log = structlog.get_logger(__name__)

_IDLE_S = 2.0
_AFTER_FAILURE_S = 1.0
_LONGEST_SET_UP_S = 1265.0
"""Initialisation at 25 km, the longest of the paper: our guess where a link has no history."""


class ScheduleService:
    """The live scheduler of one Alice: a thread that chooses and runs turns."""

    def __init__(
        self,
        alice: str,
        pairs: Mapping[str, Pair],
        policy: Policy,
        turns: TurnRunner,
        keys: KeyService,
        timetable: Timetable,
        lease: Lease,
        clock: QkdClock,
        *,
        waiting_for_keys: Callable[[str], int],
    ) -> None:
        self._alice = alice
        self._pairs = pairs
        self._policy = policy
        self._turns = turns
        self._keys = keys
        self._timetable = timetable
        self._lease = lease
        self._clock = clock
        self._waiting_for_keys = waiting_for_keys
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._stop_turn = threading.Event()
        self._fencing: int | None = None
        self._thread = threading.Thread(target=self._lead, name="schedule", daemon=True)
        self._renewal = threading.Thread(target=self._renew, name="lease", daemon=True)

    def start(self) -> None:
        self._renewal.start()
        self._thread.start()

    def wake(self) -> None:
        """Somebody needs keys: look again now."""
        self._wake.set()

    def close(self) -> None:
        """End the present turn in order and let another lead."""
        self._closing.set()
        self._stop_turn.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._renewal.is_alive():
            self._renewal.join(5)
        if self._fencing is not None:
            self._lease.release()

    @property
    def leads(self) -> bool:
        return self._fencing is not None

    def keys_expected_in_s(self, link: str) -> float | None:
        """Real seconds until this link's next keys, by what past turns took; None if unknown."""
        if link not in self._pairs:
            return None
        recent = self._timetable.recent(1)
        before = 0.0
        if recent and recent[0].state not in (TurnState.DONE, TurnState.FAILED):
            if recent[0].link == link:
                return self._turn_s(link)
            before = self._turn_s(recent[0].link)
        for bob in self.views():
            if bob.link != link and bob.wants_alice:
                before += self._turn_s(bob.link)
        return before + self._turn_s(link)

    def _turn_s(self, link: str) -> float:
        last = self._timetable.last_done(link)
        if last is not None and last.ended_at is not None:
            return (last.ended_at - last.started_at).total_seconds()
        choice_s = getattr(self._policy, "slot_s", 600.0)
        return self._clock.real_s(_LONGEST_SET_UP_S + choice_s)

    def views(self) -> list[BobView]:
        """What the policy sees of each Bob now."""
        last = self._timetable.last_numbers()
        return [
            BobView(
                link=link,
                level_keys=self._keys.level(link),
                target_keys=self._keys.pool_target_keys,
                capacity_keys=self._keys.capacity_keys,
                waiting_deployments=max(
                    self._waiting_for_keys(link), self._keys.waiting_on_demand(link)
                ),
                last_served=last.get(link, 0),
            )
            for link in sorted(self._pairs)
        ]

    # --- leading ----------------------------------------------------------------------------------

    def _renew(self) -> None:
        while not self._closing.is_set():
            before = self._fencing
            try:
                self._fencing = self._lease.acquire()
            except Exception as error:  # noqa: BLE001 - whoever cannot renew must not lead
                self._fencing = None
                log.error("the lease cannot be renewed", why=str(error))
            if self._fencing != before:
                if before is not None:
                    log.warning("this orchestrator does not lead any more", fencing=before)
                    self._stop_turn.set()
                self._wake.set()
            self._closing.wait(self._lease.life_s / 3)

    def _lead(self) -> None:
        cleaned_for: int | None = None
        while not self._closing.is_set():
            self._wake.clear()
            fencing = self._fencing
            if fencing is None:
                self._wake.wait(_IDLE_S)
                continue
            try:
                if fencing != cleaned_for:
                    self._end_unfinished(fencing)
                    cleaned_for = fencing
                choice = self._policy(self.views())
                served = choice is not None and self._serve(choice, fencing)
            except SQLAlchemyError as error:
                log.error("the schedule cannot reach its database", why=str(error))
                choice, served = None, False
                cleaned_for = None
            except Exception as error:  # without this thread no key is ever made
                log.error("the schedule failed unexpectedly", exc_info=error)
                choice, served = None, False
                cleaned_for = None
            if choice is None:
                self._wake.wait(_IDLE_S)
            elif not served:
                # The same fault would come again at once.
                self._closing.wait(_AFTER_FAILURE_S)

    def _serve(self, choice: Choice, fencing: int) -> bool:
        turn_id = uuid4()
        # Each turn has an order to stop of its own, so that an old one stops no later turn. It is
        # in place before looking whether we still lead: whoever changes that sets it afterwards.
        stop = self._stop_turn = threading.Event()
        if self._fencing != fencing or self._closing.is_set():
            return False
        with structlog.contextvars.bound_contextvars(turn=str(turn_id), link=choice.link):
            self._timetable.open(
                turn_id, self._alice, choice.link, fencing=fencing, dwell_s=choice.dwell_s
            )
            try:
                gained = self._turns.run(
                    turn_id,
                    self._pairs[choice.link],
                    fencing=fencing,
                    dwell_s=choice.dwell_s,
                    stop=stop,
                )
            except ProblemError as error:
                log.warning("turn failed", why=error.detail)
                return False
            log.info("turn done", keys=gained)
            return True

    def _end_unfinished(self, fencing: int) -> None:
        """End what an earlier leader left lit or running."""
        for row in self._timetable.unfinished(self._alice):
            turn_id: UUID = row.turn_id
            left = self._turns.put_back(turn_id, self._pairs.get(row.link), fencing)
            self._timetable.enter(
                turn_id, TurnState.FAILED, f"{row.state}: its orchestrator went away{left}"
            )
            log.warning("an unfinished turn was ended", turn=str(turn_id), link=row.link)

"""Shares the Alices among the Bobs that need them, while this process leads.

Each Alice has a thread that chooses and runs her turns; one lease is for all. A further thread
keeps house: promises whose time has passed, Bobs that had better go to another Alice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.schedule.assignment import Assignments
from orchestrator.schedule.books import Books
from orchestrator.schedule.desk import Present, TurnDesk
from orchestrator.schedule.errors import AbsurdWishError, OrderRefusedError, PromiseRefusedError
from orchestrator.schedule.leadership import Leadership
from orchestrator.schedule.orders import LONGEST_S, BobOrders, PinKind
from orchestrator.schedule.outlook import Outlook, PoolOutlook
from orchestrator.schedule.promises import Promise, PromiseOutcome
from orchestrator.schedule.ways import Ways
from orchestrator.store.tables import AlarmRow
from problem_details import ProblemError
from qkd_scheduler.faults import Fault
from qkd_scheduler.policies import Choice
from qkd_scheduler.policies.admission import admit
from qkd_scheduler.policies.forecast import Forecast
from timekeeping import QkdClock

log = structlog.get_logger(__name__)

_IDLE_S: Final = 2.0
_BEAT_S: Final = 0.01
_AFTER_BUG_S: Final = 1.0
_SILENT_ALICE_S: Final = 5.0
_NO_SWITCH_S: Final = 0.5
_KEEP_HOUSE_S: Final = 1.0
_REASSIGN_S: Final = 30.0
_TAKING_S: Final = 1.0
"""Real time that an operation takes to be woken and to take its keys."""
_TURN_END_S: Final = 30.0
_LONGEST_PLAN_S: Final = 30 * 86_400.0
_LARGEST_PROMISE_BIT: Final = 2**50
PROMISE_BROKEN: Final = "promise-broken"


class ScheduleService:
    """The live scheduler. All methods for people and operations take and give real seconds."""

    def __init__(
        self,
        ways: Ways,
        assignments: Assignments,
        outlook: Outlook,
        desk: TurnDesk,
        books: Books,
        leadership: Leadership,
        clock: QkdClock,
        *,
        switch_of_is_there: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`switch_of_is_there` tells whether the switch at which an Alice is plugged in answers."""
        self._ways = ways
        self._assignments = assignments
        self._outlook = outlook
        self._desk = desk
        self._books = books
        self._leadership = leadership
        self._clock = clock
        self._switch_of_is_there = switch_of_is_there
        self._closing = threading.Event()
        self._promising = threading.Lock()
        self._silent: set[str] = set()
        self._wakes = {alice: threading.Event() for alice in ways.alices}
        self._threads = [
            threading.Thread(target=self._lead, args=(alice,), name=f"turns-{alice}", daemon=True)
            for alice in ways.alices
        ]
        self._threads.append(
            threading.Thread(target=self._keep_house, name="schedule", daemon=True)
        )

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        self._leadership.start()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Somebody needs keys: look again now."""
        for wake in self._wakes.values():
            wake.set()

    def on_leadership(self, fencing: int | None) -> None:
        """Whoever does not lead any more stops its turns."""
        self._desk.stop_all(but=fencing)
        self.wake()

    def close(self) -> None:
        """End the present turns in order and let another lead."""
        self._closing.set()
        self._desk.close()
        self.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_TURN_END_S)
        self._leadership.close()

    @property
    def leads(self) -> bool:
        return self._leadership.fencing is not None

    @property
    def links(self) -> list[str]:
        return self._ways.links

    @property
    def alices(self) -> list[str]:
        return self._ways.alices

    @property
    def scale(self) -> float:
        """QKD seconds in a real one."""
        return self._clock.scale

    def alice_of(self, link: str) -> str:
        """Who serves this link now. Raises UnknownLinkError."""
        return self._assignments.alice_of(link)

    # --- looking ahead ----------------------------------------------------------------------------

    def keys_expected_in_s(self, link: str) -> float | None:
        """Real seconds until this link's next keys; None for a link that no Alice serves."""
        if link not in self._ways.links:
            return None
        expected_s = self._outlook.keys_in_s(link)
        return None if expected_s is None else self._clock.real_s(expected_s)

    def plan(self, horizon_s: float) -> dict[str, Forecast]:
        """The turns of each Alice in the next `horizon_s` of real time; the forecast's own times
        are QKD seconds. Raises AbsurdWishError."""
        longest_s = self._clock.real_s(_LONGEST_PLAN_S)
        if not 0 < horizon_s <= longest_s:
            raise AbsurdWishError(
                f"A plan of {horizon_s:g} s makes no sense.",
                next_step=f"Ask for more than 0 s and at most {longest_s:g} s (30 days of QKD "
                "time).",
            )
        qkd_s = horizon_s * self._clock.scale
        return {alice: self._outlook.forecast(alice, qkd_s) for alice in self._ways.alices}

    def pools(self) -> list[PoolOutlook]:
        return self._outlook.pools()

    # --- promises ---------------------------------------------------------------------------------

    def promise(self, operation_id: UUID, link: str, bits: int, due_in_s: float) -> Promise:
        """Promise key bits within `due_in_s` real seconds; asked again, the promise that stands.

        Raises PromiseRefusedError (`earliest_in_s`: when they could be there, None if never),
        UnknownLinkError or AbsurdWishError.
        """
        self._ways.to(link)
        if not 0 < bits <= _LARGEST_PROMISE_BIT or not 0 <= due_in_s <= LONGEST_S:
            raise AbsurdWishError(
                f"{bits} bits within {due_in_s:g} s cannot be promised.",
                next_step="Ask for more than 0 bits, within a year from now.",
            )
        # One after the other: each counts on what the one before was promised.
        with self._promising:
            standing = self._books.promises.find(operation_id)
            if standing is not None and standing.ended_at is None:
                return standing
            promise = self._admit(operation_id, link, bits, due_in_s)
            self._books.promises.add(promise)
        self._changed()
        return promise

    def earliest_in_s(self, link: str, bits: int) -> float | None:
        """Real seconds until so many bits could be there without breaking a promise; None: never.

        Nothing is promised by asking.
        """
        views = self._outlook.views(self._assignments.alice_of(link))
        answer = admit(self._outlook.policy(views), views, link, bits, 0.0)
        if answer.admitted:
            return 0.0
        return None if answer.earliest_in_s is None else self._clock.real_s(answer.earliest_in_s)

    def _admit(self, operation_id: UUID, link: str, bits: int, due_in_s: float) -> Promise:
        if self._books.orders.of(link).excluded:
            raise PromiseRefusedError(
                f"{link} is excluded, so no keys are made for it.",
                next_step=f"Include it first: `qnfv schedule include {link}`.",
                earliest_in_s=None,
            )
        now = self._clock.now()
        views = self._outlook.views(self._assignments.alice_of(link))
        answer = admit(self._outlook.policy(views), views, link, bits, due_in_s * self._clock.scale)
        if answer.promised_in_s is None:
            raise self._refusal(link, bits, answer.earliest_in_s, answer.reason, now)

        due_at = now + timedelta(seconds=due_in_s)

        def at(qkd_s: float) -> datetime:
            return now + timedelta(seconds=self._clock.real_s(qkd_s))

        return Promise(
            operation_id,
            link,
            bits,
            asked_at=now,
            due_at=due_at,
            promised_at=min(due_at, at(answer.promised_in_s) + timedelta(seconds=_TAKING_S)),
        )

    def _refusal(
        self, link: str, bits: int, earliest_s: float | None, reason: str, now: datetime
    ) -> PromiseRefusedError:
        if earliest_s is None:
            return PromiseRefusedError(
                f"{bits} bits of {link} cannot be promised: {reason}.",
                next_step="Ask for less, or use a cipher that needs fewer key bits.",
                earliest_in_s=None,
            )
        real_s = self._clock.real_s(earliest_s)
        return PromiseRefusedError(
            f"{bits} bits of {link} cannot be promised by then: {reason}.",
            next_step=f"Ask for them in {math.ceil(real_s)} s or later.",
            earliest_in_s=real_s,
            earliest_at=(now + timedelta(seconds=real_s)).isoformat(),
        )

    def promise_kept(self, operation_id: UUID) -> None:
        """The operation has its keys; if the time had passed, the promise counts as broken."""
        self._books.promises.end(operation_id, PromiseOutcome.KEPT)
        self._changed()

    def promise_withdrawn(self, operation_id: UUID) -> None:
        """The operation needs no keys any more. Nothing promised is fine."""
        self._books.promises.end(operation_id, PromiseOutcome.WITHDRAWN)
        self._changed()

    def promises(self, limit: int = 100) -> list[Promise]:
        """Newest first; those whose time has passed are marked as broken."""
        self._note_broken()
        return self._books.promises.recent(limit)

    def kept_share(self) -> float | None:
        return self._books.promises.kept_share()

    def promise_counts(self) -> dict[PromiseOutcome, int]:
        return self._books.promises.counts()

    # --- orders of people -------------------------------------------------------------------------

    def orders_of(self, link: str) -> BobOrders:
        """Raises UnknownLinkError."""
        self._ways.to(link)
        return self._books.orders.of(link)

    def pin(
        self, link: str, kind: PinKind, duration_s: float | None = None, *, interrupt: bool = False
    ) -> None:
        """Serve this Bob next, or hold his Alice on him. `interrupt` ends the turn that is on.

        Raises UnknownLinkError, OrderRefusedError or AbsurdWishError.
        """
        alice = self._assignments.alice_of(link)
        rivals = [other for other in self._assignments.bobs_of(alice) if other != link]
        self._books.orders.pin(link, kind, duration_s, rivals)
        if interrupt:
            self._desk.end_early(alice, unless=link)
        self._changed()

    def unpin(self, link: str) -> None:
        """A held turn ends in order."""
        alice = self._assignments.alice_of(link)
        held = self._books.orders.of(link).pin is PinKind.HOLD
        self._books.orders.unpin(link)
        if held:
            self._desk.end_early(alice, link=link)
        self._changed()

    def exclude(self, link: str, duration_s: float | None = None, why: str = "") -> None:
        """Serve this Bob no more; his turn, if one is on, ends."""
        alice = self._assignments.alice_of(link)
        self._books.orders.exclude(link, duration_s, why)
        self._desk.end_early(alice, link=link)
        self._changed()

    def include(self, link: str) -> None:
        self._assignments.alice_of(link)
        self._books.orders.include(link)
        self._changed()

    def keys_now(self, link: str, *, interrupt: bool = False) -> float | None:
        """Somebody wants keys of this link now; returns real seconds until they should come.

        Raises UnknownLinkError, or OrderRefusedError if he is excluded or his pool is full.
        """
        alice = self._assignments.alice_of(link)
        if self._outlook.is_full(link):
            raise OrderRefusedError(
                f"The pool of {link} is full.", next_step="Take keys first; `qnfv schedule pools`."
            )
        self._books.orders.ask_keys(link)
        if interrupt:
            self._desk.end_early(alice, unless=link)
        self._changed()
        return self.keys_expected_in_s(link)

    # --- alarms -----------------------------------------------------------------------------------

    def alarms(self, *, acknowledged: bool = False) -> list[AlarmRow]:
        return self._books.alarms.list(acknowledged=acknowledged)

    def acknowledge(self, alarm_id: UUID) -> AlarmRow:
        return self._books.alarms.acknowledge(alarm_id)

    def alarm_counts(self) -> dict[str, int]:
        return self._books.alarms.open_counts()

    # --- leading ----------------------------------------------------------------------------------

    def _lead(self, alice: str) -> None:
        cleaned_for: int | None = None
        wake = self._wakes[alice]
        while not self._closing.is_set():
            wake.clear()
            fencing = self._leadership.fencing
            if fencing is None:
                wake.wait(_IDLE_S)
                continue
            try:
                if fencing != cleaned_for:
                    self._desk.end_unfinished(alice, fencing, self._ways.alices)
                    self._assignments.load()
                    self._reassign()
                    cleaned_for = fencing
                rest_s = self._take_turn(alice, fencing)
            except SQLAlchemyError as error:
                log.error("the schedule cannot reach its database", why=str(error))
                cleaned_for, rest_s = None, _AFTER_BUG_S
            except Exception as error:  # without this thread no key is ever made
                log.error("the schedule failed unexpectedly", exc_info=error)
                cleaned_for, rest_s = None, _AFTER_BUG_S
            if rest_s > 0:
                wake.wait(rest_s)

    def _take_turn(self, alice: str, fencing: int) -> float:
        """Choose and run one turn; returns for how many real seconds she may rest after it."""
        if not self._switch_of_is_there(alice):
            return _NO_SWITCH_S  # no Bob is to blame, and nobody's turn is used up
        if alice in self._silent and not self._answers(alice):
            return _SILENT_ALICE_S
        chosen = self._choose(alice, fencing)
        if chosen is None:
            retry_s = self._outlook.retry_in_s(alice)
            return _IDLE_S if retry_s is None else min(_IDLE_S, retry_s + _BEAT_S)
        fault = self._desk.serve(*chosen)
        self._outlook.changed()
        if fault is Fault.ALICE_SILENT:
            self._silent.add(alice)
        self._wake_others(alice)
        return 0.0

    def _choose(self, alice: str, fencing: int) -> tuple[Present, Choice] | None:
        """The next turn, planned outside of any lock, then claimed."""
        for _ in self._ways.links:
            views = self._outlook.views(alice)
            choice = self._outlook.policy(views)(views)
            if choice is None:
                return None
            present = self._desk.claim(alice, choice.link, fencing)
            if present is not None:
                return present, choice
        return None

    def _answers(self, alice: str) -> bool:
        """Whether an Alice that was silent is back."""
        for way in self._ways.of(alice)[:1]:
            try:
                way.pair.alice.read()
            except ProblemError:
                return False
        self._silent.discard(alice)
        self._books.alarms.over(alice)
        return True

    def _wake_others(self, alice: str) -> None:
        """A path came free."""
        for other, wake in self._wakes.items():
            if other != alice:
                wake.set()

    # --- keeping house ----------------------------------------------------------------------------

    def _keep_house(self) -> None:
        reassigned_s = -math.inf
        silent: set[str] = set()
        while not self._closing.is_set():
            now_s = self._clock.real_s(self._clock.monotonic())
            try:
                if self.leads:
                    self._note_broken()
                    if now_s - reassigned_s >= _REASSIGN_S or silent != self._silent:
                        reassigned_s, silent = now_s, set(self._silent)
                        self._reassign()
            except SQLAlchemyError as error:
                log.error("the schedule cannot reach its database", why=str(error))
            except Exception as error:  # the next round may go well
                log.error("the schedule failed unexpectedly", exc_info=error)
            self._closing.wait(_KEEP_HOUSE_S)

    def _note_broken(self) -> None:
        for promise in self._books.promises.find_broken():
            self._books.alarms.raise_(
                PROMISE_BROKEN,
                promise.link,
                # Alarms of links are everybody's, operations are their project's.
                f"{promise.bits} bits were promised to an operation "
                f"by {promise.promised_at.isoformat(timespec='seconds')}.",
            )
            self._changed()

    def _reassign(self) -> None:
        speaking = [alice for alice in self._ways.alices if alice not in self._silent]
        if not speaking:
            return
        moved = self._desk.reassign(self._assignments.proposal(self._outlook.lot_of, speaking))
        if moved:
            self._changed()

    def _changed(self) -> None:
        self._outlook.changed()
        self.wake()

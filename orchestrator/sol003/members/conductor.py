"""Brings occurrences over several members to their end: cancels, undoes and removes members, and
begins to remove once all that is added is there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import DeploymentStateError, OperationStateError
from orchestrator.events.bus import Event, EventBus, OperationChanged
from orchestrator.sol003.members.aggregate import (
    Course,
    Reaction,
    reactions,
    removals_are_due,
)
from orchestrator.sol003.members.occurrences import Occurrences, RemovalsNotDueError
from orchestrator.sol003.members.settling import MemberPart, decided
from orchestrator.sol003.tables import OccurrenceRow
from orchestrator.vnf_lcm.changes import DeploymentChanges
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import (
    ENDED,
    DeploymentState,
    OperationAction,
    OperationState,
)
from orchestrator.workflow.actions import OperationActions, state_refusal
from problem_details import ProblemError
from timekeeping import Clock, Rounds

log = structlog.get_logger(__name__)
_LOOK_EVERY_S, _LOOK_AT_MOST_EVERY_S = 0.5, 0.1
_REST_S, _REST_AT_MOST_S = 1.0, 60.0
"""Between two removals of the same member: twice as long after each that failed."""


class Conductor:
    """Thread-safe. What it does is asked for in the database first and done by compare-and-set, so
    after a crash, or beside another orchestrator, it is done once."""

    def __init__(
        self,
        occurrences: Occurrences,
        actions: OperationActions,
        changes: DeploymentChanges,
        records: LcmRecords,
        bus: EventBus,
        clock: Clock,
        *,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """Of several orchestrators on one database the one that `leads` looks by itself."""
        self._occurrences = occurrences
        self._leads = leads
        self._changes = changes
        self._records = records
        self._clock = clock
        self._act: dict[Reaction, Callable[[MemberPart], None]] = {
            Reaction.CANCEL: lambda member: actions.cancel(member.operation_id),
            Reaction.RETRY: lambda member: actions.retry(
                member.operation_id, after_try=member.part.tries
            ),
            Reaction.ROLLBACK: lambda member: actions.rollback(member.operation_id),
            Reaction.FAIL: lambda member: actions.fail(member.operation_id),
        }
        self._watched: frozenset[UUID] = frozenset()
        """Operations under the occurrences that were open at the last look."""
        self._looked_at_s = 0.0
        self._rounds = Rounds("occurrences", self._look, clock, _LOOK_EVERY_S)
        self._unsubscribe = bus.subscribe(self._on_event)

    def start(self) -> None:
        """What a crash left is gone on with."""
        for occurrence_id in self._occurrences.open():
            self._occurrences.settle(occurrence_id)
        self._rounds.start()

    def close(self) -> None:
        self._unsubscribe()
        self._rounds.close()

    def ask(self, row: OccurrenceRow, action: OperationAction) -> None:
        """Decide about an occurrence. Raises OperationStateError."""
        occurrence_id = row.occurrence_id
        if not self._occurrences.decide(occurrence_id, action):
            state = (self._occurrences.find(occurrence_id) or row).state
            raise state_refusal(occurrence_id, state, action, look_at="its VNF instance")
        self.react(occurrence_id)

    def react(self, occurrence_id: UUID) -> None:
        """Do what its members need now; what cannot be done now is done at another look."""
        row = self._occurrences.find(occurrence_id)
        if row is None or row.state in ENDED:
            return
        members = self._occurrences.parts(occurrence_id)
        parts = [member.part for member in members]
        wanted = reactions(decided(row), parts)
        for member, reaction in zip(members, wanted, strict=True):
            if reaction is not None:
                self._do(row, member, reaction)
        if removals_are_due(decided(row), parts):
            self._begin_removals(row)
        if row.course == Course.BACK:
            # Somebody else may have removed a member, which no operation of ours tells.
            self._occurrences.settle(occurrence_id)

    # --- inside

    def _on_event(self, event: Event) -> None:
        """Progress is told often; what is not seen now is seen at the next look."""
        if not isinstance(event, OperationChanged) or event.operation_id not in self._watched:
            return
        if self._clock.monotonic() - self._looked_at_s >= _LOOK_AT_MOST_EVERY_S:
            self._rounds.wake()

    def _look(self) -> None:
        if not self._leads():
            return
        try:
            waiting = self._occurrences.open()
            self._looked_at_s = self._clock.monotonic()
            self._watched = frozenset(
                member.operation_id
                for members in self._occurrences.parts_of(waiting).values()
                for member in members
            )
        except SQLAlchemyError as error:
            log.error("occurrences cannot be read", why=str(error))
            return
        for occurrence_id in waiting:
            try:
                self.react(occurrence_id)
            except Exception as error:
                # The others go on, and this one is looked at again.
                log.error("cannot be gone on with", occurrence=str(occurrence_id), exc_info=error)

    def _do(self, row: OccurrenceRow, member: MemberPart, reaction: Reaction) -> None:
        try:
            if reaction is Reaction.REMOVE:
                self._remove(row, member)
            else:
                self._act[reaction](member)
        except (OperationStateError, DeploymentStateError):
            return  # it went on at this moment, or somebody else did it
        except ProblemError as error:
            log.warning("a member cannot be changed now", reaction=reaction, why=error.detail)

    def _begin_removals(self, row: OccurrenceRow) -> None:
        """Of the members that its target has no more, all in one transaction."""
        leaving = self._occurrences.leaving(row)
        removals = [self._changes.removal(member.deployment) for member in leaving]
        ties = [(each.operation_id, each.row.deployment_id) for each in removals]
        try:
            self._changes.begin(
                removals,
                within=lambda session: self._occurrences.begin_removals(
                    session, row.occurrence_id, ties
                ),
            )
        except (RemovalsNotDueError, DeploymentStateError):
            return  # somebody else began them, or is busy with one of them alone: another look

    def _remove(self, row: OccurrenceRow, member: MemberPart) -> None:
        deployment = self._records.deployment(member.deployment_id)
        if deployment.state in (DeploymentState.REMOVING, DeploymentState.REMOVED):
            return
        tried = self._occurrences.undoings(row.occurrence_id, member.deployment_id)
        if tried:
            last, rest_s = tried[-1], min(_REST_S * 2 ** (len(tried) - 1), _REST_AT_MOST_S)
            if last.state not in ENDED or last.ended_at is None:
                return
            if self._clock.now() < last.ended_at + timedelta(seconds=rest_s):
                return
            if last.state != OperationState.COMPLETED:
                log.warning("a member is removed again", deployment=str(member.deployment_id))
        removal = self._changes.removal(deployment)
        self._changes.begin(
            [removal],
            within=lambda session: self._occurrences.tie(
                session,
                row.occurrence_id,
                removal.operation_id,
                member.deployment_id,
                is_undoing=True,
            ),
        )

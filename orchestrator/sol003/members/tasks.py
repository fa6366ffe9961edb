"""Tasks of VNFs of several members, each recorded whole: one occurrence, an operation a member."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from database import writing
from orchestrator.sol003.instance import Instance
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.aggregate import Course
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.shape import Shape, Slot
from orchestrator.sol003.tables import InstantiationRow, OccurrenceRow
from orchestrator.vnf_lcm.changes import Change
from orchestrator.vnf_lcm.deploying import Prepared
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.schemas import DeploymentRequest, HealRequest
from orchestrator.vnf_lcm.states import OnFailure, OperationState
from timekeeping import Clock

_NO_SERVICE_NAME = re.compile(r"[^a-z0-9]+")
_NAME_MAX = 63


class MemberTasks:
    """Thread-safe. Each answers the id of its occurrence, and raises VnfInstanceStateError where
    somebody else began something at this moment."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        instances: VnfInstances,
        occurrences: Occurrences,
        lifecycle: Lifecycle,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._instances = instances
        self._occurrences = occurrences
        self._lifecycle = lifecycle

    def instantiate(
        self,
        instance: Instance,
        shape: Shape,
        wanted: Sequence[tuple[Slot, DeploymentRequest]],
        parameters: dict[str, Any],
    ) -> UUID:
        """Raises what makes one of them impossible; then none is begun."""
        row = self._row(instance, "INSTANTIATE", parameters, adds=True, shape=shape)
        return self._add(instance, row, wanted)

    def scale(
        self,
        instance: Instance,
        kind: Literal["SCALE", "SCALE_TO_LEVEL"],
        shape: Shape,
        wanted: Sequence[tuple[Slot, DeploymentRequest]],
        parameters: dict[str, Any],
    ) -> UUID:
        """Add the members of `wanted`, all or none; then remove what `shape` has no more."""
        leaving = shape.superfluous(instance.members)
        row = self._row(instance, kind, parameters, adds=bool(wanted), shape=shape)
        if wanted:
            row.then_removes = bool(leaving)  # the conductor begins that
            return self._add(instance, row, wanted)
        changes = self._lifecycle.changes
        return self._change(instance, row, [changes.removal(each.deployment) for each in leaving])

    def terminate(self, instance: Instance, *, graceful: bool) -> UUID:
        told = {"terminationType": "GRACEFUL" if graceful else "FORCEFUL"}
        row = self._row(instance, "TERMINATE", told, adds=False)
        changes = self._lifecycle.changes
        removals = [
            changes.removal(member.deployment, graceful=graceful) for member in instance.members
        ]
        return self._change(instance, row, removals)

    def operate(self, instance: Instance, change_to: Literal["STARTED", "STOPPED"]) -> UUID:
        row = self._row(instance, "OPERATE", {"changeStateTo": change_to}, adds=False)
        changes = self._lifecycle.changes
        operations = [
            changes.operating(member.deployment, change_to) for member in instance.members
        ]
        return self._change(instance, row, operations)

    def heal(self, instance: Instance, request: HealRequest) -> UUID:
        told = {"additionalParams": request.model_dump(mode="json")}
        row = self._row(instance, "HEAL", told, adds=False, on_failure=request.on_failure)
        changes = self._lifecycle.changes
        healings = [changes.healing(member.deployment, request) for member in instance.members]
        return self._change(instance, row, healings)

    # --- inside

    def _add(
        self,
        instance: Instance,
        row: OccurrenceRow,
        wanted: Sequence[tuple[Slot, DeploymentRequest]],
    ) -> UUID:
        if not wanted:
            return self._nothing_to_do(instance, row)
        row.on_failure = wanted[0][1].on_failure.value
        prepared: list[Prepared] = [
            self._lifecycle.prepare(
                request.model_copy(update={"name": member_name(instance, slot)})
            )
            for slot, request in wanted
        ]
        instance_id = instance.row.vnf_instance_id

        def within(session: Session) -> None:
            self._instances.claim(session, instance)
            session.add_all(
                InstantiationRow(
                    deployment_id=each.deployment_id,
                    vnf_instance_id=instance_id,
                    vdu_id=slot.vdu_id,
                    number=slot.number,
                )
                for (slot, _), each in zip(wanted, prepared, strict=True)
            )
            ties = [(each.operation_id, each.deployment_id) for each in prepared]
            self._occurrences.record(session, row, ties)

        occurrence_id = row.occurrence_id
        self._lifecycle.deploy_all(prepared, within)
        return occurrence_id

    def _change(self, instance: Instance, row: OccurrenceRow, changes: Sequence[Change]) -> UUID:
        if not changes:
            return self._nothing_to_do(instance, row)
        occurrence_id = row.occurrence_id

        def within(session: Session) -> None:
            self._instances.claim(session, instance)
            ties = [(each.operation_id, each.row.deployment_id) for each in changes]
            self._occurrences.record(session, row, ties)

        self._lifecycle.changes.begin(changes, within=within)
        return occurrence_id

    def _nothing_to_do(self, instance: Instance, row: OccurrenceRow) -> UUID:
        """It is as it was asked to be: the occurrence is COMPLETED at once."""
        occurrence_id = row.occurrence_id
        with writing(self._engine) as session:
            self._instances.claim(session, instance)
            self._occurrences.record(session, row, [])
            self._occurrences.complete(session, row)
        return occurrence_id

    def _row(
        self,
        instance: Instance,
        kind: str,
        parameters: dict[str, Any],
        *,
        adds: bool,
        shape: Shape | None = None,
        on_failure: OnFailure = OnFailure.ROLLBACK,
    ) -> OccurrenceRow:
        now = self._clock.now()
        return OccurrenceRow(
            occurrence_id=uuid4(),
            vnf_instance_id=instance.row.vnf_instance_id,
            kind=kind,
            adds=adds,
            then_removes=False,
            state=OperationState.STARTING.value,
            course=Course.FORWARD.value,
            tries=1,
            cancel_requested=False,
            on_failure=on_failure.value,
            parameters=parameters,
            target=None if shape is None else shape.stored(),
            created_at=now,
            entered_at=now,
        )


def member_name(instance: Instance, slot: Slot) -> str | None:
    """By the instance's name and its place in it; none where that makes no name of a service."""
    parts = (instance.row.name, slot.vdu_id, str(slot.number))
    name = "-".join(_NO_SERVICE_NAME.sub("-", part.lower()).strip("-") for part in parts)
    return name if instance.row.name and len(name) <= _NAME_MAX and name[0].isalnum() else None

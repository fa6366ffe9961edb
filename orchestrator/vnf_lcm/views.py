"""Deployments, operations and transfers as `/api/v1` tells them."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from orchestrator.store.tables import DeploymentRow, OperationRow, StepRow
from orchestrator.vnf_lcm.holding import left_behind
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentView, OperationView, StepView, TransferView
from orchestrator.vnf_lcm.states import (
    DEPLOYMENT_ACTIONS,
    DeploymentState,
    OperationState,
    allowed_actions,
)
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.journal import OperationJournal

_NOT_UNDONE = (OperationState.FAILED_TEMP, OperationState.FAILED, OperationState.ROLLING_BACK)


class LifecycleViews:
    """Thread-safe; reads only."""

    def __init__(
        self,
        records: LcmRecords,
        journal: OperationJournal,
        sighting: Callable[[DeploymentRow], Sighting],
    ) -> None:
        self._records = records
        self._journal = journal
        self._sighting = sighting

    def deployment(self, deployment_id: UUID) -> DeploymentView:
        project = self._records.project_of(deployment_id)
        return self._deployment(self._records.deployment(deployment_id), project)

    def deployments(self) -> list[DeploymentView]:
        rows = self._records.deployments()
        projects = self._records.projects_of([row.deployment_id for row in rows])
        return [self._deployment(row, projects[row.deployment_id]) for row in rows]

    def operation(self, operation_id: UUID) -> OperationView:
        return self._operation(self._journal.get(operation_id))

    def operations(self, limit: int) -> list[OperationView]:
        return [self._operation(row) for row in self._journal.recent(limit)]

    def transfers(self, limit: int) -> list[TransferView]:
        return [
            TransferView(
                transfer_id=row.transfer_id,
                operation_id=row.operation_id,
                data_centre=row.data_centre,
                link=row.link,
                key_id=row.key_id,
                emulated_key=row.emulated_key,
                cipher=row.cipher,
                image_digest=row.image_digest.hex(),
                image_bytes=row.image_size,
                bytes_sent=row.bytes_sent,
                bytes_per_s=row.rate_bytes_per_s,
                attempts=self._records.attempts(row.transfer_id),
                receipt_verified=row.receipt is not None,
                created_at=row.created_at,
            )
            for row in self._records.transfers(limit)
        ]

    def _deployment(self, row: DeploymentRow, project: str) -> DeploymentView:
        operations = self._journal.of_deployment(row.deployment_id)
        seen = self._sighting(row)
        return DeploymentView(
            deployment_id=row.deployment_id,
            name=row.name,
            project=project,
            data_centre=row.data_centre,
            image_digest=row.image_digest.hex(),
            cipher=row.cipher,
            key_mode=row.key_mode,
            state=row.state,
            allowed_actions=list(DEPLOYMENT_ACTIONS.get(DeploymentState(row.state), ())),
            instance=row.instance,
            vim_state=None if seen.instance is None else seen.instance.state.value,
            vim_seen_at=seen.seen_at,
            drift=seen.drift,
            created_at=row.created_at,
            operation_id=operations[-1].operation_id,
        )

    def _operation(self, row: OperationRow) -> OperationView:
        transfer = self._records.transfer(row.transfer_id)
        steps = self._journal.steps(row.operation_id)
        return OperationView(
            operation_id=row.operation_id,
            deployment_id=row.deployment_id,
            kind=row.kind,
            state=row.state,
            on_failure=row.on_failure,
            tries=row.tries,
            cancel_requested=row.cancel_requested,
            allowed_actions=list(allowed_actions(row.state)),
            left_behind=left_behind(steps) if row.state in _NOT_UNDONE else [],
            transfer_id=row.transfer_id,
            created_at=row.created_at,
            ended_at=row.ended_at,
            wait_until=row.wait_until,
            bytes_sent=transfer.bytes_sent if transfer else 0,
            bytes_total=transfer.image_size if transfer else 0,
            bytes_per_s=transfer.rate_bytes_per_s if transfer else None,
            steps=[_step(step) for step in steps],
            error=row.error,
        )


def _step(step: StepRow) -> StepView:
    took = step.ended_at - step.started_at if step.started_at and step.ended_at else None
    return StepView(
        name=step.name,
        state=step.state,
        runs=step.runs,
        started_at=step.started_at,
        seconds=None if took is None else took.total_seconds(),
        detail=step.detail or {},
        error=step.error,
    )

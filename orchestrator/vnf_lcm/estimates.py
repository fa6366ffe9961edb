"""How long a deployment takes, from what was measured at that data centre before."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from orchestrator.store.tables import StepRow
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import OperationKind, OperationState
from orchestrator.workflow.journal import OperationJournal

_LOOKED_AT = 30
_STREAMED = frozenset({"stream", "place"})
"""What these steps take grows with the image; the others take as long as they did before."""


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds, without any wait for keys; None where nothing was measured."""

    transfer_s: float | None
    steps_s: float | None
    """All steps but stream and place."""
    measured_transfers: int
    measured_deployments: int


class TimeEstimates:
    """Thread-safe; reads only. Who asks is told of what his projects did alone."""

    def __init__(self, records: LcmRecords, journal: OperationJournal) -> None:
        self._records = records
        self._journal = journal

    def of(self, data_centre: str, image_bytes: int) -> TimeEstimate:
        """By the medians of the newest transfers and deployments there."""
        rates_bytes_per_s = [
            row.rate_bytes_per_s
            for row in self._records.transfers(_LOOKED_AT)
            if row.data_centre == data_centre and row.rate_bytes_per_s
        ]
        took_s = self._deployments_s(data_centre)
        return TimeEstimate(
            image_bytes / median(rates_bytes_per_s) if rates_bytes_per_s else None,
            median(took_s) if took_s else None,
            len(rates_bytes_per_s),
            len(took_s),
        )

    def _deployments_s(self, data_centre: str) -> list[float]:
        there = {
            row.deployment_id
            for row in self._records.deployments()
            if row.data_centre == data_centre
        }
        return [
            sum(map(_seconds, self._journal.steps(row.operation_id)))
            for row in self._journal.recent(_LOOKED_AT)
            if row.kind == OperationKind.INSTANTIATE
            and row.state == OperationState.COMPLETED
            and row.deployment_id in there
        ]


def _seconds(step: StepRow) -> float:
    if step.name in _STREAMED or step.started_at is None or step.ended_at is None:
        return 0.0
    return (step.ended_at - step.started_at).total_seconds()

"""An instance as its data centre says it is at this moment, and its console."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError
from nfv_stack.contract.schemas import InstanceView
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import UnknownInstanceError
from orchestrator.vnf_lcm.records import LcmRecords

Answer = TypeVar("Answer")


class Instances:
    """Thread-safe; asks the data centre each time. Raises UnknownInstanceError, SlaveError."""

    def __init__(self, records: LcmRecords, data_centres: DataCentres) -> None:
        self._records = records
        self._data_centres = data_centres

    def view(self, deployment_id: UUID) -> InstanceView:
        return self._ask(deployment_id, lambda slave: slave.instance(deployment_id))

    def console(self, deployment_id: UUID, lines: int) -> str:
        """The last lines of its console or log."""
        return self._ask(
            deployment_id, lambda slave: slave.instance_log(deployment_id, lines=lines).text
        )

    def _ask(self, deployment_id: UUID, question: Callable[[SlaveClient], Answer]) -> Answer:
        row = self._records.deployment(deployment_id)
        try:
            return question(self._data_centres.named(row.data_centre).slave)
        except SlaveRefusedError as error:
            if error.problem.slug != UnknownInstanceError.slug:
                raise
            raise UnknownInstanceError(
                f"{row.data_centre} has no instance of {row.name}, which is {row.state}.",
                next_step="If it should run, heal the deployment: `qnfv vnf heal`.",
                state=row.state,
            ) from error

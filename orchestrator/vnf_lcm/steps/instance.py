"""Steps *boot*, *acknowledge* and *remove*: the instance and the end of its key and circuit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from nfv_stack.contract.errors import SlaveRefusedError
from nfv_stack.contract.schemas import InstanceRequest
from orchestrator.network.circuits import TransferCircuits
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.steps.transfer import TransferEnds
from orchestrator.workflow.cancellation import Cancellations


class BootStep:
    """The instance runs and is healthy. It has the deployment's id."""

    name = "boot"

    def __init__(
        self, ends: TransferEnds, cancellations: Cancellations, *, boot_timeout_s: float
    ) -> None:
        self._ends = ends
        self._cancellations = cancellations
        self._boot_timeout_s = boot_timeout_s

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        deployment = work.deployment
        slave = self._ends.slave(work)
        request = InstanceRequest(
            transfer_id=work.transfer_id,
            name=deployment.name,
            memory_mib=deployment.memory_mib,
            cpus=deployment.cpus,
            boot_timeout_s=self._boot_timeout_s,
        )
        order = self._ends.records.order_of(operation_id)
        # An instance that is removed while it starts is not waited for any longer.
        with self._cancellations.ending(
            operation_id, lambda: slave.remove_instance(deployment.deployment_id, order=order)
        ):
            view = slave.boot(deployment.deployment_id, request, order=order)
        instance = view.model_dump(mode="json")
        self._ends.records.set_instance(deployment.deployment_id, instance)
        return {
            "instance_id": str(view.instance_id),
            "vim": view.vim,
            "vim_instance_id": view.vim_instance_id,
            "end_points": instance["end_points"],
        }

    def undo(self, operation_id: UUID) -> None:
        deployment = self._ends.records.deployment_of(operation_id)
        order = self._ends.records.order_of(operation_id)
        self._ends.slave_at(deployment).remove_instance(deployment.deployment_id, order=order)


class AcknowledgeStep:
    """HTTP 200 from the data centre; both ends erase the key, the circuit is released."""

    name = "acknowledge"

    def __init__(self, ends: TransferEnds, circuits: TransferCircuits) -> None:
        self._ends = ends
        self._circuits = circuits

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        view = self._ends.slave(work).acknowledge(row.transfer_id)
        self._ends.cipher(row).consume(row)
        self._circuits.release(operation_id)
        return {"data_centre": view.state.value, "http_status": 200, "key": "erased at both ends"}

    def undo(self, operation_id: UUID) -> None:
        """An erased key stays erased; the other steps take the rest away."""


class RemoveStep:
    """Remove the instance, and with it what only it needed."""

    name = "remove"

    def __init__(self, records: LcmRecords, ends: TransferEnds) -> None:
        self._records = records
        self._ends = ends

    def do(self, operation_id: UUID) -> dict[str, Any]:
        deployment = self._records.deployment_of(operation_id)
        order = self._ends.records.order_of(operation_id)
        try:
            self._ends.slave_at(deployment).remove_instance(deployment.deployment_id, order=order)
        except SlaveRefusedError as error:
            if error.problem.slug != "unknown-instance":
                raise
        for row in self._records.transfers_left_by(deployment.deployment_id):
            self._ends.give_up(row, deployment, "its deployment is removed")
        return {"instance_id": str(deployment.deployment_id)}

    def undo(self, operation_id: UUID) -> None:
        """What was removed stays removed."""

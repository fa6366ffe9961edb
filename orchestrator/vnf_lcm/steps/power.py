"""Steps *stop*, *start* and *recreate*: what is done with an instance that there was before."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from nfv_stack.contract.schemas import InstanceView, StartRequest
from orchestrator.vnf_lcm.steps.transfer import TransferEnds


class StopStep:
    """The instance is stopped and kept."""

    name = "stop"

    def __init__(self, ends: TransferEnds) -> None:
        self._ends = ends

    def do(self, operation_id: UUID) -> dict[str, Any]:
        deployment = self._ends.records.deployment_of(operation_id)
        view = self._ends.slave_at(deployment).stop_instance(
            deployment.deployment_id, order=self._ends.records.order_of(operation_id)
        )
        return _noted(self._ends, view)

    def undo(self, operation_id: UUID) -> None:
        """Whether it was stopped is what the VIM says; nobody is surprised by a second start."""


class StartStep:
    """The instance runs again and is healthy."""

    name = "start"

    def __init__(self, ends: TransferEnds, *, boot_timeout_s: float) -> None:
        self._ends = ends
        self._request = StartRequest(boot_timeout_s=boot_timeout_s)

    def do(self, operation_id: UUID) -> dict[str, Any]:
        deployment = self._ends.records.deployment_of(operation_id)
        slave = self._ends.slave_at(deployment)
        order = self._ends.records.order_of(operation_id)
        view = slave.start_instance(deployment.deployment_id, self._request, order=order)
        return _noted(self._ends, view)

    def undo(self, operation_id: UUID) -> None:
        """One that did not become healthy is left as it is, to be looked at."""


class RecreateStep:
    """The instance is made anew from the image that the data centre has."""

    name = "recreate"

    def __init__(self, ends: TransferEnds, *, boot_timeout_s: float) -> None:
        self._ends = ends
        self._request = StartRequest(boot_timeout_s=boot_timeout_s)

    def do(self, operation_id: UUID) -> dict[str, Any]:
        deployment = self._ends.records.deployment_of(operation_id)
        slave = self._ends.slave_at(deployment)
        order = self._ends.records.order_of(operation_id)
        view = slave.recreate_instance(deployment.deployment_id, self._request, order=order)
        return _noted(self._ends, view)

    def undo(self, operation_id: UUID) -> None:
        """The instance that there was is gone; what there is now can be healed again."""


def _noted(ends: TransferEnds, view: InstanceView) -> dict[str, Any]:
    instance = view.model_dump(mode="json")
    ends.records.set_instance(view.instance_id, instance)
    return {
        "instance_id": str(view.instance_id),
        "state": view.state.value,
        "vim": view.vim,
        "vim_instance_id": view.vim_instance_id,
        "end_points": instance["end_points"],
    }

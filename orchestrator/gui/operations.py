"""`/operations` and `/operations/{id}`: every step, and what can be decided about it."""

from __future__ import annotations

from functools import cached_property
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.schemas import OperationView, StepView
from orchestrator.vnf_lcm.states import AT_REST, OPERATION_MEANING, OperationState, StepState

_LISTED = 50
_QUIET = (StepState.PENDING, StepState.DONE, StepState.UNDONE)

ACTION_WORDS: dict[str, tuple[str, str]] = {
    "retry": ("Retry", "Try it again? A transfer that did not arrive takes a new key."),
    "rollback": ("Roll back", "Undo what this operation kept?"),
    "fail": ("Give up", "Give this operation up as it is? What is left of it goes by a removal."),
    "cancel": ("Cancel", "End this operation now?"),
}
"""What a button says, and what is asked before."""


class Operations:
    """Each part is worked out when the page asks for it."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    @cached_property
    def operations(self) -> list[OperationView]:
        """Newest first."""
        return self._rooms.lifecycle.operations(_LISTED)

    @staticmethod
    def step_of(operation: OperationView) -> StepView | None:
        """The step that runs, is being undone, or failed."""
        at_work = [step for step in operation.steps if step.state not in _QUIET]
        return at_work[-1] if at_work else None

    @cached_property
    def deployments(self) -> dict[UUID, DeploymentRow]:
        return {row.deployment_id: row for row in self._rooms.records.deployments()}


class Operation:
    """One operation."""

    actions = ACTION_WORDS

    def __init__(self, rooms: Rooms, operation_id: UUID) -> None:
        """Raises UnknownOperationError."""
        self._rooms = rooms
        self.operation = rooms.lifecycle.operation(operation_id)

    @cached_property
    def deployment(self) -> DeploymentRow:
        return self._rooms.records.deployment(self.operation.deployment_id)

    @cached_property
    def image(self) -> ImageRow | None:
        """None where the catalogue has it no more."""
        return self._rooms.catalogue.find(self.deployment.image_digest)

    @property
    def meaning(self) -> str:
        return OPERATION_MEANING[OperationState(self.operation.state)]

    @property
    def goes_on(self) -> bool:
        return self.operation.state not in AT_REST

    @property
    def streams(self) -> bool:
        """Whether bytes are on their way just now."""
        stream = next((step for step in self.operation.steps if step.name == "stream"), None)
        return self.goes_on and stream is not None and stream.state == "RUNNING"

    @property
    def left_s(self) -> float | None:
        """Until the last byte, at the rate of this attempt."""
        operation = self.operation
        if not operation.bytes_per_s:
            return None
        return (operation.bytes_total - operation.bytes_sent) / operation.bytes_per_s


def operations_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/operations")
    def operations(request: Request) -> HTMLResponse:
        return pages.answer(request, "operations.html", Operations(rooms))

    @router.get("/operations/{operation_id}")
    def operation(request: Request, operation_id: UUID) -> HTMLResponse:
        return pages.answer(request, "operation.html", Operation(rooms, operation_id))

    return router

"""`/deployments` and `/deployments/{id}`: instances as the VIM says they are."""

from __future__ import annotations

from functools import cached_property
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from nfv_stack.contract.errors import SlaveError
from nfv_stack.contract.schemas import InstanceView
from orchestrator.errors import UnknownInstanceError
from orchestrator.gui.audit import CustodyLink, custody_of
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.instances import Instances
from orchestrator.vnf_lcm.schemas import DeploymentView, OperationView
from orchestrator.vnf_lcm.states import DEPLOYMENT_MEANING, DeploymentState
from problem_details import ProblemError

_LISTED = 100
_CONSOLE_LINES = 200

ACTION_WORDS: dict[str, tuple[str, str, str]] = {
    "start": ("Start", "", "POST {0}/operate"),
    "stop": ("Stop", "Stop this instance? It is kept, with what it wrote.", "POST {0}/operate"),
    "heal": ("Heal", "Make the instance anew? What it wrote is lost.", "POST {0}/heal"),
    "remove": ("Remove", "Remove the instance and its image from the data centre?", "DELETE {0}"),
}
"""What a button says, what is asked before, and what is sent."""
_CHANGE_TO = {"start": "STARTED", "stop": "STOPPED"}


class Deployments:
    """Each part is worked out when the page asks for it."""

    def __init__(self, rooms: Rooms, *, with_gone: bool) -> None:
        self._rooms = rooms
        self.with_gone = with_gone

    @cached_property
    def _rows(self) -> list[DeploymentRow]:
        return self._rooms.records.deployments()

    @cached_property
    def deployments(self) -> list[DeploymentView]:
        """Newest first, as many as people look through."""
        wanted = [row for row in self._rows if self.with_gone or not _is_gone(row)]
        shown = wanted[:_LISTED]
        return [self._rooms.lifecycle.deployment(row.deployment_id) for row in shown]

    @property
    def gone(self) -> int:
        return sum(_is_gone(row) for row in self._rows)

    @property
    def unlisted(self) -> int:
        """How many older ones are not shown."""
        there = len(self._rows) if self.with_gone else len(self._rows) - self.gone
        return max(0, there - _LISTED)

    @cached_property
    def images(self) -> dict[str, ImageRow]:
        return {row.digest.hex(): row for row in self._rooms.catalogue.all()}


def _is_gone(row: DeploymentRow) -> bool:
    return row.state == DeploymentState.REMOVED


class Deployment:
    """One deployment. What the data centre says is asked only where the page shows it."""

    actions = ACTION_WORDS
    change_to = _CHANGE_TO

    def __init__(self, rooms: Rooms, deployment_id: UUID, *, asked_block: str | None) -> None:
        """Raises UnknownDeploymentError."""
        self._rooms = rooms
        self._instances = Instances(rooms.records, rooms.data_centres)
        self.deployment = rooms.lifecycle.deployment(deployment_id)
        self.is_asked = asked_block is not None
        """A whole page does not wait for the data centre: its blocks ask at once."""

    @property
    def shown_actions(self) -> list[str]:
        """Those allowed that would change something, for all that is known."""
        if self.deployment.drift:
            return [action for action in self.deployment.allowed_actions if action in ACTION_WORDS]
        done = {DeploymentState.RUNNING: "start", DeploymentState.STOPPED: "stop"}
        idle = done.get(DeploymentState(self.deployment.state))
        return [
            action
            for action in self.deployment.allowed_actions
            if action in ACTION_WORDS and action != idle
        ]

    @property
    def meaning(self) -> str:
        return DEPLOYMENT_MEANING[DeploymentState(self.deployment.state)]

    @cached_property
    def image(self) -> ImageRow | None:
        """None where the catalogue has it no more."""
        return self._rooms.catalogue.find(bytes.fromhex(self.deployment.image_digest))

    @cached_property
    def operations(self) -> list[OperationView]:
        """Newest first."""
        rows = self._rooms.journal.of_deployment(self.deployment.deployment_id)
        newest = list(reversed(rows))[:_LISTED]
        return [self._rooms.lifecycle.operation(row.operation_id) for row in newest]

    @cached_property
    def has_instance(self) -> bool:
        """Whether there should be one."""
        is_there = self.deployment.instance is not None
        return is_there and self.deployment.state != DeploymentState.REMOVED

    @cached_property
    def instance(self) -> InstanceView | ProblemError:
        """As its VIM says now, or why nobody knows."""
        try:
            return self._instances.view(self.deployment.deployment_id)
        except (UnknownInstanceError, SlaveError) as error:
            return error

    @property
    def instance_view(self) -> InstanceView | None:
        return self.instance if isinstance(self.instance, InstanceView) else None

    @property
    def instance_error(self) -> ProblemError | None:
        return self.instance if isinstance(self.instance, ProblemError) else None

    @cached_property
    def console(self) -> str | ProblemError:
        try:
            return self._instances.console(self.deployment.deployment_id, _CONSOLE_LINES)
        except (UnknownInstanceError, SlaveError) as error:
            return error

    @property
    def console_text(self) -> str | None:
        return self.console if isinstance(self.console, str) else None

    @property
    def console_error(self) -> ProblemError | None:
        return self.console if isinstance(self.console, ProblemError) else None

    @cached_property
    def custody(self) -> list[CustodyLink]:
        return custody_of(self._rooms.audit, str(self.deployment.deployment_id))


def deployments_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/deployments")
    def deployments(request: Request, all: bool = False) -> HTMLResponse:
        return pages.answer(request, "deployments.html", Deployments(rooms, with_gone=all))

    @router.get("/deployments/{deployment_id}")
    def deployment(request: Request, deployment_id: UUID) -> HTMLResponse:
        block = request.headers.get("hx-target")
        view = Deployment(rooms, deployment_id, asked_block=block)
        return pages.answer(request, "deployment.html", view)

    return router

"""`/deploy`: choose, see what it would take, then deploy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from orchestrator.gui.own_projects import OwnProjects, own_projects
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.statuses import problem_of
from orchestrator.store.tables import ImageRow
from orchestrator.vnf_lcm.schemas import DeploymentRequest, PlanView
from problem_details import Problem, ProblemError

_WAITS: tuple[tuple[str, str], ...] = (
    ("0", "Do not wait: refuse if there is no key"),
    ("600", "Wait up to 10 minutes"),
    ("3600", "Wait up to 1 hour"),
    ("86400", "Wait up to 1 day"),
)
_FIELDS = ("image", "data_centre", "name", "cipher", "key_mode", "wait_s", "memory_mib", "cpus")


class Deploy:
    """The choices, and the plan for those made so far."""

    waits = _WAITS

    def __init__(self, rooms: Rooms, chosen: Mapping[str, str]) -> None:
        self._rooms = rooms
        self.chosen = {name: chosen.get(name, "") for name in _FIELDS}
        self.deployment_id = uuid4()
        self.pad_limit_bytes = rooms.settings.pad_limit_bytes

    @cached_property
    def projects(self) -> OwnProjects:
        return own_projects(self._rooms)

    @cached_property
    def images(self) -> list[ImageRow]:
        return self._rooms.catalogue.all()

    @cached_property
    def data_centres(self) -> list[tuple[str, int]]:
        """Names, each with its level of keys."""
        return [
            (data_centre.name, self._rooms.keys.level(data_centre.link))
            for data_centre in self._rooms.data_centres.all()
        ]

    @property
    def is_chosen(self) -> bool:
        return bool(self.chosen["image"] and self.chosen["data_centre"])

    @cached_property
    def planned(self) -> PlanView | Problem:
        """What it would take, or what makes it impossible."""
        wish = {name: value for name, value in self.chosen.items() if value}
        try:
            return self._rooms.lifecycle.plan(DeploymentRequest.model_validate(wish))
        except ValidationError as error:
            return Problem(
                title="These choices do not fit",
                status=422,
                detail="; ".join(str(fault["msg"]) for fault in error.errors()),
                next_step="Choose otherwise.",
            )
        except ProblemError as error:
            return problem_of(error)

    @property
    def plan(self) -> PlanView | None:
        return self.planned if isinstance(self.planned, PlanView) else None

    @property
    def problem(self) -> Problem | None:
        return self.planned if isinstance(self.planned, Problem) else None

    @property
    def waits_for_key(self) -> bool:
        return float(self.chosen["wait_s"] or 0) > 0


def deploy_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/deploy")
    def deploy(request: Request) -> HTMLResponse:
        return pages.answer(request, "deploy.html", Deploy(rooms, request.query_params))

    return router

"""`/images`: the catalogue, who uses what, uploads, and VNF packages."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.accounts.identity import asking
from orchestrator.gui.own_projects import OwnProjects, own_projects
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.uploads.tables import UploadRow
from orchestrator.vnf_lcm.states import DeploymentState

_GONE = (DeploymentState.REMOVED, DeploymentState.FAILED)


@dataclass(frozen=True)
class ListedImage:
    row: ImageRow
    users: list[DeploymentRow]
    """Deployments that need it."""
    projects: list[str]
    """Those of who asks that own it, where he has several."""


@dataclass(frozen=True)
class Unfinished:
    """An upload that waits for the rest of its bytes."""

    row: UploadRow
    offset: int


class Images:
    """Each part is worked out when the page asks for it."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.max_image_bytes = rooms.settings.max_image_bytes

    @cached_property
    def projects(self) -> OwnProjects:
        return own_projects(self._rooms)

    @cached_property
    def images(self) -> list[ListedImage]:
        """Newest first."""
        users: dict[bytes, list[DeploymentRow]] = defaultdict(list)
        for deployment in self._rooms.records.deployments():
            if deployment.state not in _GONE:
                users[deployment.image_digest].append(deployment)
        catalogue = self._rooms.catalogue
        rows, is_choice = catalogue.all(), self.projects.is_choice
        projects = catalogue.owners_of(row.digest for row in rows) if is_choice else {}
        return [ListedImage(row, users[row.digest], projects.get(row.digest, [])) for row in rows]

    @cached_property
    def packages(self) -> list[VnfPackageRow]:
        """Uploaded VNF packages, newest first."""
        return self._rooms.package_store.all()

    @cached_property
    def unfinished(self) -> list[Unfinished]:
        """The asker's own."""
        who = asking()
        rows = self._rooms.uploads.all(who.account) if who else []
        return [Unfinished(row, self._rooms.uploads.offset(row)) for row in rows]


def images_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/images")
    def images(request: Request) -> HTMLResponse:
        return pages.answer(request, "images.html", Images(rooms))

    return router

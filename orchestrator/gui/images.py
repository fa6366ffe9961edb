"""`/images`: the catalogue, who uses what, uploads, and VNF packages."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.accounts.identity import asking
from orchestrator.gui.own_projects import OwnProjects, own_projects
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.sol003.onboarding.states import OnboardingState
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.uploads.tables import UploadRow
from orchestrator.vnf_lcm.states import DeploymentState

_LOOKS = {
    OnboardingState.CREATED: "off",
    OnboardingState.UPLOADING: "busy",
    OnboardingState.PROCESSING: "busy",
    OnboardingState.ONBOARDED: "ok",
}
_GONE = (DeploymentState.REMOVED, DeploymentState.FAILED)


@dataclass(frozen=True)
class ListedImage:
    row: ImageRow
    users: list[DeploymentRow]
    """Deployments that need it."""
    projects: list[str]
    """Those of who asks that own it, where he has several."""


@dataclass(frozen=True)
class PackageUser:
    """A VNF instance of a package."""

    name: str
    deployment_id: UUID | None
    """None while it is not instantiated."""


@dataclass(frozen=True)
class ListedPackage:
    row: VnfPackageRow
    users: list[PackageUser]
    images: list[ImageRow]
    """Of its VDUs."""

    @property
    def title(self) -> str:
        """What people call it."""
        if self.row.vnfd is not None:
            return f"{self.row.vnfd['product_name']} {self.row.vnfd['software_version']}".strip()
        return str(self.row.user_data.get("name") or "")

    @property
    def can_be_sent(self) -> bool:
        """Whether it waits for its content."""
        return self.row.onboarding_state == OnboardingState.CREATED

    @property
    def look(self) -> str:
        """Of its onboarding state."""
        if self.row.failure is not None and self.can_be_sent:
            return "bad"
        return _LOOKS[OnboardingState(self.row.onboarding_state)]


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
        for deployment in self._deployments:
            if deployment.state not in _GONE:
                users[deployment.image_digest].append(deployment)
        catalogue = self._rooms.catalogue
        rows, is_choice = catalogue.all(), self.projects.is_choice
        projects = catalogue.owners_of(row.digest for row in rows) if is_choice else {}
        return [ListedImage(row, users[row.digest], projects.get(row.digest, [])) for row in rows]

    @cached_property
    def _deployments(self) -> list[DeploymentRow]:
        return self._rooms.records.deployments()

    @cached_property
    def packages(self) -> list[ListedPackage]:
        """Uploaded VNF packages, newest first."""
        store = self._rooms.package_store
        rows = store.all()
        instances = store.instances_of(row.package_id for row in rows)
        there = {deployment.deployment_id for deployment in self._deployments}
        images = {image.digest: image for image in self._rooms.catalogue.all()}
        of_vdus = store.images(row.package_id for row in rows)
        return [
            ListedPackage(
                row,
                [
                    PackageUser(
                        each.name or str(each.vnf_instance_id)[:8],
                        each.deployment_id if each.deployment_id in there else None,
                    )
                    for each in instances[row.package_id]
                ],
                [
                    images[digest]
                    for digest in sorted(
                        {its.image_digest for its in of_vdus.get(row.package_id, {}).values()}
                    )
                    if digest in images
                ],
            )
            for row in rows
        ]

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

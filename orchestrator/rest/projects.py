"""`/api/v1/projects`."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.audit.subjects import name_subjects
from orchestrator.projects.projects import Projects


class ProjectRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=63)
    purpose: str = Field(default="", max_length=255)


class ProjectView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    purpose: str
    created_at: datetime
    members: list[str]
    owned: dict[str, int]
    """How much it owns, by kind."""


def projects_router(projects: Projects) -> APIRouter:
    router = APIRouter(prefix="/api/v1/projects", tags=["accounts"])

    @router.get("")
    def all_projects() -> list[ProjectView]:
        """Yours; administrators see all."""
        return [ProjectView.model_validate(one) for one in projects.all()]

    @router.post("", status_code=201)
    def add(wish: ProjectRequest) -> ProjectView:
        name_subjects(project=wish.name)
        return ProjectView.model_validate(projects.add(wish.name, wish.purpose))

    @router.get("/{name}")
    def project(name: str) -> ProjectView:
        return ProjectView.model_validate(projects.named(name))

    @router.delete("/{name}", status_code=204)
    def delete(name: str) -> Response:
        projects.delete(name)
        return Response(status_code=204)

    @router.put("/{name}/members/{user}")
    def grant(name: str, user: str) -> ProjectView:
        return ProjectView.model_validate(projects.grant(name, user))

    @router.delete("/{name}/members/{user}")
    def revoke(name: str, user: str) -> ProjectView:
        return ProjectView.model_validate(projects.revoke(name, user))

    return router

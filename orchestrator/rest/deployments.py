"""`/api/v1/deployments` and `/transfers`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from orchestrator.audit.subjects import name_subjects
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.schemas import (
    DeploymentRequest,
    DeploymentView,
    HealRequest,
    OperateRequest,
    PlanView,
    TransferView,
)


def deployments_router(lifecycle: Lifecycle) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["deployments"])

    @router.post("/deployments/plan")
    def plan(request: DeploymentRequest) -> PlanView:
        return lifecycle.plan(request)

    @router.post("/deployments", status_code=202)
    def deploy(request: DeploymentRequest) -> DeploymentView:
        view = lifecycle.deploy(request)
        _name(view)
        return view

    @router.get("/deployments")
    def deployments() -> list[DeploymentView]:
        return lifecycle.deployments()

    @router.get("/deployments/{deployment_id}")
    def deployment(deployment_id: UUID) -> DeploymentView:
        return lifecycle.deployment(deployment_id)

    @router.post("/deployments/{deployment_id}/operate", status_code=202)
    def operate(deployment_id: UUID, request: OperateRequest) -> DeploymentView:
        """Start or stop the instance."""
        view = lifecycle.operate(deployment_id, request.change_to)
        _name(view)
        return view

    @router.post("/deployments/{deployment_id}/heal", status_code=202)
    def heal(deployment_id: UUID, request: HealRequest) -> DeploymentView:
        """Make the instance anew; an image that the data centre lost is sent again."""
        view = lifecycle.heal(deployment_id, request)
        _name(view)
        return view

    @router.delete("/deployments/{deployment_id}", status_code=202)
    def remove(deployment_id: UUID) -> DeploymentView:
        view = lifecycle.remove(deployment_id)
        _name(view)
        return view

    @router.get("/transfers")
    def transfers(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[TransferView]:
        return lifecycle.transfers(limit)

    return router


def _name(view: DeploymentView) -> None:
    """What the audit calls this deployment."""
    name_subjects(
        deployment=view.deployment_id,
        operation=view.operation_id,
        image=view.image_digest,
        data_centre=view.data_centre,
    )

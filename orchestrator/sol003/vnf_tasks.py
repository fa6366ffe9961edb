"""The tasks of `/vnflcm/v1/vnf_instances/{vnf_instance_id}`."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.sol003 import manners
from orchestrator.sol003.documents import (
    HealVnfRequest,
    InstantiateVnfRequest,
    InstantiationPlan,
    OperateVnfRequest,
    ScaleVnfRequest,
    ScaleVnfToLevelRequest,
    TerminateVnfRequest,
)
from orchestrator.sol003.tasks import VnfTasks

DRY_RUN = {
    "name": "dry_run",
    "in": "query",
    "description": "true: say what it would take, and do nothing (not of the standard)",
    "schema": {"type": "string", "enum": ["true", "false"]},
}


def vnf_tasks_router(tasks: VnfTasks) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnflcm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    one = "/vnflcm/v1/vnf_instances/{vnf_instance_id}"

    @router.post(
        f"{one}/instantiate",
        status_code=202,
        response_class=Response,
        responses={200: {"description": "A dry run: the plan", "model": InstantiationPlan}},
        openapi_extra={"parameters": [DRY_RUN]},
    )
    def instantiate(
        request: Request, vnf_instance_id: UUID, wanted: InstantiateVnfRequest
    ) -> Response:
        """Send the image and boot it; `additionalParams` says where to and how secretly.

        `dry_run=true` says what it would take, and does nothing.
        """
        if manners.is_dry_run(request):
            return JSONResponse(tasks.plan(vnf_instance_id, wanted).json_document())
        return manners.accepted(
            manners.root_of(request), tasks.instantiate(vnf_instance_id, wanted)
        )

    @router.post(
        f"{one}/terminate",
        status_code=202,
        response_class=Response,
    )
    def terminate(request: Request, vnf_instance_id: UUID, wanted: TerminateVnfRequest) -> Response:
        """Take it down; GRACEFUL stops it first."""
        graceful = wanted.termination_type == "GRACEFUL"
        return manners.accepted(
            manners.root_of(request), tasks.terminate(vnf_instance_id, graceful=graceful)
        )

    @router.post(
        f"{one}/operate",
        status_code=202,
        response_class=Response,
    )
    def operate(request: Request, vnf_instance_id: UUID, wanted: OperateVnfRequest) -> Response:
        """Start or stop it."""
        return manners.accepted(
            manners.root_of(request), tasks.operate(vnf_instance_id, wanted.change_state_to)
        )

    @router.post(f"{one}/heal", status_code=202, response_class=Response)
    def heal(request: Request, vnf_instance_id: UUID, wanted: HealVnfRequest) -> Response:
        """Make it anew; an image that the data centre lost is sent again."""
        return manners.accepted(
            manners.root_of(request), tasks.heal(vnf_instance_id, wanted.additional_params)
        )

    @router.post(f"{one}/scale", status_code=202, response_class=Response)
    def scale(request: Request, vnf_instance_id: UUID, wanted: ScaleVnfRequest) -> Response:
        """Add or remove members by steps of a scaling aspect."""
        return manners.accepted(manners.root_of(request), tasks.scale(vnf_instance_id, wanted))

    @router.post(
        f"{one}/scale_to_level",
        status_code=202,
        response_class=Response,
    )
    def scale_to_level(
        request: Request, vnf_instance_id: UUID, wanted: ScaleVnfToLevelRequest
    ) -> Response:
        """Add or remove members up to a level."""
        return manners.accepted(
            manners.root_of(request), tasks.scale_to_level(vnf_instance_id, wanted)
        )

    return router

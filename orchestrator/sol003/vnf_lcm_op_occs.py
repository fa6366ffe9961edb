"""`/vnflcm/v1/vnf_lcm_op_occs`: look at LCM operation occurrences, decide about what failed."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from orchestrator.sol003 import manners
from orchestrator.sol003.documents import CancelMode, VnfLcmOpOcc
from orchestrator.sol003.mapping import Mapping
from orchestrator.sol003.members.actions import OccurrenceActions
from orchestrator.vnf_lcm.states import OperationAction

_DEFAULT = ("operationParams", "error", "resourceChanges", "changedInfo")
"""Left out of lists unless asked for (SOL003, 5.4.12.3.2)."""


def occurrences_router(
    mapping: Mapping, actions: OccurrenceActions, *, page: int = manners.PAGE
) -> APIRouter:
    router = APIRouter(
        tags=["SOL003 vnflcm"], route_class=manners.Sol003Route, responses=manners.PROBLEMS
    )
    base = "/vnflcm/v1"

    @router.get(f"{base}/vnf_lcm_op_occs")
    def occurrences(request: Request) -> JSONResponse:
        return manners.listed(
            request,
            mapping.occurrences(manners.root_of(request)),
            VnfLcmOpOcc,
            default_excluded=_DEFAULT,
            page=page,
        )

    @router.get(f"{base}/vnf_lcm_op_occs/{{occurrence_id}}")
    def occurrence(request: Request, occurrence_id: UUID) -> JSONResponse:
        return manners.one(mapping.occurrence(occurrence_id, manners.root_of(request)))

    @router.post(
        f"{base}/vnf_lcm_op_occs/{{occurrence_id}}/retry", status_code=202, response_class=Response
    )
    def retry(occurrence_id: UUID) -> Response:
        actions.ask(occurrence_id, OperationAction.RETRY)
        return Response(status_code=202)

    @router.post(
        f"{base}/vnf_lcm_op_occs/{{occurrence_id}}/rollback",
        status_code=202,
        response_class=Response,
    )
    def rollback(occurrence_id: UUID) -> Response:
        actions.ask(occurrence_id, OperationAction.ROLLBACK)
        return Response(status_code=202)

    @router.post(f"{base}/vnf_lcm_op_occs/{{occurrence_id}}/fail")
    def fail(request: Request, occurrence_id: UUID) -> JSONResponse:
        actions.ask(occurrence_id, OperationAction.FAIL)
        return manners.one(mapping.occurrence(occurrence_id, manners.root_of(request)))

    @router.post(
        f"{base}/vnf_lcm_op_occs/{{occurrence_id}}/cancel", status_code=202, response_class=Response
    )
    def cancel(occurrence_id: UUID, mode: CancelMode) -> Response:  # noqa: ARG001
        """Either mode ends the step at work; none is cut off half done."""
        actions.ask(occurrence_id, OperationAction.CANCEL)
        return Response(status_code=202)

    return router

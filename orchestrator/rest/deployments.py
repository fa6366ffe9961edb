"""`/api/v1/deployments`, `/operations` and `/transfers`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from orchestrator.audit.subjects import name_subjects
from orchestrator.events.bus import Event, EventBus, OperationChanged
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.schemas import (
    DeploymentRequest,
    DeploymentView,
    OperationView,
    PlanView,
    TransferView,
)
from orchestrator.vnf_lcm.states import ENDED

_HEARTBEAT_S = 10.0
_CALM_S = 0.05


def deployments_router(lifecycle: Lifecycle, bus: EventBus) -> APIRouter:
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

    @router.delete("/deployments/{deployment_id}", status_code=202)
    def remove(deployment_id: UUID) -> DeploymentView:
        view = lifecycle.remove(deployment_id)
        _name(view)
        return view

    @router.get("/operations")
    def operations(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[OperationView]:
        return lifecycle.operations(limit)

    @router.get("/operations/{operation_id}")
    def operation(operation_id: UUID) -> OperationView:
        return lifecycle.operation(operation_id)

    @router.get("/operations/{operation_id}/events")
    async def events(operation_id: UUID) -> StreamingResponse:
        """The operation as server-sent events, each the whole document, until it ended."""
        first = await run_in_threadpool(lifecycle.operation, operation_id)
        return StreamingResponse(
            _follow(lifecycle, bus, first),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

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


async def _follow(lifecycle: Lifecycle, bus: EventBus, view: OperationView) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def note(event: Event) -> None:
        if isinstance(event, OperationChanged) and event.operation_id == view.operation_id:
            loop.call_soon_threadsafe(changed.set)

    unsubscribe = bus.subscribe(note)
    try:
        while True:
            # Cleared before reading, so that no change falls between.
            changed.clear()
            now = await run_in_threadpool(lifecycle.operation, view.operation_id)
            yield f"event: operation\ndata: {json.dumps(now.model_dump(mode='json'))}\n\n"
            if now.state in ENDED:
                return
            # What changes faster than anybody can see is told once.
            await asyncio.sleep(_CALM_S)
            while True:
                try:
                    await asyncio.wait_for(changed.wait(), _HEARTBEAT_S)
                    break
                except TimeoutError:
                    yield ": still here\n\n"
    finally:
        unsubscribe()

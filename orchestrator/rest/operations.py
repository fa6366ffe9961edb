"""`/api/v1/operations`: look, follow, and decide about what failed."""

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
from orchestrator.vnf_lcm.schemas import OperationView
from orchestrator.vnf_lcm.states import AT_REST
from orchestrator.workflow.actions import OperationActions

_HEARTBEAT_S = 10.0
_CALM_S = 0.05


def operations_router(lifecycle: Lifecycle, actions: OperationActions, bus: EventBus) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["operations"])

    @router.get("/operations")
    def operations(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[OperationView]:
        return lifecycle.operations(limit)

    @router.get("/operations/{operation_id}")
    def operation(operation_id: UUID) -> OperationView:
        return lifecycle.operation(operation_id)

    @router.get("/operations/{operation_id}/events")
    async def events(operation_id: UUID) -> StreamingResponse:
        """The operation as server-sent events, each the whole document, until it ended or is
        held."""
        first = await run_in_threadpool(lifecycle.operation, operation_id)
        return StreamingResponse(
            _follow(lifecycle, bus, first),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    def acted(operation_id: UUID) -> OperationView:
        view = lifecycle.operation(operation_id)
        name_subjects(operation=view.operation_id, deployment=view.deployment_id)
        return view

    @router.post("/operations/{operation_id}/retry", status_code=202)
    def retry(operation_id: UUID) -> OperationView:
        """Try a held operation again, under a new key unless the image arrived."""
        actions.retry(operation_id)
        return acted(operation_id)

    @router.post("/operations/{operation_id}/rollback", status_code=202)
    def rollback(operation_id: UUID) -> OperationView:
        """Undo what a held operation kept."""
        actions.rollback(operation_id)
        return acted(operation_id)

    @router.post("/operations/{operation_id}/fail", status_code=202)
    def fail(operation_id: UUID) -> OperationView:
        """Give a held operation up as it is."""
        actions.fail(operation_id)
        return acted(operation_id)

    @router.post("/operations/{operation_id}/cancel", status_code=202)
    def cancel(operation_id: UUID) -> OperationView:
        """End an operation that waits or runs; then its `on_failure` says what becomes of it."""
        actions.cancel(operation_id)
        return acted(operation_id)

    return router


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
            if now.state in AT_REST:
                return
            # What changes faster than anybody can see is told once.
            await asyncio.sleep(_CALM_S)
            try:
                await asyncio.wait_for(changed.wait(), _HEARTBEAT_S)
            except TimeoutError:
                # Then it is read again: a change at another replica may have been told to nobody.
                yield ": still here\n\n"
    finally:
        unsubscribe()

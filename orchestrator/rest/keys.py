"""`/api/v1/keys` and `/api/v1/relays`: pools, quarantine, routes and traces. Never a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from key_management.states import KeyState
from orchestrator.datacentres.registry import DataCentres
from orchestrator.keys.relay import RelayService
from orchestrator.keys.service import KeyService
from orchestrator.keys.trace import KeyTrace, KeyTracer
from orchestrator.schedule.service import ScheduleService


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class PoolView(View):
    link: str
    data_centre: str
    relayed: bool
    """Its keys come over trusted nodes, not from a Bob of its own."""
    emulated: bool
    """Some of its free keys were made without a photon."""
    level_keys: int
    target_keys: int
    capacity_keys: int
    counts: dict[str, int]
    made_keys: int
    keys_expected_in_s: float | None
    why_not: str | None = None
    """Why the last try to relay keys failed."""


class HopPoolView(View):
    """Keys between two trusted nodes, at the end that allocates them."""

    link: str
    from_node: str
    to_node: str
    level_keys: int
    counts: dict[str, int]


class QuarantineView(View):
    turn: UUID
    keys: int
    reason: str
    since: datetime


class KeyCountView(View):
    keys: int


class RouteView(View):
    """One batch of relayed keys."""

    route_id: UUID
    relayed_link: str
    state: str
    nodes: list[str]
    links: list[str]
    key_count: int
    delivered_keys: int
    settled: bool
    started_at: datetime
    ended_at: datetime | None
    detail: str | None


class TracedTurn(View):
    turn_id: UUID
    number: int
    alice: str
    state: str
    secret_key_rate_bps: float | None
    qber: float | None
    started_at: datetime
    ended_at: datetime | None


class HopView(View):
    link: str
    from_node: str
    to_node: str
    pad_blocks: int
    mac_blocks: int
    state: str


class UseView(View):
    transfer_id: UUID
    image_digest: str
    destination: str


class TraceView(View):
    key_id: UUID
    link: str
    state: str
    emulated: bool
    made_at: datetime | None
    turn: TracedTurn | None
    route: RouteView | None
    hops: list[HopView]
    use: UseView | None
    is_others: bool
    """It protects something of another project, which `use` does not tell."""


def keys_router(
    data_centres: DataCentres,
    keys: KeyService,
    schedule: ScheduleService,
    relay: RelayService,
    tracer: KeyTracer,
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["keys"])

    @router.get("/keys")
    def pools() -> list[PoolView]:
        return [_pool_view(dc.link, dc.name, keys, schedule, relay) for dc in data_centres.all()]

    @router.get("/keys/hops")
    def hops() -> list[HopPoolView]:
        views = []
        for hop in relay.origin.hop_links:
            counts = keys.counts(hop.name)
            views.append(
                HopPoolView(
                    link=hop.name,
                    from_node=hop.from_node,
                    to_node=hop.to_node,
                    level_keys=counts[KeyState.AVAILABLE],
                    counts={state.value: count for state, count in counts.items()},
                )
            )
        return views

    @router.get("/keys/{key_id}/trace")
    def trace(key_id: UUID) -> TraceView:
        return _trace_view(tracer.trace(key_id))

    @router.get("/keys/links/{link}/quarantine")
    def quarantined(link: str) -> list[QuarantineView]:
        return [QuarantineView.model_validate(each) for each in keys.quarantined(link)]

    @router.post("/keys/links/{link}/quarantine/{turn}/release")
    def release(link: str, turn: UUID) -> KeyCountView:
        return KeyCountView(keys=keys.release_quarantined(link, turn))

    @router.post("/keys/links/{link}/quarantine/{turn}/burn")
    def burn(link: str, turn: UUID) -> KeyCountView:
        return KeyCountView(keys=keys.burn_quarantined(link, turn))

    @router.get("/relays")
    def relays(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[RouteView]:
        return [RouteView.model_validate(row) for row in relay.origin.routes(limit)]

    return router


def _pool_view(
    link: str,
    data_centre: str,
    keys: KeyService,
    schedule: ScheduleService,
    relay: RelayService,
) -> PoolView:
    counts = keys.counts(link)
    return PoolView(
        link=link,
        data_centre=data_centre,
        relayed=link in relay.links,
        emulated=keys.holds_emulated(link),
        level_keys=counts[KeyState.AVAILABLE],
        target_keys=keys.pool_target_keys,
        capacity_keys=keys.capacity_keys,
        counts={state.value: count for state, count in counts.items()},
        made_keys=sum(counts.values()),
        keys_expected_in_s=schedule.keys_expected_in_s(link),
        why_not=relay.why_not(link),
    )


def _trace_view(trace: KeyTrace) -> TraceView:
    key, use = trace.key, trace.use
    return TraceView(
        key_id=key.key_id,
        link=key.link,
        state=key.state.value,
        emulated=key.emulated,
        made_at=key.made_at,
        turn=TracedTurn.model_validate(trace.turn) if trace.turn is not None else None,
        route=RouteView.model_validate(trace.route) if trace.route is not None else None,
        hops=[HopView.model_validate(hop) for hop in trace.hops],
        use=None
        if use is None
        else UseView(
            transfer_id=use.transfer_id,
            image_digest=use.image_digest.hex(),
            destination=use.destination,
        ),
        is_others=trace.is_others,
    )

"""`/api/v1/schedule`: Alice's turns, past and planned, and orders about them.

`..._in_s` and durations are real seconds; what is said in QKD time has `qkd` in its name.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from orchestrator.schedule.orders import BobOrders, PinKind
from orchestrator.schedule.outlook import PoolOutlook
from orchestrator.schedule.promises import PromiseOutcome
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from qkd_scheduler.policies import KEY_BIT
from qkd_scheduler.policies.forecast import PlannedTurn
from timekeeping import Clock

_HORIZON_QKD_S = 2 * 86_400.0


class TurnView(BaseModel):
    number: int
    turn_id: UUID
    alice: str
    link: str
    state: str
    detail: str
    fault: str | None
    dwell_s: float
    """QKD seconds."""
    secret_key_rate_bps: float | None
    mean_rate_bps: float | None
    qber: float | None
    qber_min: float | None
    qber_mean: float | None
    qber_max: float | None
    blocks: int
    gained_keys: int
    started_at: datetime
    generating_at: datetime | None
    draining_at: datetime | None
    ended_at: datetime | None


class ScheduleView(BaseModel):
    leads: bool
    time_scale: float
    turns: list[TurnView]
    """Newest first; one for each Alice may be under way."""


class PlannedTurnView(BaseModel):
    link: str
    under_way: bool
    starts_at: datetime
    generates_at: datetime
    ends_at: datetime
    starts_in_s: float
    generates_in_s: float
    ends_in_s: float
    qkd_set_up_s: float
    qkd_dwell_s: float
    gained_keys: int


class AlicePlanView(BaseModel):
    alice: str
    turns: list[PlannedTurnView]


class PlanView(BaseModel):
    made_at: datetime
    horizon_s: float
    time_scale: float
    alices: list[AlicePlanView]


class OrdersView(BaseModel):
    pin: PinKind | None
    pinned_at: datetime | None
    pinned_until: datetime | None
    excluded: bool
    excluded_at: datetime | None
    excluded_until: datetime | None
    excluded_why: str
    keys_asked_at: datetime | None


class PoolView(BaseModel):
    link: str
    alice: str
    level_keys: int
    target_keys: int
    capacity_keys: int
    waiting_keys: int
    """What somebody waits for now."""
    promised_keys: int
    demand_bps: float
    """Bits of key in a QKD second."""
    rate_bps: float
    set_up_qkd_s: float
    measured: bool
    """Whether rate and set-up come from past turns; else from the line's physics."""
    next_keys_in_s: float | None
    runs_dry_in_s: float | None
    rests_until: datetime | None
    """His turns failed; he is left alone until then."""
    orders: OrdersView


class PinRequest(BaseModel):
    """`next`: one turn before all others. `hold`: Alice stays until he is unpinned."""

    model_config = ConfigDict(extra="forbid")

    kind: PinKind = PinKind.NEXT
    duration_s: float | None = None
    interrupt: bool = False
    """End the turn that is on: with its keys once it generates, otherwise at once."""


class ExcludeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    duration_s: float | None = None
    why: str = ""


class KeysNowRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    interrupt: bool = False


class KeysNowView(BaseModel):
    link: str
    keys_expected_in_s: float | None


class PromiseView(BaseModel):
    operation_id: UUID
    link: str
    bits: int
    asked_at: datetime
    due_at: datetime
    promised_at: datetime
    ended_at: datetime | None
    outcome: PromiseOutcome | None
    """None while it is open and in time."""


class PromisesView(BaseModel):
    kept_share: float | None
    """Of the promises that were kept or broken; null before there was one."""
    promises: list[PromiseView]


def schedule_router(schedule: ScheduleService, timetable: Timetable, clock: Clock) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["schedule"])

    def orders_of(link: str) -> OrdersView:
        return _orders(schedule.orders_of(link))

    @router.get("/schedule")
    def the_schedule(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> ScheduleView:
        return ScheduleView(
            leads=schedule.leads,
            time_scale=schedule.scale,
            turns=[
                TurnView.model_validate(row, from_attributes=True)
                for row in timetable.recent(limit)
            ],
        )

    @router.get("/schedule/plan")
    def plan(horizon_s: Annotated[float | None, Query(gt=0)] = None) -> PlanView:
        """Without a horizon, the turns of the next two days of QKD time."""
        now = clock.now()
        horizon_s = horizon_s or _HORIZON_QKD_S / schedule.scale
        return PlanView(
            made_at=now,
            horizon_s=horizon_s,
            time_scale=schedule.scale,
            alices=[
                AlicePlanView(
                    alice=alice,
                    turns=[
                        _planned(turn, now, schedule.scale)
                        for turn in ahead.turns
                        if turn.starts_in_s <= horizon_s * schedule.scale
                    ],
                )
                for alice, ahead in schedule.plan(horizon_s).items()
            ],
        )

    @router.get("/schedule/pools")
    def pools() -> list[PoolView]:
        return [_pool(pool, schedule.scale) for pool in schedule.pools()]

    @router.put("/schedule/bobs/{link}/pin")
    def pin(link: str, request: PinRequest | None = None) -> OrdersView:
        wish = request or PinRequest()
        schedule.pin(link, wish.kind, wish.duration_s, interrupt=wish.interrupt)
        return orders_of(link)

    @router.delete("/schedule/bobs/{link}/pin")
    def unpin(link: str) -> OrdersView:
        schedule.unpin(link)
        return orders_of(link)

    @router.put("/schedule/bobs/{link}/exclude")
    def exclude(link: str, request: ExcludeRequest | None = None) -> OrdersView:
        wish = request or ExcludeRequest()
        schedule.exclude(link, wish.duration_s, wish.why)
        return orders_of(link)

    @router.delete("/schedule/bobs/{link}/exclude")
    def include(link: str) -> OrdersView:
        schedule.include(link)
        return orders_of(link)

    @router.post("/schedule/bobs/{link}/keys-now", status_code=202)
    def keys_now(link: str, request: KeysNowRequest | None = None) -> KeysNowView:
        wish = request or KeysNowRequest()
        expected_s = schedule.keys_now(link, interrupt=wish.interrupt)
        return KeysNowView(link=link, keys_expected_in_s=expected_s)

    @router.get("/schedule/promises")
    def promises(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> PromisesView:
        found = schedule.promises(limit)
        return PromisesView(
            kept_share=schedule.kept_share(),
            promises=[PromiseView.model_validate(p, from_attributes=True) for p in found],
        )

    return router


def _planned(turn: PlannedTurn, now: datetime, scale: float) -> PlannedTurnView:
    starts_s, generates_s, ends_s = (
        qkd_s / scale for qkd_s in (turn.starts_in_s, turn.generates_in_s, turn.ends_in_s)
    )
    return PlannedTurnView(
        link=turn.link,
        under_way=turn.under_way,
        starts_at=now + timedelta(seconds=starts_s),
        generates_at=now + timedelta(seconds=generates_s),
        ends_at=now + timedelta(seconds=ends_s),
        starts_in_s=starts_s,
        generates_in_s=generates_s,
        ends_in_s=ends_s,
        qkd_set_up_s=turn.generates_in_s - turn.starts_in_s,
        qkd_dwell_s=turn.ends_in_s - turn.generates_in_s,
        gained_keys=int(turn.gained_bit // KEY_BIT),
    )


def _pool(pool: PoolOutlook, scale: float) -> PoolView:
    def real(qkd_s: float | None) -> float | None:
        return None if qkd_s is None else qkd_s / scale

    return PoolView(
        link=pool.link,
        alice=pool.alice,
        level_keys=pool.level_keys,
        target_keys=pool.target_keys,
        capacity_keys=pool.capacity_keys,
        waiting_keys=pool.waiting_keys,
        promised_keys=sum(-(-deadline.bits // KEY_BIT) for deadline in pool.deadlines),
        demand_bps=pool.demand_bps,
        rate_bps=pool.line.rate_bps,
        set_up_qkd_s=pool.line.set_up_s,
        measured=pool.line.measured,
        next_keys_in_s=real(pool.next_keys_in_s),
        runs_dry_in_s=real(pool.runs_dry_in_s),
        rests_until=pool.rests_until,
        orders=_orders(pool.orders),
    )


def _orders(orders: BobOrders) -> OrdersView:
    return OrdersView.model_validate(orders, from_attributes=True)

"""`/`: what goes on now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.gui.network_map import NetworkMap
from orchestrator.gui.pages import Pages
from orchestrator.gui.phases import PHASES, Phase, phases_of
from orchestrator.gui.pools import Pool, pools_of
from orchestrator.gui.rooms import Rooms
from orchestrator.gui.schedule import FORESEEN_QKD_S
from orchestrator.store.tables import AlarmRow, TurnRow
from orchestrator.vnf_lcm.schemas import DeploymentView, OperationView
from orchestrator.vnf_lcm.states import ENDED
from qkd_scheduler.policies.forecast import PlannedTurn
from sdn_client.ledger import Circuit

_OPERATIONS = 50


@dataclass(frozen=True)
class AliceNow:
    """One Alice: her present turn, if she has one, and the next one that is foreseen."""

    name: str
    turn: TurnRow | None
    phases: list[Phase]
    next: PlannedTurn | None
    next_in_s: float | None

    @property
    def phase(self) -> Phase | None:
        return self.phases[-1] if self.phases else None


@dataclass(frozen=True)
class Running:
    """An operation that has not ended."""

    operation: OperationView
    deployment: DeploymentView | None

    @property
    def step(self) -> str | None:
        """What is done now."""
        return next((s.name for s in self.operation.steps if s.state == "RUNNING"), None)

    @property
    def left_s(self) -> float | None:
        """Until the bytes are over, at the rate of now."""
        rate = self.operation.bytes_per_s
        left = self.operation.bytes_total - self.operation.bytes_sent
        return left / rate if rate and left > 0 else None


class Overview:
    """Each part is worked out when the page asks for it."""

    phase_titles = PHASES

    def __init__(self, rooms: Rooms, network_map: NetworkMap, now: datetime) -> None:
        self._rooms = rooms
        self._map = network_map
        self._now = now

    @cached_property
    def circuits(self) -> list[Circuit]:
        return self._rooms.circuits.circuits()

    @cached_property
    def map(self) -> list[dict[str, Any]]:
        return self._map.elements(self.circuits, self._rooms.driver.chassis_states())

    @cached_property
    def leads(self) -> bool:
        return self._rooms.schedule.leads

    @cached_property
    def alices(self) -> list[AliceNow]:
        schedule = self._rooms.schedule
        present = {turn.alice: turn for turn in self._rooms.timetable.unfinished()}
        ahead = schedule.plan(FORESEEN_QKD_S / schedule.scale)
        return [self._alice(name, present.get(name), ahead[name].turns) for name in schedule.alices]

    def _alice(self, name: str, turn: TurnRow | None, ahead: tuple[PlannedTurn, ...]) -> AliceNow:
        following = next((planned for planned in ahead if not planned.under_way), None)
        return AliceNow(
            name,
            turn,
            phases_of(turn, self._now) if turn is not None else [],
            following,
            following.starts_in_s / self._rooms.schedule.scale if following else None,
        )

    @cached_property
    def pools(self) -> list[Pool]:
        return pools_of(self._rooms)

    @cached_property
    def running(self) -> list[Running]:
        """Newest first."""
        operations = self._rooms.lifecycle.operations(_OPERATIONS)
        deployments = {d.deployment_id: d for d in self._rooms.lifecycle.deployments()}
        return [
            Running(operation, deployments.get(operation.deployment_id))
            for operation in operations
            if operation.state not in ENDED
        ]

    @cached_property
    def alarms(self) -> list[AlarmRow]:
        return self._rooms.schedule.alarms()


def overview_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    network_map = NetworkMap(rooms.topology)

    @router.get("/")
    def overview(request: Request) -> HTMLResponse:
        view = Overview(rooms, network_map, rooms.clock.now())
        return pages.answer(request, "overview.html", view)

    return router

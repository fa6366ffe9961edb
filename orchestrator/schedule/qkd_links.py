"""What the schedule and the optical network know of each QKD link, together."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.network.etsi015 import QkdLink
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from qkd_scheduler.states import TurnState
from sdn_client.circuits import CircuitService
from sdn_client.errors import SdnError
from sdn_client.ledger import Purpose


def qkd_links(
    schedule: ScheduleService,
    timetable: Timetable,
    circuits: CircuitService,
    bob_ends: Mapping[str, str],
) -> list[QkdLink]:
    """One for each pool; `bob_ends` tells each link's quantum end point at Bob."""
    present = {turn.link: TurnState(turn.state) for turn in timetable.unfinished()}
    links = []
    for pool in schedule.pools():
        bob = bob_ends[pool.link]
        recent = timetable.recent_of(pool.link, 8)
        links.append(
            QkdLink(
                pool.link,
                pool.alice,
                bob,
                level_keys=pool.level_keys,
                demand_bps=pool.demand_bps,
                rate_bps=pool.line.rate_bps,
                turn=present.get(pool.link),
                qber=next((turn.qber for turn in recent if turn.qber is not None), None),
                loss_db=_loss_db(circuits, pool.alice, bob),
                excluded=pool.orders.excluded_at is not None,
            )
        )
    return links


def _loss_db(circuits: CircuitService, alice: str, bob: str) -> float | None:
    try:
        return circuits.plan(alice, bob, Purpose.QUANTUM_TURN).loss_db
    except SdnError:
        return None

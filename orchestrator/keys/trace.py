"""Where a key came from and what it was used for: everything but the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from key_management.ledger import KeyLedger, KeyRecord, Message
from key_management.relay.origin import RelayOrigin
from key_management.relay.tables import RelayRouteRow
from nfv_stack.contract.errors import SlaveError
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import UnknownKeyIdError
from orchestrator.schedule.timetable import Timetable
from orchestrator.store.tables import TurnRow


@dataclass(frozen=True)
class HopTrace:
    """One hop of a relayed batch; `state` is what its receiving node says of its part."""

    link: str
    from_node: str
    to_node: str
    pad_blocks: int
    mac_blocks: int
    state: str


@dataclass(frozen=True)
class KeyTrace:
    """`turn` or `route` says how the key was made, `use` what it protects."""

    key: KeyRecord
    turn: TurnRow | None
    route: RelayRouteRow | None
    hops: tuple[HopTrace, ...]
    use: Message | None
    is_others: bool = False
    """It protects something that who asks must not know of; `use` does not tell."""


class KeyTracer:
    """Follows a key through this end's ledger, the timetable and the trusted nodes."""

    def __init__(
        self,
        ledger: KeyLedger,
        timetable: Timetable,
        origin: RelayOrigin,
        data_centres: DataCentres,
        *,
        sees_transfer: Callable[[UUID], bool],
    ) -> None:
        """`sees_transfer`: whether who asks may know of a transfer."""
        self._ledger = ledger
        self._timetable = timetable
        self._origin = origin
        self._data_centres = data_centres
        self._sees_transfer = sees_transfer

    def trace(self, key_id: UUID) -> KeyTrace:
        """Raises UnknownKeyIdError if the centre never held such a key."""
        key = self._ledger.find(key_id)
        if key is None:
            raise UnknownKeyIdError(
                f"The centre never held a key {key_id}.",
                next_step="Take the id from `qnfv op show` or from a transfer.",
            )
        route = self._origin.record(key.turn) if key.turn is not None else None
        turn = self._timetable.find(key.turn) if key.turn is not None and route is None else None
        use = self._ledger.use_of(key.link, key_id)
        is_others = use is not None and not self._sees_transfer(use.transfer_id)
        return KeyTrace(
            key,
            turn,
            route,
            self._hops(route) if route is not None else (),
            None if is_others else use,
            is_others,
        )

    def _hops(self, route: RelayRouteRow) -> tuple[HopTrace, ...]:
        return tuple(
            HopTrace(
                link,
                route.nodes[place],
                route.nodes[place + 1],
                pad_blocks=route.key_count,
                mac_blocks=1,
                state=self._state_at(route.nodes[place + 1], route.route_id),
            )
            for place, link in enumerate(route.links)
        )

    def _state_at(self, node: str, route_id: UUID) -> str:
        try:
            return self._data_centres.named(node).slave.relay_hop(route_id).state
        except SlaveError as error:
            return f"unknown ({error.detail})"

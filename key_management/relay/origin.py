"""The origin of relayed keys: draws them, picks the route, reserves it whole, carries, compares."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Engine, delete, select, update

from database import reading, writing
from key_management.errors import KeyAgreementError, KeyStateError, UnknownKeyError
from key_management.extraction import Held, KeyStoreEnd, agrees_with
from key_management.ledger import ExtractedKey, KeyLedger
from key_management.relay.errors import RelayError
from key_management.relay.message import BLOCK_BYTES, MAX_KEYS, MIN_KEYS, Route
from key_management.relay.node import Carried, Leg, RelayNode, Reservation
from key_management.relay.routes import HopLink, widest_route
from key_management.relay.tables import RelayRouteRow, RouteState
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

BATCH_KEYS = 64
_FAILURES_KEPT = timedelta(days=1)


class RelayNeighbour(Protocol):
    """A trusted node as the origin reaches it; all of these can be repeated."""

    def reserve(self, leg: Leg) -> Reservation: ...

    def carry(self, route_id: UUID, message: bytes) -> Carried: ...

    def finish(self, route_id: UUID) -> None: ...

    def withdraw(self, route_id: UUID, reason: str, *, burn: bool) -> None: ...


@dataclass(frozen=True)
class RelayedLink:
    """A pair of ends that is fed by relay: this origin and `destination`."""

    name: str
    destination: str
    peer: KeyStoreEnd
    """The destination's key store, for confirming and discarding."""


class RelayOrigin:
    """Fills the stores of relayed links. `residual_keys` tells a hop link's level, None unknown."""

    def __init__(
        self,
        node: RelayNode,
        neighbours: Mapping[str, RelayNeighbour],
        hop_links: Sequence[HopLink],
        ledger: KeyLedger,
        engine: Engine,
        clock: Clock,
        *,
        residual_keys: Callable[[HopLink], int | None],
    ) -> None:
        self._node = node
        self._neighbours: dict[str, RelayNeighbour] = {**neighbours, node.name: node}
        self.hop_links = tuple(hop_links)
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self._residual_keys = residual_keys

    def route(self, destination: str, *, least_keys: int = 1) -> tuple[HopLink, ...]:
        """The way that keys would take now. NoRouteError if there is none."""
        residual = {
            link.name: keys
            for link in self.hop_links
            if (keys := self._residual_keys(link)) is not None
        }
        return widest_route(
            self.hop_links, residual, self._node.name, destination, least_keys=least_keys
        )

    def fill(self, relayed: RelayedLink, count: int) -> list[UUID]:
        """Relay up to `count` keys in one batch; returns those that both ends hold now.

        Raises NoRouteError, NoKeyAvailableError, another error of a node on the way, or
        KeyAgreementError; whatever had begun is given up at every node.
        """
        hops = self.route(relayed.destination, least_keys=MIN_KEYS + 1)
        # One key is sacrificed for the comparison, one block is for the tag.
        poorest = min(
            (self._residual_keys(hop) or 0) - (0 if place else self._node.floor_keys)
            for place, hop in enumerate(hops)
        )
        batch = min(count, BATCH_KEYS, MAX_KEYS - 1, max(1, poorest - 2)) + 1
        route = Route(
            uuid4(),
            relayed.name,
            (self._node.name, *(link.to_node for link in hops)),
            tuple(link.name for link in hops),
        )
        epoch = uuid4()
        self._open(route, epoch, batch)
        try:
            emulated = self._reserve(route, batch)
            self._set(route.route_id, state=RouteState.CARRYING.value)
            kept = self._carry(relayed, route, epoch, batch, emulated=emulated)
        except (KeyStateError, UnknownKeyError) as error:
            # The two ends of a hop differ about these blocks: they must leave the pool.
            self._set(route.route_id, detail=error.detail[:255])
            self._give_up(route, relayed, epoch, error.detail)
            raise
        except ProblemError as error:
            self._give_up(route, relayed, epoch, error.detail)
            raise
        self._set(
            route.route_id,
            state=RouteState.DONE.value,
            delivered_keys=len(kept),
            ended_at=self._clock.now(),
        )
        self._finish(route)
        log.info(
            "keys relayed",
            link=relayed.name,
            route=str(route.route_id),
            over="-".join(route.nodes),
            keys=len(kept),
        )
        return kept

    def settle(self, relayed: Mapping[str, RelayedLink]) -> None:
        """Tell every node how routes ended that a crash or a silent node left open.

        Given up routes are forgotten after a day; how keys came here is kept.
        """
        self._forget_failures(self._clock.now() - _FAILURES_KEPT)
        with reading(self._engine) as session:
            rows = session.scalars(
                select(RelayRouteRow).where(RelayRouteRow.settled.is_(False))
            ).all()
            session.expunge_all()
        for row in rows:
            route = _route_of(row)
            if row.state == RouteState.DONE:
                self._finish(route)
            elif row.relayed_link in relayed:
                why = row.detail or "the origin was interrupted"
                self._give_up(route, relayed[row.relayed_link], row.epoch, why)

    def routes(self, limit: int = 50) -> list[RelayRouteRow]:
        """The newest routes, newest first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(RelayRouteRow).order_by(RelayRouteRow.started_at.desc()).limit(limit)
            ).all()
            session.expunge_all()
            return list(rows)

    def record(self, route_id: UUID) -> RelayRouteRow | None:
        """How one batch of keys came here; for tracing a key."""
        with reading(self._engine) as session:
            row = session.get(RelayRouteRow, route_id)
            if row is not None:
                session.expunge(row)
            return row

    def blocks_taken(self, link: str, since: datetime) -> int:
        """Blocks of a hop that routes took since then: what its demand is estimated from."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(RelayRouteRow.links, RelayRouteRow.key_count).where(
                    RelayRouteRow.started_at >= since,
                    RelayRouteRow.state == RouteState.DONE.value,
                )
            ).all()
        return sum(key_count + 1 for links, key_count in rows if link in links)

    # --- phases -----------------------------------------------------------------------------------

    def _reserve(self, route: Route, batch: int) -> bool:
        """All hops or none; returns whether any of their keys are emulated."""
        emulated = False
        blocks: tuple[UUID, ...] = ()
        for place, name in enumerate(route.nodes):
            leg = Leg(
                route_id=route.route_id,
                relayed_link=route.relayed_link,
                key_count=batch,
                incoming_link=route.links[place - 1] if place else None,
                incoming_blocks=blocks,
                outgoing_link=route.links[place] if place < route.hops else None,
            )
            reservation = self._neighbour(name).reserve(leg)
            blocks = reservation.block_ids
            emulated = emulated or reservation.emulated
        return emulated

    def _carry(
        self, relayed: RelayedLink, route: Route, epoch: UUID, batch: int, *, emulated: bool
    ) -> list[UUID]:
        drawn = [
            ExtractedKey(uuid4(), b"", bytearray(secrets.token_bytes(BLOCK_BYTES)))
            for _ in range(batch)
        ]
        key_ids = self._ledger.add_pending(
            relayed.name, epoch, drawn, emulated=emulated, turn=route.route_id
        )
        message: bytes | None = self._node.launch(route, epoch, key_ids, emulated=emulated)
        held: Held | None = None
        for name in route.nodes[1:]:
            if message is None:
                raise RelayError(
                    f"{name} was not reached: a node before it kept the message.",
                    next_step="Run the same version of qnfv on every node.",
                )
            answer = self._neighbour(name).carry(route.route_id, message)
            message, held = answer.message, answer.held
        kept = self._compare(relayed, epoch, key_ids, held)
        relayed.peer.confirm(relayed.name, epoch, kept)
        self._ledger.confirm(relayed.name, epoch, kept)
        return kept

    def _compare(
        self, relayed: RelayedLink, epoch: UUID, key_ids: Sequence[UUID], held: Held | None
    ) -> list[UUID]:
        sacrificed = key_ids[0]
        if (
            held is None
            or held.key_ids != frozenset(key_ids)
            or not agrees_with(self._ledger, relayed.name, epoch, sacrificed, held)
        ):
            raise KeyAgreementError(
                f"{relayed.destination} holds other keys than were sent over {relayed.name}; "
                f"all {len(key_ids)} are burned.",
                next_step="Distrust the nodes on this route until the cause is found.",
                link=relayed.name,
            )
        return [key_id for key_id in key_ids if key_id != sacrificed]

    # --- the end ----------------------------------------------------------------------------------

    def _give_up(self, route: Route, relayed: RelayedLink, epoch: UUID, why: str) -> None:
        """Blocks go back if nothing was carried and every node answers; else they are burned.

        The far end first: what an allocating end offers again, its neighbour must hold as free.
        """
        row = self.record(route.route_id)
        burn = row is None or row.state != RouteState.RESERVING or row.detail is not None
        told = True
        for name in reversed(route.nodes):
            try:
                self._neighbour(name).withdraw(route.route_id, why, burn=burn)
            except ProblemError as error:
                log.warning("a node was not told", node=name, why=error.detail)
                told, burn = False, True
                # On record before a nearer node burns: after a crash the rest must burn too.
                self._set(route.route_id, detail=why[:255])
        try:
            relayed.peer.discard(relayed.name, epoch)
        except ProblemError as error:
            log.warning("the destination was not told", link=relayed.name, why=error.detail)
            told = False
        self._ledger.discard(relayed.name, epoch)
        ended = {} if row is not None and row.ended_at else {"ended_at": self._clock.now()}
        self._set(
            route.route_id,
            state=RouteState.FAILED.value,
            detail=why[:255],
            settled=told,
            **ended,
        )

    def _finish(self, route: Route) -> None:
        told = True
        for name in route.nodes:
            try:
                self._neighbour(name).finish(route.route_id)
            except ProblemError as error:
                log.warning("a node was not told", node=name, why=error.detail)
                told = False
        if told:
            self._set(route.route_id, settled=True)

    def _neighbour(self, name: str) -> RelayNeighbour:
        if name not in self._neighbours:
            raise RelayError(
                f"The trusted node {name} is not configured here.",
                next_step="Name it among the data centres in the settings.",
            )
        return self._neighbours[name]

    def _forget_failures(self, before: datetime) -> None:
        with writing(self._engine) as session:
            session.execute(
                delete(RelayRouteRow).where(
                    RelayRouteRow.settled.is_(True),
                    RelayRouteRow.state == RouteState.FAILED.value,
                    RelayRouteRow.started_at < before,
                )
            )

    # --- the journal ------------------------------------------------------------------------------

    def _open(self, route: Route, epoch: UUID, batch: int) -> None:
        with writing(self._engine) as session:
            session.add(
                RelayRouteRow(
                    route_id=route.route_id,
                    relayed_link=route.relayed_link,
                    state=RouteState.RESERVING.value,
                    epoch=epoch,
                    nodes=list(route.nodes),
                    links=list(route.links),
                    key_count=batch,
                    delivered_keys=0,
                    settled=False,
                    started_at=self._clock.now(),
                )
            )

    def _set(self, route_id: UUID, **values: Any) -> None:
        with writing(self._engine) as session:
            session.execute(
                update(RelayRouteRow).where(RelayRouteRow.route_id == route_id).values(**values)
            )


def _route_of(row: RelayRouteRow) -> Route:
    return Route(row.route_id, row.relayed_link, tuple(row.nodes), tuple(row.links))

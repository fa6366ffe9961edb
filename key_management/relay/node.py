"""What every node on a route does: reserve, carry on, forget, give up.

Each step is journaled before it is acted upon. A pad is armed before it is used, what it sealed is
stored before it leaves, and the same question gets the same bytes again; so a crash leaves blocks
that are unused or burned, and no pad ever covers two plaintexts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine, update
from sqlalchemy.exc import IntegrityError

from database import changed, reading, writing
from key_management.errors import KeyManagementError, NoKeyAvailableError
from key_management.extraction import Held, held_of
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.relay.errors import (
    RelayBurnedError,
    RelayForgedError,
    RelayMessageError,
)
from key_management.relay.message import (
    BLOCK_BYTES,
    Envelope,
    Route,
    open_sealed,
    parse,
    seal,
)
from key_management.relay.tables import HopState, RelayHopRow
from timekeeping import Clock

log = structlog.get_logger(__name__)

_LIVE = (HopState.RESERVED, HopState.CARRYING, HopState.CARRIED)


@dataclass(frozen=True)
class Leg:
    """One node's part in a route: from which link the keys come, to which one they go."""

    route_id: UUID
    relayed_link: str
    key_count: int
    incoming_link: str | None = None
    incoming_blocks: tuple[UUID, ...] = ()
    outgoing_link: str | None = None


@dataclass(frozen=True)
class Reservation:
    """Blocks that a node reserved for what it will send, in their order; none at the last node."""

    block_ids: tuple[UUID, ...]
    emulated: bool


@dataclass(frozen=True)
class Carried:
    """What a node answers to a message: the one for the next node, or at the end what it holds."""

    message: bytes | None
    held: Held | None


class RelayNode:
    """One trusted node. Thread-safe; every method can be repeated."""

    def __init__(
        self, name: str, ledger: KeyLedger, engine: Engine, clock: Clock, *, floor_keys: int = 0
    ) -> None:
        self.name = name
        self._ledger = ledger
        self._engine = engine
        self._clock = clock
        self.floor_keys = floor_keys

    # --- phase 1 ----------------------------------------------------------------------------------

    def reserve(self, leg: Leg) -> Reservation:
        """Reserve the incoming blocks by id and as many outgoing ones. NoKeyAvailableError."""
        row = self._open(leg)
        if row.state != HopState.RESERVED:
            raise self._over(row)
        emulated = False
        try:
            if leg.incoming_link is not None:
                incoming = self._ledger.reserve_by_ids(
                    leg.incoming_link, leg.incoming_blocks, leg.route_id
                )
                emulated = any(record.emulated for record in incoming)
            outgoing = (
                self._ledger.reserve_many(
                    leg.outgoing_link, leg.route_id, leg.key_count + 1, floor=self.floor_keys
                )
                if leg.outgoing_link is not None
                else []
            )
        except NoKeyAvailableError:
            self.withdraw(leg.route_id, "this node lacked keys", burn=False)
            raise
        row = self._row(leg.route_id)
        if row.state != HopState.RESERVED:  # withdrawn while the blocks were being reserved
            self._burn(row, row.reason or "the route was given up")
            raise self._over(row)
        emulated = emulated or any(record.emulated for record in outgoing)
        return Reservation(tuple(record.key_id for record in outgoing), emulated)

    # --- phase 2 ----------------------------------------------------------------------------------

    def launch(
        self, route: Route, epoch: UUID, key_ids: Sequence[UUID], *, emulated: bool
    ) -> bytes:
        """The origin's message: its unconfirmed keys of `epoch`, sealed for the first hop."""
        row = self._begin(route.route_id, None)
        link = route.links[0]
        envelope = self._envelope(route, 0, epoch, tuple(key_ids), emulated)

        def seal_all(keys: Mapping[UUID, bytearray]) -> bytes:
            together = bytearray().join(keys[key_id] for key_id in key_ids)
            try:
                return self._seal(link, envelope, together)
            finally:
                together[:] = bytes(len(together))

        try:
            message = self._ledger.with_pending_keys(route.relayed_link, epoch, key_ids, seal_all)
        except KeyManagementError as error:
            self._burn(row, f"the origin could not seal: {error.detail}")
            raise
        self._store(route.route_id, message)
        self._erase(row)
        return message

    def carry(self, route_id: UUID, message: bytes) -> Carried:
        """Open a message and seal it for the next hop; at the destination, keep the keys.

        Raises RelayMessageError (nothing was touched), RelayForgedError or RelayBurnedError (all
        blocks of the route are burned here).
        """
        envelope = parse(message)
        row = self._row(route_id)
        self._check(row, envelope)
        digest = hashlib.sha256(message).digest()
        if row.state in (HopState.CARRIED, HopState.DONE):
            if row.received_digest != digest:
                raise _unexpected("another message of this route was carried already")
            self._erase(row)
            return self._answer(row, envelope)
        row = self._begin(route_id, digest)
        try:
            self._pass_on(row, envelope, message)
        except KeyManagementError as error:
            self._burn(row, error.detail)
            if isinstance(error, RelayForgedError):
                raise
            raise RelayBurnedError(
                f"{self.name} could not carry route {route_id} on: {error.detail}",
                next_step="It is tried again on a new route with new blocks.",
            ) from error
        self._erase(row)
        return self._answer(self._row(route_id), envelope)

    # --- the end ----------------------------------------------------------------------------------

    def finish(self, route_id: UUID) -> None:
        """The route is over and well: forget the stored message."""
        row = self._row(route_id)
        self._erase(row)
        self._move(route_id, (HopState.CARRIED,), HopState.DONE, answer=None, ended=True)

    def withdraw(self, route_id: UUID, reason: str, *, burn: bool) -> None:
        """The route is given up: its blocks go back to the pool, or are burned.

        A route that never came here leaves a tombstone, so that a late request finds it closed.
        """
        end = HopState.BURNED if burn else HopState.RELEASED
        row = self._find(route_id)
        if row is None:
            row = self._open(Leg(route_id, "-", 0))
        if row.state in (HopState.CARRYING, HopState.CARRIED):
            end = HopState.BURNED  # its pads may have been used
        if row.state not in (*_LIVE, end):
            return
        if end is HopState.BURNED:
            self._burn(row, reason)
        else:
            self._ledger.release(route_id, reason)
            self._move(route_id, _LIVE, end, answer=None, reason=reason, ended=True)

    def hop(self, route_id: UUID) -> RelayHopRow | None:
        """What this node knows of a route."""
        return self._find(route_id)

    # --- inside -----------------------------------------------------------------------------------

    def _pass_on(self, row: RelayHopRow, envelope: Envelope, message: bytes) -> None:
        """Open and seal in one go: the keys are in memory for that moment alone."""
        link = envelope.link
        bound = _bound(envelope)
        self._ledger.arm_all(link, envelope.block_ids, bound)
        emulated = envelope.emulated or self._emulated(link, row.route_id)

        def forward(pad: bytearray) -> bytes | None:
            keys = open_sealed(message, pad)
            try:
                if row.outgoing_link is None:
                    self._keep(envelope, keys, emulated)
                    return None
                onward = self._envelope(
                    envelope.route,
                    envelope.hop + 1,
                    envelope.epoch,
                    envelope.key_ids,
                    emulated,
                )
                return self._seal(row.outgoing_link, onward, keys)
            finally:
                keys[:] = bytes(len(keys))

        answer = self._ledger.with_armed_keys(link, envelope.block_ids, bound, forward)
        self._store(row.route_id, answer)

    def _seal(self, link: str, envelope: Envelope, keys: bytearray) -> bytes:
        bound = _bound(envelope)
        self._ledger.arm_all(link, envelope.block_ids, bound)
        return self._ledger.with_armed_keys(
            link, envelope.block_ids, bound, lambda pad: seal(envelope, keys, pad)
        )

    def _envelope(
        self, route: Route, hop: int, epoch: UUID, key_ids: tuple[UUID, ...], emulated: bool
    ) -> Envelope:
        link = route.links[hop]
        held = self._ledger.held_by_all(link, route.route_id)
        return Envelope(
            route,
            hop,
            epoch,
            key_ids,
            tuple(record.key_id for record in held),
            emulated or any(record.emulated for record in held),
        )

    def _keep(self, envelope: Envelope, keys: bytearray, emulated: bool) -> None:
        """The destination stores the keys; they wait for the origin's confirmation."""
        view = memoryview(keys)
        extracted = [
            ExtractedKey(
                key_id, b"", bytearray(view[BLOCK_BYTES * place : BLOCK_BYTES * (place + 1)])
            )
            for place, key_id in enumerate(envelope.key_ids)
        ]
        route = envelope.route
        self._ledger.add_pending(
            route.relayed_link,
            envelope.epoch,
            extracted,
            emulated=emulated,
            turn=route.route_id,
        )

    def _answer(self, row: RelayHopRow, envelope: Envelope) -> Carried:
        if row.outgoing_link is not None:
            if row.answer is None:
                raise self._over(row)
            return Carried(row.answer, None)
        key_ids = envelope.key_ids
        return Carried(
            None, held_of(self._ledger, row.relayed_link, envelope.epoch, key_ids, key_ids[0])
        )

    def _check(self, row: RelayHopRow, envelope: Envelope) -> None:
        """The message is the one that this node reserved for."""
        route = envelope.route
        last = envelope.hop == route.hops - 1
        onward = None if last else route.links[envelope.hop + 1]
        if (
            route.route_id != row.route_id
            or route.relayed_link != row.relayed_link
            or route.nodes[envelope.hop + 1] != self.name
            or envelope.link != row.incoming_link
            or onward != row.outgoing_link
            or len(envelope.key_ids) != row.key_count
        ):
            raise _unexpected("it is not the one that this node reserved for")
        reserved = row.state == HopState.RESERVED
        if reserved and set(self._held(envelope.link, row.route_id)) != set(envelope.block_ids):
            raise _unexpected("its blocks are not those that were reserved")

    def _emulated(self, link: str, owner: UUID) -> bool:
        return any(record.emulated for record in self._ledger.held_by_all(link, owner))

    def _held(self, link: str, route_id: UUID) -> list[UUID]:
        return [record.key_id for record in self._ledger.held_by_all(link, route_id)]

    def _erase(self, row: RelayHopRow) -> None:
        """The pads have done their work; erase what of them is left."""
        for link in _links(row):
            held = self._held(link, row.route_id)
            if held:
                self._ledger.consume_all(link, held)
        self._ledger.destroy_drained_epochs()

    def _burn(self, row: RelayHopRow, reason: str) -> None:
        for link in _links(row):
            held = self._held(link, row.route_id)
            if held:
                self._ledger.burn_all(link, held, reason[:255])
        self._move(row.route_id, _LIVE, HopState.BURNED, answer=None, reason=reason, ended=True)
        self._ledger.destroy_drained_epochs()

    # --- the journal ------------------------------------------------------------------------------

    def _open(self, leg: Leg) -> RelayHopRow:
        row = self._find(leg.route_id)
        if row is None:
            try:
                with writing(self._engine) as session:
                    session.add(
                        RelayHopRow(
                            route_id=leg.route_id,
                            relayed_link=leg.relayed_link,
                            state=HopState.RESERVED.value,
                            incoming_link=leg.incoming_link,
                            outgoing_link=leg.outgoing_link,
                            key_count=leg.key_count,
                            created_at=self._clock.now(),
                        )
                    )
            except IntegrityError:
                log.info("the same route was asked for twice at once", route=str(leg.route_id))
            return self._row(leg.route_id)
        same = (row.relayed_link, row.incoming_link, row.outgoing_link, row.key_count) == (
            leg.relayed_link,
            leg.incoming_link,
            leg.outgoing_link,
            leg.key_count,
        )
        if not same and row.state in _LIVE:
            raise _unexpected("this route was reserved with other links or another number of keys")
        return row

    def _begin(self, route_id: UUID, digest: bytes | None) -> RelayHopRow:
        """RESERVED -> CARRYING, once; who comes second finds an unfinished try and burns it."""
        begun = self._move(
            route_id, (HopState.RESERVED,), HopState.CARRYING, received_digest=digest
        )
        row = self._row(route_id)
        if begun:
            return row
        if row.state == HopState.CARRYING:
            self._burn(row, "an earlier try to carry it was interrupted")
            row = self._row(route_id)
        raise self._over(row)

    def _store(self, route_id: UUID, answer: bytes | None) -> None:
        stored = self._move(route_id, (HopState.CARRYING,), HopState.CARRIED, answer=answer)
        if not stored:
            raise self._over(self._row(route_id))

    def _move(
        self,
        route_id: UUID,
        allowed: Sequence[HopState],
        target: HopState,
        *,
        reason: str | None = None,
        ended: bool = False,
        **values: Any,
    ) -> bool:
        """Compare and set; False if the part is in no allowed state."""
        if reason is not None:
            values["reason"] = reason[:255]
        if ended:
            values["ended_at"] = self._clock.now()
        with writing(self._engine) as session:
            moved = changed(
                session,
                update(RelayHopRow)
                .where(
                    RelayHopRow.route_id == route_id,
                    RelayHopRow.state.in_([state.value for state in allowed]),
                )
                .values(state=target.value, **values),
            )
            return moved == 1

    def _find(self, route_id: UUID) -> RelayHopRow | None:
        with reading(self._engine) as session:
            row = session.get(RelayHopRow, route_id)
            if row is not None:
                session.expunge(row)
            return row

    def _row(self, route_id: UUID) -> RelayHopRow:
        row = self._find(route_id)
        if row is None:
            raise _unexpected(f"{self.name} has no part in route {route_id}")
        return row

    def _over(self, row: RelayHopRow) -> RelayBurnedError:
        why = f": {row.reason}" if row.reason else ""
        return RelayBurnedError(
            f"Route {row.route_id} is {row.state} at {self.name}{why}.",
            next_step="It is tried again on a new route with new blocks.",
            route_id=str(row.route_id),
        )


def _links(row: RelayHopRow) -> list[str]:
    return [link for link in (row.incoming_link, row.outgoing_link) if link is not None]


def _bound(envelope: Envelope) -> Message:
    """What a hop's blocks protect: this envelope, to this node."""
    return Message(
        envelope.route.route_id,
        hashlib.sha256(envelope.encode()).digest(),
        envelope.route.nodes[envelope.hop + 1],
    )


def _unexpected(why: str) -> RelayMessageError:
    return RelayMessageError(
        f"Not acceptable: {why}.", next_step="Start a new route; it takes new blocks."
    )

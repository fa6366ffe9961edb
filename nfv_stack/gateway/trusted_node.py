"""Requests to a data centre that is a trusted node: Alice's end of further links, and relay."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends, Response

from key_management.contract import KeyNameView
from key_management.extraction import Held
from key_management.relay.node import Leg, RelayNode
from nfv_stack.contract.trusted_node import (
    AgreementAnswer,
    AgreementRequest,
    PendingView,
    RelayAnswer,
    RelayHopView,
    RelayLeg,
    RelayMessageDocument,
    RelayReservation,
    RelayWithdrawal,
    TakeAnswer,
    TakeRequest,
)
from nfv_stack.errors import UnknownRouteError
from nfv_stack.gateway.links import Links
from trust import Role
from trust.server import require_role


def trusted_node_router(links: Links, relay: RelayNode) -> APIRouter:
    """All of it is for the orchestrator's certificate alone."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(require_role(Role.ORCHESTRATOR))])
    _add_alice_end(router, links)
    _add_relay(router, links, relay)
    return router


def _add_alice_end(router: APIRouter, links: Links) -> None:
    @router.post("/links/{link}/taking")
    def take(link: str, request: TakeRequest) -> TakeAnswer:
        names = links.alice(link).take(link, request.epoch, request.limit, request.turn)
        return TakeAnswer(names=[KeyNameView.of(name) for name in names])

    @router.post("/links/{link}/agreement")
    def agree(link: str, request: AgreementRequest) -> AgreementAnswer:
        held = Held(frozenset(request.key_ids), bytes.fromhex(request.tag))
        alice = links.alice(link)
        return AgreementAnswer(agrees=alice.agrees(link, request.epoch, request.sacrificed, held))

    @router.get("/links/{link}/pending")
    def pending(link: str) -> PendingView:
        return PendingView(epochs=links.alice(link).pending(link))


def _add_relay(router: APIRouter, links: Links, relay: RelayNode) -> None:
    @router.put("/relays/{route_id}")
    def reserve(route_id: UUID, leg: RelayLeg) -> RelayReservation:
        for link in (leg.incoming_link, leg.outgoing_link):
            if link is not None:
                links.named(link)
        reservation = relay.reserve(
            Leg(
                route_id,
                leg.relayed_link,
                leg.key_count,
                leg.incoming_link,
                tuple(leg.incoming_blocks),
                leg.outgoing_link,
            )
        )
        return RelayReservation(
            block_ids=list(reservation.block_ids), emulated=reservation.emulated
        )

    @router.post("/relays/{route_id}/message")
    def carry(route_id: UUID, document: RelayMessageDocument) -> RelayAnswer:
        carried = relay.carry(route_id, bytes.fromhex(document.message))
        if carried.held is None:
            return RelayAnswer(message=carried.message.hex() if carried.message else None)
        tag = carried.held.tag
        return RelayAnswer(
            key_ids=sorted(carried.held.key_ids), tag=tag.hex() if tag is not None else None
        )

    @router.post("/relays/{route_id}/end", status_code=204)
    def finish(route_id: UUID) -> Response:
        relay.finish(route_id)
        return Response(status_code=204)

    @router.post("/relays/{route_id}/withdrawal", status_code=204)
    def withdraw(route_id: UUID, withdrawal: RelayWithdrawal) -> Response:
        relay.withdraw(route_id, withdrawal.reason, burn=withdrawal.burn)
        return Response(status_code=204)

    @router.get("/relays/{route_id}")
    def hop(route_id: UUID) -> RelayHopView:
        row = relay.hop(route_id)
        if row is None:
            raise UnknownRouteError(
                f"This node has no part in route {route_id}.",
                next_step="See the routes at the orchestrator.",
            )
        return RelayHopView.model_validate(row, from_attributes=True)

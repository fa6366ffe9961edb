"""Ends of links at remote data centres, reached through the gateways of their slave stacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from key_management.contract import (
    ConfirmRequest,
    DiscardRequest,
    ExpiryRequest,
    ExtractRequest,
    QuarantineRequest,
    TurnRequest,
)
from key_management.errors import KeyStateError, NoKeyAvailableError, UnknownKeyError
from key_management.extraction import Held, KeyName
from key_management.relay.node import Carried, Leg, Reservation
from key_management.states import KeyState
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError
from nfv_stack.contract.trusted_node import (
    AgreementRequest,
    RelayLeg,
    RelayMessageDocument,
    RelayWithdrawal,
    TakeRequest,
)


class RemoteEnd:
    """A `key_management.extraction.KeyStoreEnd` over the gateway's REST."""

    def __init__(self, slave: SlaveClient) -> None:
        self._slave = slave

    def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
        self._slave.confirm_keys(link, ConfirmRequest(epoch=epoch, agreed=sorted(agreed)))

    def discard(self, link: str, epoch: UUID) -> None:
        self._slave.discard_keys(link, DiscardRequest(epoch=epoch))

    def quarantine(self, link: str, turn: UUID, reason: str) -> int:
        request = QuarantineRequest(turn=turn, reason=reason[:255])
        return self._slave.quarantine_keys(link, request).keys

    def release_quarantined(self, link: str, turn: UUID) -> int:
        return self._slave.release_quarantined_keys(link, TurnRequest(turn=turn)).keys

    def burn_quarantined(self, link: str, turn: UUID) -> int:
        return self._slave.burn_quarantined_keys(link, TurnRequest(turn=turn)).keys

    def expire(self, link: str, older_than_s: float) -> int:
        return self._slave.expire_keys(link, ExpiryRequest(older_than_s=older_than_s)).keys

    def counts(self, link: str) -> dict[KeyState, int]:
        counted = self._slave.pool(link).counts
        return {state: counted.get(state.value, 0) for state in KeyState}


class RemoteBobEnd(RemoteEnd):
    """A `PeerKeyStore`: Bob's end of a link."""

    def extract(
        self,
        link: str,
        epoch: UUID,
        names: list[KeyName],
        sacrificed: UUID,
        turn: UUID | None = None,
    ) -> Held:
        request = ExtractRequest.of(epoch, names, sacrificed, turn)
        return self._slave.extract_keys(link, request).held


class RemoteAliceEnd(RemoteEnd):
    """An `AliceStore`: Alice's end of a link that leads onward from a trusted node."""

    def take(self, link: str, epoch: UUID, limit: int, turn: UUID | None) -> list[KeyName]:
        answer = self._slave.take_keys(link, TakeRequest(epoch=epoch, turn=turn, limit=limit))
        return [view.name for view in answer.names]

    def agrees(self, link: str, epoch: UUID, sacrificed: UUID, held: Held) -> bool:
        if held.tag is None:
            return False
        request = AgreementRequest(
            epoch=epoch,
            sacrificed=sacrificed,
            key_ids=sorted(held.key_ids),
            tag=held.tag.hex(),
        )
        return self._slave.compare_keys(link, request).agrees

    def pending(self, link: str) -> dict[UUID, int]:
        return self._slave.pending_keys(link).epochs


_MEANT = {error.slug: error for error in (KeyStateError, NoKeyAvailableError, UnknownKeyError)}


@contextmanager
def _in_terms_of_keys() -> Iterator[None]:
    """A refusal that is about keys is one of the key store's own errors here too."""
    try:
        yield
    except SlaveRefusedError as error:
        meant = _MEANT.get(error.problem.slug)
        if meant is None:
            raise
        raise meant(error.detail, next_step=error.next_step) from error


class RemoteRelayNode:
    """A `key_management.relay.origin.RelayNeighbour` over the gateway's REST."""

    def __init__(self, slave: SlaveClient) -> None:
        self._slave = slave

    def reserve(self, leg: Leg) -> Reservation:
        with _in_terms_of_keys():
            answer = self._slave.reserve_relay(
                leg.route_id,
                RelayLeg(
                    relayed_link=leg.relayed_link,
                    key_count=leg.key_count,
                    incoming_link=leg.incoming_link,
                    incoming_blocks=list(leg.incoming_blocks),
                    outgoing_link=leg.outgoing_link,
                ),
            )
        return Reservation(tuple(answer.block_ids), answer.emulated)

    def carry(self, route_id: UUID, message: bytes) -> Carried:
        answer = self._slave.carry_relay(route_id, RelayMessageDocument(message=message.hex()))
        if answer.message is not None:
            return Carried(bytes.fromhex(answer.message), None)
        tag = bytes.fromhex(answer.tag) if answer.tag is not None else None
        return Carried(None, Held(frozenset(answer.key_ids), tag))

    def finish(self, route_id: UUID) -> None:
        self._slave.finish_relay(route_id)

    def withdraw(self, route_id: UUID, reason: str, *, burn: bool) -> None:
        self._slave.withdraw_relay(route_id, RelayWithdrawal(reason=reason[:255], burn=burn))

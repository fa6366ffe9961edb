"""Documents of a gateway that is a trusted node too: Alice's end of a further link, and relay.

A trusted node has keys with two neighbours. Towards the one behind it, it is Alice's end: it takes
keys from the Alice beside it. The orchestrator tells it when, and carries messages between nodes;
it never sees a key.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from key_management.contract import Document, HexDigest, KeyNameView
from nfv_stack.contract.schemas import LinkName

MAX_RELAY_MESSAGE_BYTES = 131_072
HexRelayMessage = Annotated[
    str, StringConstraints(pattern=r"^([0-9a-f]{2})*$", max_length=2 * MAX_RELAY_MESSAGE_BYTES)
]


class TakeRequest(Document):
    """Take up to `limit` new keys from the Alice here into the store, as yet unconfirmed."""

    epoch: UUID
    turn: UUID | None = None
    limit: int = Field(ge=2, le=1024)


class TakeAnswer(Document):
    names: list[KeyNameView]


class AgreementRequest(Document):
    """What Bob's end holds of a batch: compare it with what is here. Nothing changes by that."""

    epoch: UUID
    sacrificed: UUID
    key_ids: list[UUID] = Field(max_length=1024)
    tag: HexDigest


class AgreementAnswer(Document):
    agrees: bool


class PendingView(Document):
    """Batches that an interrupted extraction left unconfirmed at Alice's end."""

    epochs: dict[UUID, int]


class RelayLeg(Document):
    """Reserve blocks for one route: the incoming ones by id, as many outgoing ones and send ids."""

    relayed_link: LinkName
    key_count: int = Field(ge=0, le=1024)
    incoming_link: LinkName | None = None
    incoming_blocks: list[UUID] = Field(default_factory=list, max_length=1025)
    outgoing_link: LinkName | None = None


class RelayReservation(Document):
    block_ids: list[UUID]
    emulated: bool


class RelayMessageDocument(Document):
    """A relay message (key_management/relay/RELAY.md), in hex."""

    message: HexRelayMessage


class RelayAnswer(Document):
    """The message for the next node; or, at the destination, what it holds and its tag."""

    message: HexRelayMessage | None = None
    key_ids: list[UUID] = Field(default_factory=list)
    tag: HexDigest | None = None


class RelayWithdrawal(Document):
    reason: str = Field(max_length=255)
    burn: bool


class RelayHopView(Document):
    """This node's part in a route. A batch costs as many blocks as it has keys, and one."""

    route_id: UUID
    relayed_link: str
    state: str
    incoming_link: str | None
    outgoing_link: str | None
    key_count: int
    reason: str | None

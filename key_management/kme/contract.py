"""What two KMEs say to each other, under `/kme/v1`. No document ever holds a key."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from key_management.kme.deliveries import Allocation, Composition
from key_management.kme.settings import SaeId

HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
HexVendorKeyId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16}){1,2}$")]
MAX_BLOCKS = 65536


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CompositionView(Document):
    key_id: UUID
    blocks: list[UUID] = Field(min_length=1, max_length=MAX_BLOCKS)


class AllocationView(Document):
    """The blocks that the allocating end set aside; the other end sets aside the same ones."""

    batch_id: UUID
    master_sae: SaeId
    slave_saes: list[SaeId] = Field(min_length=1, max_length=65)
    size_bit: int = Field(gt=0, multiple_of=8)
    keys: list[CompositionView] = Field(min_length=1, max_length=1024)
    emulated: bool

    @classmethod
    def of(cls, allocation: Allocation) -> AllocationView:
        return cls(
            batch_id=allocation.batch_id,
            master_sae=allocation.master_sae,
            slave_saes=list(allocation.slave_saes),
            size_bit=allocation.size_bit,
            keys=[
                CompositionView(key_id=key.key_id, blocks=list(key.blocks))
                for key in allocation.keys
            ],
            emulated=allocation.emulated,
        )

    def on(self, link: str) -> Allocation:
        return Allocation(
            self.batch_id,
            link,
            self.master_sae,
            tuple(self.slave_saes),
            self.size_bit,
            tuple(Composition(key.key_id, tuple(key.blocks)) for key in self.keys),
            self.emulated,
        )


class AllocationAnswer(Document):
    emulated: bool
    """One of the blocks is emulated at this end."""


class AllocationWanted(Document):
    """The end that does not allocate asks for keys for one of its own SAEs."""

    batch_id: UUID
    master_sae: SaeId
    slave_saes: list[SaeId] = Field(min_length=1, max_length=65)
    size_bit: int = Field(gt=0, multiple_of=8)
    number: int = Field(gt=0, le=1024)


class Withdrawal(Document):
    """An allocation is given up; blocks that were meant for it are burned at both ends."""

    reason: str = Field(max_length=255)
    blocks: list[UUID] = Field(default_factory=list, max_length=MAX_BLOCKS)


class WithdrawalAnswer(Document):
    """All blocks that the allocation had at this end, which the asking end burns too."""

    blocks: list[UUID]


class KeyNameView(Document):
    key_id: UUID
    vendor_key_id: HexVendorKeyId


class ExtractionRequest(Document):
    """Fetch these keys from the source at your end; answer what is held and the agreement tag."""

    epoch: UUID
    names: list[KeyNameView] = Field(max_length=1024)
    sacrificed: UUID
    turn: UUID | None = None


class ExtractionAnswer(Document):
    key_ids: list[UUID]
    tag: HexDigest | None


class ConfirmationRequest(Document):
    epoch: UUID
    agreed: list[UUID] = Field(max_length=1024)


class EpochRequest(Document):
    epoch: UUID


class QuarantineRequest(Document):
    turn: UUID
    reason: str = Field(max_length=255)


class TurnRequest(Document):
    turn: UUID


class ExpiryRequest(Document):
    older_than_s: float = Field(ge=0)


class KeyCount(Document):
    """How many keys a request changed."""

    keys: int

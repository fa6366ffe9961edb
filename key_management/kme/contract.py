"""What two KMEs say to each other about allocations, under `/kme/v1`. Never a key."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from key_management.contract import Document
from key_management.kme.deliveries import Allocation, Composition
from key_management.kme.settings import SaeId

MAX_BLOCKS = 65536


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

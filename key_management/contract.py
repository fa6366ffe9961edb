"""Documents about one end's key store, whoever serves it over REST. None ever holds a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from key_management.extraction import Held, KeyName

HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
VendorKeyId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{16}){1,2}$")]
"""8 bytes (IDQ3P) or 16 (ETSI 014), in hex."""


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyNameView(Document):
    key_id: UUID
    vendor_key_id: VendorKeyId

    @classmethod
    def of(cls, name: KeyName) -> KeyNameView:
        return cls(key_id=name.key_id, vendor_key_id=name.vendor_key_id.hex())

    @property
    def name(self) -> KeyName:
        return KeyName(self.key_id, bytes.fromhex(self.vendor_key_id))


class ExtractRequest(Document):
    """Fetch these keys from Bob's unit; answer what is held and the agreement tag."""

    epoch: UUID
    names: list[KeyNameView] = Field(max_length=1024)
    sacrificed: UUID
    turn: UUID | None = None

    @classmethod
    def of(
        cls, epoch: UUID, names: Sequence[KeyName], sacrificed: UUID, turn: UUID | None
    ) -> ExtractRequest:
        views = [KeyNameView.of(name) for name in names]
        return cls(epoch=epoch, names=views, sacrificed=sacrificed, turn=turn)

    @property
    def key_names(self) -> list[KeyName]:
        return [view.name for view in self.names]


class ExtractAnswer(Document):
    key_ids: list[UUID]
    tag: HexDigest | None

    @classmethod
    def of(cls, held: Held) -> ExtractAnswer:
        return cls(
            key_ids=sorted(held.key_ids), tag=held.tag.hex() if held.tag is not None else None
        )

    @property
    def held(self) -> Held:
        tag = bytes.fromhex(self.tag) if self.tag is not None else None
        return Held(frozenset(self.key_ids), tag)


class ConfirmRequest(Document):
    epoch: UUID
    agreed: list[UUID] = Field(max_length=1024)


class DiscardRequest(Document):
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

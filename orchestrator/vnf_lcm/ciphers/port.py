"""What the steps of a transfer need of a cipher."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from key_management.ledger import KeyRecord
from nfv_stack.contract.schemas import ImageAnnouncement, Notice, ReceiptView, Ticket
from orchestrator.store.tables import ImageRow, TransferRow
from orchestrator.vnf_lcm.progress import AttemptProgress
from orchestrator.vnf_lcm.records import Work

KEY_BIT: Final = 256
"""Bits of one key of the store."""


@dataclass(frozen=True)
class VerifiedReceipt:
    """A receipt that is known to be the data centre's."""

    encoded: bytes
    attempt: int
    placed_image_id: str


class Cipher(Protocol):
    """One way to seal an image under quantum keys. Every method can be repeated after a crash."""

    @property
    def name(self) -> str: ...

    @property
    def is_promised(self) -> bool:
        """Whether who has to wait for its keys is promised them by a time, or refused."""
        ...

    def key_bits(self, image: ImageRow) -> int:
        """Bits of key that one deployment of this image takes."""
        ...

    def check(self, image: ImageRow, link: str) -> None:
        """Raises what forbids this cipher for this image on this link."""
        ...

    def reserve(self, link: str, operation_id: UUID, image: ImageRow, key_mode: str) -> None:
        """Reserve what the operation needs; NoKeyAvailableError if it is not there yet."""
        ...

    def held(self, link: str, operation_id: UUID) -> list[KeyRecord]:
        """What the operation has reserved or armed, in its order."""
        ...

    def announcement(self, work: Work, row: TransferRow) -> ImageAnnouncement:
        """What the data centre is told; never a key."""
        ...

    def arm(self, work: Work, row: TransferRow) -> None:
        """Journal what the keys protect, before the first byte leaves."""
        ...

    def send(
        self,
        connection: socket.socket,
        work: Work,
        row: TransferRow,
        ticket: Ticket,
        progress: AttemptProgress,
    ) -> None:
        """One attempt, from the receiver's mark to the end of the stream."""
        ...

    def notice(self, work: Work, row: TransferRow) -> Notice:
        """The paper's notice of image id and key id."""
        ...

    def verify(self, work: Work, row: TransferRow, answer: ReceiptView) -> VerifiedReceipt:
        """The receipt, once it is known to be the data centre's. ReceiptError, TransferError."""
        ...

    def consume(self, row: TransferRow) -> None:
        """Acknowledged: erase the keys."""
        ...

    def burn(self, row: TransferRow, reason: str) -> list[UUID]:
        """Given up after it was announced: the keys never return. Which they are."""
        ...

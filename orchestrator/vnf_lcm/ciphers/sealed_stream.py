"""AES-256-GCM under one quantum key: the sealed stream (image_transfer/FORMAT.md)."""

from __future__ import annotations

import socket
from uuid import UUID

from image_transfer.announcement import Announcement, Attempt, KeySource
from image_transfer.receipt import Receipt, verify_receipt
from image_transfer.sender import send_image
from key_management.ledger import KeyRecord
from nfv_stack.contract.schemas import (
    ImageAnnouncement,
    ImageFormat,
    KeySourceClass,
    Notice,
    ReceiptView,
    Ticket,
)
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.errors import ReceiptError
from orchestrator.keys.service import KeyService
from orchestrator.store.tables import ImageRow, TransferRow
from orchestrator.vnf_lcm.ciphers.port import KEY_BIT, VerifiedReceipt
from orchestrator.vnf_lcm.progress import AttemptProgress
from orchestrator.vnf_lcm.records import LcmRecords, Work


class SealedStreamCipher:
    """One key an image; each attempt derives keys of its own from it."""

    name = "aes-256-gcm"
    is_promised = False

    def __init__(
        self, records: LcmRecords, keys: KeyService, catalogue: Catalogue, *, sender_name: str
    ) -> None:
        self._records = records
        self._keys = keys
        self._catalogue = catalogue
        self._sender_name = sender_name

    def key_bits(self, image: ImageRow) -> int:  # noqa: ARG002 - one key, however large it is
        return KEY_BIT

    def check(self, image: ImageRow, link: str) -> None:
        """One key covers 2^32 chunks, and every link can give one."""

    def reserve(self, link: str, operation_id: UUID, image: ImageRow, key_mode: str) -> None:  # noqa: ARG002
        if key_mode == "on_demand":
            self._keys.reserve_on_demand(link, operation_id)
        else:
            self._keys.reserve(link, operation_id)

    def held(self, link: str, operation_id: UUID) -> list[KeyRecord]:
        key = self._keys.held_by(link, operation_id)
        return [] if key is None else [key]

    def announcement(self, work: Work, row: TransferRow) -> ImageAnnouncement:
        return ImageAnnouncement(
            link=row.link,
            key_id=row.key_id,
            key_source=KeySourceClass.EMULATED if row.emulated_key else KeySourceClass.QUANTUM,
            sender=self._sender_name,
            suite=self.name,
            image_digest=row.image_digest.hex(),
            image_size=row.image_size,
            image_format=ImageFormat(work.image.format),
            vim_image_id=row.vim_image_id,
        )

    def arm(self, work: Work, row: TransferRow) -> None:
        self._keys.arm(row.link, row.key_id, work.message)

    def send(
        self,
        connection: socket.socket,
        work: Work,
        row: TransferRow,
        ticket: Ticket,
        progress: AttemptProgress,
    ) -> None:
        announcement = Announcement(
            transfer_id=row.transfer_id,
            image_digest=row.image_digest,
            image_size=row.image_size,
            key_id=row.key_id,
            key_source=KeySource.EMULATED if row.emulated_key else KeySource.QUANTUM,
            sender=self._sender_name,
            destination=work.deployment.data_centre,
        )
        attempt = Attempt(ticket.attempt, ticket.start_chunk, bytes.fromhex(ticket.receiver_nonce))
        progress.begin(announcement.offset(ticket.start_chunk))
        report = send_image(
            connection,
            self._catalogue.file(row.image_digest),
            announcement,
            attempt,
            lambda header: self._keys.derive(row.link, row.key_id, work.message, header),
            journal=self._records.journal_attempt,
            progress=progress.at,
        )
        report.receipt_key.destroy()

    def notice(self, work: Work, row: TransferRow) -> Notice:  # noqa: ARG002
        return Notice(image_digest=row.image_digest.hex(), key_id=row.key_id)

    def verify(self, work: Work, row: TransferRow, answer: ReceiptView) -> VerifiedReceipt:
        receipt = Receipt.decode(bytes.fromhex(answer.receipt))
        header = self._records.attempt_header(row.transfer_id, receipt.attempt)
        if header is None or receipt.placed_image_id != row.vim_image_id:
            raise ReceiptError(
                f"it names attempt {receipt.attempt} and image {receipt.placed_image_id}",
                next_step="",
            )
        keys = self._keys.derive(row.link, row.key_id, work.message, header)
        try:
            verify_receipt(receipt, keys.receipt_key, header)
        finally:
            keys.destroy()
        return VerifiedReceipt(receipt.encode(), receipt.attempt, receipt.placed_image_id)

    def consume(self, row: TransferRow) -> None:
        self._keys.consume(row.link, row.key_id)

    def burn(self, row: TransferRow, reason: str) -> list[UUID]:
        # By its owner: a key that went back unused may be another operation's by now.
        key = self._keys.held_by(row.link, row.transfer_id)
        if key is not None:
            self._keys.burn(row.link, key.key_id, reason)
        return self._keys.owned_by(row.link, row.transfer_id)

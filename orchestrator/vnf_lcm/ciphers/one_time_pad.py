"""A one-time pad of quantum keys (image_transfer/one_time_pad/FORMAT.md): for small, secret images.

The image is sealed once, into a file that is synced before the first byte leaves; then the pad is
erased, all but the block under which the receipt will be verified. A retry of the operation takes
a new pad; an attempt sends the same file again.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from uuid import UUID

from image_transfer.announcement import Attempt, KeySource
from image_transfer.one_time_pad import (
    PadAnnouncement,
    PadReceipt,
    content_bytes,
    pad_blocks,
    pad_commitment,
    seal_file,
    send_sealed_file,
    verify_pad_receipt,
)
from image_transfer.one_time_pad.layout import CHUNK_LOG2_DEFAULT
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
from orchestrator.errors import PadTooLargeError
from orchestrator.keys.service import KeyService
from orchestrator.store.tables import ImageRow, TransferRow
from orchestrator.vnf_lcm.ciphers.port import KEY_BIT, VerifiedReceipt
from orchestrator.vnf_lcm.progress import AttemptProgress
from orchestrator.vnf_lcm.records import LcmRecords, Work


class OneTimePadCipher:
    """As many key bits as the image has, and 32 bytes for each tag.

    `limit_bytes` is the largest image that policy lets a pad be spent on.
    """

    name = "one-time-pad"
    is_promised = True

    def __init__(
        self,
        records: LcmRecords,
        keys: KeyService,
        catalogue: Catalogue,
        folder: Path,
        *,
        sender_name: str,
        limit_bytes: int,
    ) -> None:
        self._records = records
        self._keys = keys
        self._catalogue = catalogue
        self._folder = folder
        self._sender_name = sender_name
        self._limit_bytes = limit_bytes

    def key_bits(self, image: ImageRow) -> int:
        return KEY_BIT * pad_blocks(content_bytes(image.size, image.vim_image_id))

    def check(self, image: ImageRow, link: str) -> None:
        if image.size > self._limit_bytes:
            raise PadTooLargeError(
                f"{image.name} has {image.size} bytes; a one-time pad is given to images of up to "
                f"{self._limit_bytes} bytes, since it uses up as many key bits as the image has.",
                next_step="Deploy it with the cipher aes-256-gcm, or raise pad_limit_bytes.",
                image_bytes=image.size,
                limit_bytes=self._limit_bytes,
            )
        capacity_bits = self._keys.pool(link).capacity_keys * KEY_BIT
        if self.key_bits(image) > capacity_bits:
            raise PadTooLargeError(
                f"{image.name} needs a pad of {self.key_bits(image)} bits; the pool of {link} "
                f"never holds more than {capacity_bits}.",
                next_step="Deploy it with the cipher aes-256-gcm, or raise key_capacity.",
                key_bits=self.key_bits(image),
            )

    def reserve(self, link: str, operation_id: UUID, image: ImageRow, key_mode: str) -> None:  # noqa: ARG002
        self._keys.reserve_pad(link, operation_id, self.key_bits(image) // KEY_BIT)

    def held(self, link: str, operation_id: UUID) -> list[KeyRecord]:
        return self._keys.pad_of(link, operation_id)

    def announcement(self, work: Work, row: TransferRow) -> ImageAnnouncement:
        blocks = self._blocks(row)
        return ImageAnnouncement(
            link=row.link,
            key_id=row.key_id,
            key_source=KeySourceClass.EMULATED if row.emulated_key else KeySourceClass.QUANTUM,
            sender=self._sender_name,
            suite=self.name,
            chunk_log2=CHUNK_LOG2_DEFAULT,
            image_digest=pad_commitment(blocks).hex(),
            image_size=content_bytes(row.image_size, row.vim_image_id),
            image_format=ImageFormat(work.image.format),
            vim_image_id="",
            pad_blocks=blocks,
        )

    def arm(self, work: Work, row: TransferRow) -> None:
        sealed, blocks = self._sealed(row), self._blocks(row)
        if not sealed.exists():
            self._keys.arm_pad(row.link, blocks, work.message)
            self._keys.with_blocks(
                row.link,
                blocks,
                work.message,
                lambda pad: seal_file(
                    sealed,
                    self._catalogue.file(row.image_digest),
                    self._pad_announcement(work, row, blocks),
                    pad,
                    image_digest=row.image_digest,
                    image_id=row.vim_image_id,
                ),
            )
        self._keys.consume_blocks(row.link, blocks[:-1])

    def send(
        self,
        connection: socket.socket,
        work: Work,
        row: TransferRow,
        ticket: Ticket,
        progress: AttemptProgress,
    ) -> None:
        before_image = content_bytes(0, row.vim_image_id)

        def image_bytes(content_sent: int) -> int:
            return min(row.image_size, max(0, content_sent - before_image))

        attempt = Attempt(ticket.attempt, ticket.start_chunk, bytes.fromhex(ticket.receiver_nonce))
        self._records.journal_pad_attempt(row.transfer_id, ticket.attempt)
        progress.begin(image_bytes(ticket.start_chunk << CHUNK_LOG2_DEFAULT))
        send_sealed_file(
            connection,
            self._sealed(row),
            self._pad_announcement(work, row, self._blocks(row)),
            attempt,
            progress=lambda content_sent: progress.at(image_bytes(content_sent)),
        )

    def notice(self, work: Work, row: TransferRow) -> Notice:  # noqa: ARG002
        return Notice(image_digest=pad_commitment(self._blocks(row)).hex(), key_id=row.key_id)

    def verify(self, work: Work, row: TransferRow, answer: ReceiptView) -> VerifiedReceipt:
        receipt = PadReceipt.decode(bytes.fromhex(answer.receipt))
        sealed_digest = hashlib.sha256(self._sealed(row).read_bytes()).digest()
        self._keys.with_blocks(
            row.link,
            self._blocks(row)[-1:],
            work.message,
            lambda key: verify_pad_receipt(
                receipt,
                key,
                row.transfer_id,
                content_bytes(row.image_size, row.vim_image_id),
                sealed_digest,
            ),
        )
        # The id came under the pad, so whoever holds the sealed file's digest placed that one.
        return VerifiedReceipt(receipt.encode(), answer.attempt, row.vim_image_id)

    def consume(self, row: TransferRow) -> None:
        self._keys.consume_blocks(row.link, self._blocks(row))
        self._sealed(row).unlink(missing_ok=True)

    def burn(self, row: TransferRow, reason: str) -> list[UUID]:
        self._keys.burn_pad(row.link, row.transfer_id, reason)
        self._sealed(row).unlink(missing_ok=True)
        return self._keys.owned_by(row.link, row.transfer_id)

    def _blocks(self, row: TransferRow) -> list[UUID]:
        return self._keys.blocks_of(row.link, row.transfer_id)

    def _sealed(self, row: TransferRow) -> Path:
        return self._folder / f"{row.transfer_id}.sealed"

    def _pad_announcement(
        self, work: Work, row: TransferRow, blocks: list[UUID]
    ) -> PadAnnouncement:
        return PadAnnouncement(
            transfer_id=row.transfer_id,
            content_size=content_bytes(row.image_size, row.vim_image_id),
            block_count=len(blocks),
            commitment=pad_commitment(blocks),
            key_source=KeySource.EMULATED if row.emulated_key else KeySource.QUANTUM,
            sender=self._sender_name,
            destination=work.deployment.data_centre,
        )

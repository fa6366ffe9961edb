"""Steps *announce*, *stream*, *place* and *notify*: the image's way under its key."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from image_transfer.announcement import Announcement, Attempt, KeySource
from image_transfer.errors import SourceError, TransferError
from image_transfer.receipt import Receipt, verify_receipt
from image_transfer.sender import send_image
from key_management.errors import KeyManagementError
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from nfv_stack.contract.schemas import (
    ImageAnnouncement,
    ImageFormat,
    KeySourceClass,
    Notice,
    Ticket,
    TransferState,
)
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import ReceiptError, TransferFailedError
from orchestrator.keys.service import KeyService
from orchestrator.store.tables import DeploymentRow, TransferRow
from orchestrator.vnf_lcm.progress import AttemptProgress, ProgressNotes
from orchestrator.vnf_lcm.records import LcmRecords, Work
from timekeeping import Clock

log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_VERDICT_WAIT_S = 20.0
_VERDICT_LOOK_S = 2.0
"""So much a stream costs at most that was dropped at the other end's very last moment."""
_LOOK_AGAIN = ("transfer-busy", "transfer-complete", "wrong-transfer-state")
_OVER = (TransferState.FAILED, TransferState.CANCELLED)
_PLACED = (TransferState.PLACED, TransferState.ACKNOWLEDGED)


class TransferEnds:
    """What all steps of a transfer share: the records, the key store, the data centres."""

    def __init__(
        self,
        records: LcmRecords,
        keys: KeyService,
        data_centres: DataCentres,
        *,
        sender_name: str,
    ) -> None:
        self.records = records
        self.keys = keys
        self.data_centres = data_centres
        self.sender_name = sender_name

    def slave(self, work: Work) -> SlaveClient:
        return self.slave_at(work.deployment)

    def slave_at(self, deployment: DeploymentRow) -> SlaveClient:
        return self.data_centres.named(deployment.data_centre).slave

    def transfer(self, operation_id: UUID) -> TransferRow:
        row = self.records.transfer(operation_id)
        if row is None:
            raise TransferFailedError(
                f"Operation {operation_id} has no transfer.",
                next_step="Start the deployment again.",
            )
        return row


class AnnounceStep:
    """Tell the data centre what comes, and under which key."""

    name = "announce"

    def __init__(self, ends: TransferEnds) -> None:
        self._ends = ends

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        view = self._ends.slave(work).announce(
            operation_id,
            ImageAnnouncement(
                link=row.link,
                key_id=row.key_id,
                key_source=(
                    KeySourceClass.EMULATED if row.emulated_key else KeySourceClass.QUANTUM
                ),
                sender=self._ends.sender_name,
                suite=row.cipher,
                image_digest=row.image_digest.hex(),
                image_size=row.image_size,
                image_format=ImageFormat(work.image.format),
                vim_image_id=row.vim_image_id,
            ),
        )
        if view.state in _OVER:
            raise TransferFailedError(
                f"{work.deployment.data_centre} gave transfer {operation_id} up: {view.error}",
                next_step="Start the deployment again; it takes a new key.",
            )
        return {"transfer_id": str(operation_id), "image_bytes": row.image_size}

    def undo(self, operation_id: UUID) -> None:
        # A key whose id was announced is burned at both ends, even if nothing was sealed under it:
        # the other end may be away now and hold it for this transfer for a while.
        row = self._ends.records.transfer(operation_id)
        if row is not None:
            self._ends.keys.burn(row.link, row.key_id, "its operation was rolled back")
        deployment = self._ends.records.deployment_of(operation_id)
        try:
            self._ends.slave_at(deployment).cancel(operation_id)
        except SlaveRefusedError as error:
            if error.problem.slug != "unknown-transfer":
                raise


@dataclass(frozen=True)
class StreamLimits:
    """When a stream that breaks is given up. All in seconds.

    `patience_s` counts from the last byte that arrived; pauses between attempts double up to
    `longest_pause_s`. `place_s` is how long the VIM may take once it has all bytes.
    """

    patience_s: float = 120.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0
    place_s: float = 600.0


class StreamStep:
    """Seal and send, in as many attempts as it takes, each at the receiver's mark."""

    name = "stream"

    def __init__(
        self,
        ends: TransferEnds,
        catalogue: Catalogue,
        notes: ProgressNotes,
        clock: Clock,
        closing: threading.Event,
        limits: StreamLimits,
    ) -> None:
        self._ends = ends
        self._catalogue = catalogue
        self._notes = notes
        self._clock = clock
        self._closing = closing
        self._limits = limits

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        self._ends.keys.arm(row.link, row.key_id, work.message)
        why = "no attempt was made"
        best_bytes, moved_s = 0, self._clock.monotonic()
        pause_s = self._limits.first_pause_s
        while self._clock.monotonic() - moved_s <= self._limits.patience_s:
            if self._is_placed(work, operation_id):
                return self._detail(row)
            progress = self._notes.of(operation_id)
            try:
                self._attempt(work, row, progress)
                self._await_verdict(work, operation_id)
                continue
            except SourceError:
                raise
            except SlaveRefusedError as error:
                if error.problem.slug not in _LOOK_AGAIN:
                    raise
                why = error.detail
            except (TransferError, SlaveUnreachableError, OSError) as error:
                why = str(error)
            log.warning("attempt ended", why=why, bytes_done=progress.bytes_done)
            if progress.bytes_done == row.image_size:
                self._await_verdict(work, operation_id)
                continue
            if progress.bytes_done > best_bytes:
                best_bytes, moved_s = progress.bytes_done, self._clock.monotonic()
                pause_s = self._limits.first_pause_s
            self._clock.wait(self._closing, pause_s)
            pause_s = min(2 * pause_s, self._limits.longest_pause_s)
        raise TransferFailedError(
            f"The image did not arrive; nothing moved for {self._limits.patience_s:g} s. "
            f"Last: {why}",
            next_step="Check the circuit and the data centre, then start the deployment again.",
        )

    def undo(self, operation_id: UUID) -> None:
        """Cancelling the announcement takes the rest away."""

    def _is_placed(self, work: Work, operation_id: UUID) -> bool:
        """What the data centre says; False also if it does not answer now."""
        try:
            view = self._ends.slave(work).transfer(operation_id)
        except SlaveUnreachableError:
            return False
        if view.state in _OVER:
            raise TransferFailedError(
                f"{work.deployment.data_centre} gave the transfer up: {view.error}",
                next_step="Start the deployment again; it takes a new key.",
            )
        return view.state in _PLACED

    def _attempt(self, work: Work, row: TransferRow, progress: AttemptProgress) -> None:
        """One attempt; it returns once the data centre has taken the stream as whole."""
        ticket = self._ends.slave(work).ticket(row.transfer_id)
        announcement = Announcement(
            transfer_id=row.transfer_id,
            image_digest=row.image_digest,
            image_size=row.image_size,
            key_id=row.key_id,
            key_source=KeySource.EMULATED if row.emulated_key else KeySource.QUANTUM,
            sender=self._ends.sender_name,
            destination=work.deployment.data_centre,
        )
        attempt = Attempt(ticket.attempt, ticket.start_chunk, bytes.fromhex(ticket.receiver_nonce))
        progress.begin(announcement.offset(ticket.start_chunk))
        with self._connect(ticket) as connection:
            report = send_image(
                connection,
                self._catalogue.file(row.image_digest),
                announcement,
                attempt,
                lambda header: self._ends.keys.derive(row.link, row.key_id, work.message, header),
                journal=self._ends.records.journal_attempt,
                progress=progress.at,
            )
        report.receipt_key.destroy()
        progress.note()

    @staticmethod
    def _connect(ticket: Ticket) -> socket.socket:
        connection = socket.create_connection(
            (ticket.intake_host, ticket.intake_port), timeout=_CONNECT_TIMEOUT_S
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _await_verdict(self, work: Work, operation_id: UUID) -> None:
        """All was sent: wait while the data centre still works on it."""
        deadline_s = self._clock.monotonic() + self._limits.place_s
        while self._clock.monotonic() < deadline_s:
            try:
                view = self._ends.slave(work).transfer(operation_id, wait_s=_VERDICT_LOOK_S)
            except SlaveUnreachableError:
                return
            if view.state in (*_PLACED, *_OVER) or not view.being_received:
                return

    def _detail(self, row: TransferRow) -> dict[str, Any]:
        fresh = self._ends.transfer(row.transfer_id)
        return {
            "bytes": row.image_size,
            "bytes_per_s": fresh.rate_bytes_per_s,
            "attempts": self._ends.records.attempts(row.transfer_id),
            "cipher": row.cipher,
        }


class PlaceStep:
    """The data centre's VIM holds the verified image."""

    name = "place"

    def __init__(self, ends: TransferEnds, *, place_timeout_s: float, clock: Clock) -> None:
        self._ends = ends
        self._place_timeout_s = place_timeout_s
        self._clock = clock

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        deadline_s = self._clock.monotonic() + self._place_timeout_s
        while True:
            view = self._ends.slave(work).transfer(operation_id, wait_s=_VERDICT_WAIT_S)
            if view.state in _PLACED:
                return {"vim_image_id": view.placed_image_id}
            if view.state in _OVER or self._clock.monotonic() > deadline_s:
                raise TransferFailedError(
                    f"{work.deployment.data_centre} did not place the image: "
                    f"{view.error or view.state.value}",
                    next_step="See the log of its slave stack, then start the deployment again.",
                )

    def undo(self, operation_id: UUID) -> None:
        """Cancelling the announcement takes the image away."""


class NotifyStep:
    """The paper's notice of image id and key id, answered by a signed receipt."""

    name = "notify"

    def __init__(self, ends: TransferEnds) -> None:
        self._ends = ends

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        answer = self._ends.slave(work).notify(
            operation_id, Notice(image_digest=row.image_digest.hex(), key_id=row.key_id)
        )
        try:
            receipt = Receipt.decode(bytes.fromhex(answer.receipt))
            self._verify(work, row, receipt)
        except (TransferError, KeyManagementError, ValueError) as error:
            raise ReceiptError(
                f"The receipt of {work.deployment.data_centre} does not hold: {error}",
                next_step="Distrust what it placed; start the deployment again with a new key.",
            ) from error
        self._ends.records.set_receipt(operation_id, receipt.encode())
        return {
            "attempt": receipt.attempt,
            "placed_image_id": receipt.placed_image_id,
            "receipt": "verified",
        }

    def undo(self, operation_id: UUID) -> None:
        """A receipt is a record; it stays."""

    def _verify(self, work: Work, row: TransferRow, receipt: Receipt) -> None:
        header = self._ends.records.attempt_header(row.transfer_id, receipt.attempt)
        if header is None or receipt.placed_image_id != row.vim_image_id:
            raise ReceiptError(
                f"it names attempt {receipt.attempt} and image {receipt.placed_image_id}",
                next_step="",
            )
        keys = self._ends.keys.derive(row.link, row.key_id, work.message, header)
        try:
            verify_receipt(receipt, keys.receipt_key, header)
        finally:
            keys.destroy()

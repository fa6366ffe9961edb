"""The transfers of this data centre, from the announcement to the erased key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from image_transfer.errors import (
    SinkFailed,
    TransferComplete,
    TransferError,
    TransferPoisoned,
)
from image_transfer.receiver import ReceiverLimits
from key_management.errors import KeyManagementError
from key_management.ledger import KeyLedger
from nfv_stack.contract.disk_image import is_disk_format, is_disk_id
from nfv_stack.contract.normal_archive import is_image_id
from nfv_stack.contract.schemas import (
    Cancellation,
    ImageAnnouncement,
    ImageFormat,
    KeySourceClass,
    Notice,
    ReceiptView,
    Ticket,
    TransferState,
    TransferView,
)
from nfv_stack.errors import (
    AnnouncementConflictError,
    ImageFormatRefusedError,
    QuotaExceededError,
    TransferStateError,
    UnknownLinkError,
    UnknownTransferError,
    VimError,
)
from nfv_stack.image_intake.inspectors import open_inspector
from nfv_stack.image_intake.placement import PlacementSink
from nfv_stack.image_intake.suites import (
    Arrived,
    IntakeSuite,
    OneTimePadSuite,
    Reception,
    SealedStreamSuite,
)
from nfv_stack.store.tables import TransferRow
from nfv_stack.store.transfers import TransferStore, at_least
from nfv_stack.vim.port import ImageSpec, Vim
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_BEFORE_PLACED = (TransferState.ANNOUNCED, TransferState.RECEIVING)
_CLOSE_TIMEOUT_S = 10.0
_UNSAID = "It failed here; what came under a one-time pad is not told. See this data centre's log."


@dataclass(frozen=True)
class IntakeRules:
    """What this data centre takes. `advertised` is the address that senders are told."""

    data_centre: str
    links: frozenset[str]
    quota_bytes: int
    stall_timeout_s: float
    accept_emulated_keys: bool


class ImageIntake:
    """Keeps the transfers. Thread-safe; all requests can be repeated."""

    def __init__(
        self,
        rules: IntakeRules,
        store: TransferStore,
        ledger: KeyLedger,
        vim: Vim,
        clock: Clock,
    ) -> None:
        self.rules = rules
        self._store = store
        self._ledger = ledger
        self._vim = vim
        self._clock = clock
        self._changed = threading.Condition()
        self._changes = 0
        self._receiving_now = 0
        self._reception: dict[UUID, Reception] = {}
        limits = ReceiverLimits(
            quota_bytes=rules.quota_bytes, record_timeout_s=rules.stall_timeout_s
        )
        suites: list[IntakeSuite] = [
            SealedStreamSuite(ledger, rules.data_centre, limits),
            OneTimePadSuite(ledger, rules.data_centre, limits),
        ]
        self._suites = {suite.name: suite for suite in suites}
        # Whether an image is needed is asked, and acted on, while nobody announces one.
        self._images = threading.Lock()
        self._address: tuple[str, int] = ("", 0)

    @property
    def suites(self) -> dict[bytes, IntakeSuite]:
        """The suites by the first bytes of their connections."""
        return {suite.magic: suite for suite in self._suites.values()}

    def listen_at(self, host: str, port: int) -> None:
        """Tell senders to connect there from now on."""
        self._address = (host, port)

    # --- control channel ------------------------------------------------------------------------

    def announce(self, transfer_id: UUID, announced: ImageAnnouncement) -> TransferView:
        """Take note of an image that will come, and reserve its key at this end."""
        self._check(announced)
        with self._images:
            row = self._store.add(self._announced(transfer_id, announced))
        if row.state == TransferState.ANNOUNCED:
            self._reserve_key(row)
        return self._view(self._store.get(transfer_id))

    def _announced(self, transfer_id: UUID, announced: ImageAnnouncement) -> TransferRow:
        return TransferRow(
            transfer_id=transfer_id,
            link=announced.link,
            key_id=announced.key_id,
            key_source=announced.key_source.value,
            sender=announced.sender,
            suite=announced.suite,
            chunk_log2=announced.chunk_log2,
            image_digest=bytes.fromhex(announced.image_digest),
            image_size=announced.image_size,
            image_format=announced.image_format.value,
            vim_image_id=announced.vim_image_id,
            pad_blocks=[block.hex for block in announced.pad_blocks] or None,
            state=TransferState.ANNOUNCED.value,
            attempts=0,
            image_was_present=self._is_somebody_elses(announced.vim_image_id),
        )

    def _is_somebody_elses(self, image_id: str) -> bool:
        """Whether the VIM holds this image, and none of our transfers brought it: a crash may have
        left it there before it had its tag."""
        return (
            bool(image_id) and self._vim.has_image(image_id) and not self._store.brought(image_id)
        )

    def _suite(self, row: TransferRow) -> IntakeSuite:
        return self._suites[row.suite]

    def _reserve_key(self, row: TransferRow) -> None:
        try:
            self._suite(row).reserve(row)
        except (KeyManagementError, AnnouncementConflictError) as error:
            self._fail(row.transfer_id, error)
            raise
        if self._store.get(row.transfer_id).state not in _BEFORE_PLACED:
            # Cancelled while the key was being reserved.
            self._burn_key(row, "transfer is over")

    def _burn_key(self, row: TransferRow, reason: str) -> None:
        """Give up the key of a transfer that ends without its image. The other end burns it too,
        used or not, so nobody would ever ask for it again."""
        self._suite(row).burn(row, reason)
        self._ledger.destroy_drained_epochs()

    def _burn_given_up(self, transfer_id: UUID, given_up: Cancellation | None) -> None:
        """Burn what only the sender counts to the transfer: its announcement never came here, or
        came and a crash cut off that the keys were reserved."""
        if given_up is not None:
            reason = "transfer cancelled before its keys were reserved"
            self._ledger.burn_for(given_up.link, given_up.key_ids, transfer_id, reason)
            self._ledger.destroy_drained_epochs()

    def view(self, transfer_id: UUID, *, wait_s: float = 0.0) -> TransferView:
        """The transfer now; with `wait_s`, once it is placed or over, or after that time."""
        deadline_s = self._clock.monotonic() + wait_s
        while True:
            with self._changed:
                seen = self._changes
            row = self._store.get(transfer_id)
            left_s = deadline_s - self._clock.monotonic()
            if row.state not in _BEFORE_PLACED or left_s <= 0:
                return self._view(row)
            with self._changed:
                self._changed.wait_for(lambda seen=seen: self._changes != seen, left_s)  # type: ignore[misc]

    def ticket(self, transfer_id: UUID) -> Ticket:
        """Leave for one attempt; every older one is void."""
        row = self._store.get(transfer_id)
        self._refuse_when_over(row)
        self._suite(row).arm(row)
        reception = self._receiving(row)
        try:
            attempt = reception.issue_attempt()
        except TransferComplete:
            # Verified, and about to be placed on record.
            self._refuse_when_over(self._settled(transfer_id))
            raise
        except TransferPoisoned as error:
            self._end_reception(reception, transfer_id, error)
            raise
        # The number is on record before anybody may use it, so that it never comes twice.
        try:
            self._store.change(
                transfer_id,
                _BEFORE_PLACED,
                state=TransferState.RECEIVING.value,
                attempts=at_least(attempt.number),
            )
        except TransferStateError:
            self._drop_reception(transfer_id)  # cancelled meanwhile
            raise
        host, port = self._address
        return Ticket(
            attempt=attempt.number,
            start_chunk=attempt.start_chunk,
            receiver_nonce=attempt.receiver_nonce.hex(),
            intake_host=host,
            intake_port=port,
        )

    def _settled(self, transfer_id: UUID, timeout_s: float = 10.0) -> TransferRow:
        self.view(transfer_id, wait_s=timeout_s)
        return self._store.get(transfer_id)

    @staticmethod
    def _refuse_when_over(row: TransferRow) -> None:
        if row.state not in _BEFORE_PLACED:
            raise TransferStateError(
                f"Transfer {row.transfer_id} is {row.state}. {row.error or ''}".strip(),
                next_step="Ask for the receipt if it is PLACED; otherwise start a new operation.",
                state=row.state,
            )

    def notify(self, transfer_id: UUID, notice: Notice) -> ReceiptView:
        """The paper's notice of image id and key id; answered by the stored receipt."""
        row = self._store.get(transfer_id)
        if (row.image_digest.hex(), row.key_id) != (notice.image_digest, notice.key_id):
            raise AnnouncementConflictError(
                f"Transfer {transfer_id} was announced with another image or key.",
                next_step="Name the image and the key of the announcement.",
            )
        if row.receipt is None:
            raise TransferStateError(
                f"Transfer {transfer_id} is {row.state}: no verified image, so no receipt.",
                next_step="Wait until it is PLACED.",
                state=row.state,
            )
        return ReceiptView(receipt=row.receipt.hex(), attempt=row.attempts)

    def acknowledge(self, transfer_id: UUID) -> TransferView:
        """The orchestrator has its receipt and its instance: erase the key."""
        row = self._store.change(
            transfer_id,
            (TransferState.PLACED, TransferState.ACKNOWLEDGED),
            state=TransferState.ACKNOWLEDGED.value,
        )
        self._suite(row).consume(row)
        self._ledger.destroy_drained_epochs()
        return self._view(row)

    def cancel(self, transfer_id: UUID, given_up: Cancellation | None = None) -> TransferView:
        """Give the transfer up: nothing of it stays, and its key burns.

        Instances that run its image must be removed first. Repeating it repeats the tidying, which
        a crash or an unreachable VIM may have cut off. A transfer that was never announced is
        remembered as cancelled, so that an announcement that comes late changes nothing, and what
        its sender has `given_up` burns; that raises UnknownTransferError.
        """
        try:
            self._store.get(transfer_id)
        except UnknownTransferError:
            self._store.add_cancelled(transfer_id)
            if not self._store.get(transfer_id).link:
                self._burn_given_up(transfer_id, given_up)
                raise
        self._drop_reception(transfer_id)
        row = self._store.change(
            transfer_id,
            tuple(TransferState),
            state=TransferState.CANCELLED.value,
            receipt=None,
        )
        self._announce_change()
        if row.link:
            self._drop_reception(transfer_id)  # a ticket may have been issued in between
            self._burn_key(row, "transfer cancelled")
            self._remove_image_if_unneeded(row)
        self._burn_given_up(transfer_id, given_up)
        return self._view(row)

    def release_image(
        self, row: TransferRow, instance_id: UUID, forget: Callable[[], None]
    ) -> None:
        """An instance of this transfer's image is gone: `forget` it, and before that remove the
        image if nothing else needs it. Repeatable until it was forgotten."""
        with self._images:
            # A transfer may have been cancelled while its instance could not be removed yet.
            if row.state in (TransferState.ACKNOWLEDGED, TransferState.CANCELLED):
                self._remove_unneeded(row, but_not_for=instance_id)
            forget()

    def _remove_image_if_unneeded(self, row: TransferRow) -> None:
        """Remove what this transfer brought, unless it was here before or others need it."""
        with self._images:
            self._remove_unneeded(row)

    def _remove_unneeded(self, row: TransferRow, *, but_not_for: UUID | None = None) -> None:
        image = row.id_of_image
        if image and not self._store.image_is_needed(
            image, but_not_by=row.transfer_id, but_not_for=but_not_for
        ):
            self._vim.remove_image(image, found_here=row.image_was_present)
            self._store.note_removed(image)

    # --- data channel ---------------------------------------------------------------------------

    def receive(self, connection: socket.socket, transfer_id: UUID, opening: Any) -> None:
        """Receive one connection that began with `opening` (nothing in it is verified yet)."""
        with self._changed:
            self._receiving_now += 1
        try:
            self._receive(connection, transfer_id, opening)
        finally:
            with self._changed:
                self._receiving_now -= 1
                self._changed.notify_all()

    def _receive(self, connection: socket.socket, transfer_id: UUID, opening: Any) -> None:
        with self._changed:
            reception = self._reception.get(transfer_id)
        if reception is None:
            raise TransferStateError(
                f"No ticket of transfer {transfer_id} is valid here.",
                next_step="Ask for a ticket on the control channel.",
            )
        try:
            arrived = reception.receive(connection, opening)
        except TransferPoisoned as error:
            self._end_reception(reception, transfer_id, error)
            raise
        except TransferError as error:
            log.warning("attempt ended", transfer=str(transfer_id), why=error.detail)
            raise
        try:
            self._record_placed(transfer_id, arrived)
        finally:
            # If the record could not be made, the next ticket begins at chunk 0.
            self._forget(reception, transfer_id)

    def _record_placed(self, transfer_id: UUID, arrived: Arrived) -> None:
        self._store.change(
            transfer_id,
            _BEFORE_PLACED,
            state=TransferState.PLACED.value,
            placed_image_id=arrived.placed_image_id,
            receipt=arrived.receipt,
        )
        log.info("image placed", transfer=str(transfer_id), image=arrived.placed_image_id)
        self._announce_change()

    def close(self) -> None:
        """End every stream; what was received so far is given up, and can begin again later."""
        with self._changed:
            open_ones = list(self._reception)
        for transfer_id in open_ones:
            self._drop_reception(transfer_id)
        with self._changed:
            self._changed.wait_for(lambda: not self._receiving_now, _CLOSE_TIMEOUT_S)

    # --- inside ---------------------------------------------------------------------------------

    def _check(self, announced: ImageAnnouncement) -> None:
        rules = self.rules
        if announced.link not in rules.links:
            raise UnknownLinkError(
                f"{rules.data_centre} has no QKD link {announced.link}.",
                next_step=f"Use one of: {', '.join(sorted(rules.links)) or 'none is configured'}.",
            )
        formats = self._vim.describe().image_formats
        if announced.image_format not in formats:
            raise ImageFormatRefusedError(
                f"The VIM of {rules.data_centre} runs no {announced.image_format.value} images.",
                next_step=f"It takes: {', '.join(sorted(formats))}. Choose such an image, "
                "or a data centre whose VIM runs virtual machines.",
            )
        if announced.image_size > rules.quota_bytes:
            raise QuotaExceededError(
                f"The image has {announced.image_size} bytes, "
                f"{rules.data_centre} takes {rules.quota_bytes}.",
                next_step="Deploy a smaller image or raise intake.quota_bytes.",
            )
        if announced.suite not in self._suites:
            raise AnnouncementConflictError(
                f"The suite {announced.suite!r} is not known here.",
                next_step=f"Use one of: {', '.join(sorted(self._suites))}.",
            )
        self._suites[announced.suite].check(announced)
        if announced.vim_image_id or not announced.pad_blocks:
            _check_image_id(announced.image_format, announced.vim_image_id)
        if announced.key_source is KeySourceClass.EMULATED and not rules.accept_emulated_keys:
            raise AnnouncementConflictError(
                f"{rules.data_centre} refuses emulated keys: no photon made them.",
                next_step="Use keys of a real QKD link, or a laboratory's profile.",
            )

    def _receiving(self, row: TransferRow) -> Reception:
        with self._changed:
            reception = self._reception.get(row.transfer_id)
            if reception is not None and not reception.can_begin_again:
                return reception
            fresh = self._new_reception(self._store.get(row.transfer_id))
            self._reception[row.transfer_id] = fresh
        if reception is not None:
            reception.abandon()  # its connection, if it still has one
        return fresh

    def _new_reception(self, row: TransferRow) -> Reception:
        def open_sink(digest: bytes, image_id: str, size: int) -> PlacementSink:
            opened = row if image_id == row.vim_image_id else self._opened(row, digest, image_id)
            spec = ImageSpec(
                digest,
                size,
                ImageFormat(row.image_format),
                image_id,
                found_here=opened.image_was_present,
            )
            return PlacementSink(
                self._vim,
                spec,
                open_inspector(spec),
                discard=lambda: self._remove_image_if_unneeded(opened),
                stall_timeout_s=self.rules.stall_timeout_s,
            )

        return self._suite(row).reception(row, open_sink)

    def _opened(self, row: TransferRow, digest: bytes, image_id: str) -> TransferRow:
        """Digest and id came under the pad: they are checked and put on record before placing."""
        _check_image_id(ImageFormat(row.image_format), image_id)
        with self._images:
            known = self._store.get(row.transfer_id)
            if known.opened_image_id == image_id:
                return known  # opened before a crash: what is there now may be ours already
            return self._store.change(
                row.transfer_id,
                _BEFORE_PLACED,
                opened_digest=digest,
                opened_image_id=image_id,
                image_was_present=self._is_somebody_elses(image_id),
            )

    def _end_reception(
        self, reception: Reception, transfer_id: UUID, error: TransferPoisoned
    ) -> None:
        """The receiver is over. That ends the transfer, unless it was ended on purpose before, or
        for a reason of the moment: then the next ticket begins at chunk 0."""
        if not self._forget(reception, transfer_id):
            return
        reception.abandon()
        reception.join()
        if isinstance(error, SinkFailed) and reception.can_begin_again:
            log.warning("stream given up", transfer=str(transfer_id), why=error.detail)
            return
        self._fail(transfer_id, error)

    def _fail(self, transfer_id: UUID, error: ProblemError) -> None:
        try:
            row = self._store.change(
                transfer_id, _BEFORE_PLACED, state=TransferState.FAILED.value, error=str(error)
            )
        except TransferStateError:
            return  # it ended in another way meanwhile
        log.error("transfer failed", transfer=str(transfer_id), why=str(error))
        self._announce_change()
        self._burn_key(row, "transfer failed")
        try:
            self._remove_image_if_unneeded(row)
        except VimError as left:
            # The orchestrator cancels what failed, and that tidies once more.
            log.warning("image not removed yet", transfer=str(transfer_id), why=str(left))

    def _forget(self, reception: Reception, transfer_id: UUID) -> bool:
        """Whether `reception` was the transfer's current one until now."""
        with self._changed:
            if self._reception.get(transfer_id) is not reception:
                return False
            del self._reception[transfer_id]
            return True

    def _drop_reception(self, transfer_id: UUID) -> None:
        with self._changed:
            reception = self._reception.pop(transfer_id, None)
        if reception is not None:
            reception.abandon()
            reception.join()

    def _announce_change(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def _view(self, row: TransferRow) -> TransferView:
        with self._changed:
            reception = self._reception.get(row.transfer_id)
        received = reception.bytes_done if reception is not None else 0
        if row.placed_image_id is not None:
            received = row.image_size
        hidden = row.suite in self._suites and self._suites[row.suite].hides_content
        return TransferView(
            transfer_id=row.transfer_id,
            state=TransferState(row.state),
            received_bytes=received,
            being_received=reception is not None and reception.is_receiving,
            attempts=row.attempts,
            placed_image_id=None if hidden else row.placed_image_id,
            error=_UNSAID if hidden and row.error else row.error,
        )


def _check_image_id(image_format: ImageFormat, image_id: str) -> None:
    if image_format is ImageFormat.DOCKER_ARCHIVE and not is_image_id(image_id):
        raise AnnouncementConflictError(
            f"The id of a container image is sha256: and 64 hex digits; {image_id[:80]!r} is none.",
            next_step="Announce the id that the catalogue tells.",
        )
    if is_disk_format(image_format) and not is_disk_id(image_id):
        raise AnnouncementConflictError(
            f"The id of a disk is blake3: and 64 hex digits; {image_id[:80]!r} is none.",
            next_step="Announce the id that the catalogue tells.",
        )

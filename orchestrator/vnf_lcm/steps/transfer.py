"""Steps *announce*, *stream*, *place* and *notify*: the image's way under its key."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from image_transfer.errors import SourceError, TransferError
from key_management.errors import KeyManagementError
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from nfv_stack.contract.schemas import Cancellation, Ticket, TransferState
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import ReceiptError, TransferFailedError
from orchestrator.store.tables import DeploymentRow, TransferRow
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.progress import AttemptProgress, ProgressNotes
from orchestrator.vnf_lcm.records import LcmRecords, Work
from orchestrator.workflow.cancellation import Cancellations
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
    """What all steps of a transfer share: the records, the ciphers, the data centres."""

    def __init__(
        self, records: LcmRecords, ciphers: Mapping[str, Cipher], data_centres: DataCentres
    ) -> None:
        self.records = records
        self.ciphers = ciphers
        self.data_centres = data_centres

    def cipher(self, row: TransferRow) -> Cipher:
        return self.ciphers[row.cipher]

    def slave(self, work: Work) -> SlaveClient:
        return self.slave_at(work.deployment)

    def slave_at(self, deployment: DeploymentRow) -> SlaveClient:
        return self.data_centres.named(deployment.data_centre).slave

    def transfer(self, operation_id: UUID) -> TransferRow:
        row = self.records.transfer_of(operation_id)
        if row is None:
            raise TransferFailedError(
                f"Operation {operation_id} has no transfer.",
                next_step="Start the deployment again.",
            )
        return row

    def give_up(self, row: TransferRow, deployment: DeploymentRow, reason: str) -> None:
        """Burn the keys of a transfer at both ends and have the data centre drop it.

        A key whose id was announced is burned even if nothing was sealed under it: the other end
        may be away now and hold it for this transfer for a while. That end is told which they are,
        since it may never have heard of the transfer.
        """
        given_up = Cancellation(link=row.link, key_ids=self.cipher(row).burn(row, reason))
        try:
            self.slave_at(deployment).cancel(row.transfer_id, given_up)
        except SlaveRefusedError as error:
            if error.problem.slug != "unknown-transfer":
                raise
        self.records.note_cancelled(row.transfer_id)


class AnnounceStep:
    """Tell the data centre what comes, and under which key."""

    name = "announce"

    def __init__(self, ends: TransferEnds) -> None:
        self._ends = ends

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        for earlier in self._ends.records.transfers_to_cancel(operation_id):
            if earlier.transfer_id != row.transfer_id:
                self._ends.give_up(earlier, work.deployment, "its try failed")
        view = self._ends.slave(work).announce(
            row.transfer_id, self._ends.cipher(row).announcement(work, row)
        )
        if view.state in _OVER:
            raise TransferFailedError(
                f"{work.deployment.data_centre} gave transfer {row.transfer_id} up: {view.error}",
                next_step="Start the deployment again; it takes a new key.",
            )
        return {"transfer_id": str(row.transfer_id), "image_bytes": row.image_size}

    def undo(self, operation_id: UUID) -> None:
        deployment = self._ends.records.deployment_of(operation_id)
        for row in self._ends.records.transfers_to_cancel(operation_id):
            self._ends.give_up(row, deployment, "its operation failed")


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
        notes: ProgressNotes,
        clock: Clock,
        cancellations: Cancellations,
        limits: StreamLimits,
    ) -> None:
        self._ends = ends
        self._notes = notes
        self._clock = clock
        self._cancellations = cancellations
        self._limits = limits

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        row = self._ends.transfer(operation_id)
        self._ends.cipher(row).arm(work, row)
        wish = self._cancellations.wish(operation_id)
        why = "no attempt was made"
        best_bytes, moved_s = 0, self._clock.monotonic()
        pause_s = self._limits.first_pause_s
        while self._clock.monotonic() - moved_s <= self._limits.patience_s:
            self._cancellations.check(operation_id)
            if self._is_placed(work):
                return self._detail(operation_id, row)
            progress = self._notes.of(operation_id, row.transfer_id)
            try:
                self._attempt(work, row, progress)
                self._await_verdict(work)
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
                self._await_verdict(work)
                continue
            if progress.bytes_done > best_bytes:
                best_bytes, moved_s = progress.bytes_done, self._clock.monotonic()
                pause_s = self._limits.first_pause_s
            self._clock.wait(wish, pause_s)
            pause_s = min(2 * pause_s, self._limits.longest_pause_s)
        raise TransferFailedError(
            f"The image did not arrive; nothing moved for {self._limits.patience_s:g} s. "
            f"Last: {why}",
            next_step="Check the circuit and the data centre, then start the deployment again.",
        )

    def undo(self, operation_id: UUID) -> None:
        """Cancelling the announcement takes the rest away."""

    def _is_placed(self, work: Work) -> bool:
        """What the data centre says; False also if it does not answer now."""
        try:
            view = self._ends.slave(work).transfer(work.transfer_id)
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
        with (
            self._connect(ticket) as connection,
            self._cancellations.ending(
                work.operation_id, lambda: connection.shutdown(socket.SHUT_RDWR)
            ),
        ):
            self._ends.cipher(row).send(connection, work, row, ticket, progress)
        progress.note()

    @staticmethod
    def _connect(ticket: Ticket) -> socket.socket:
        connection = socket.create_connection(
            (ticket.intake_host, ticket.intake_port), timeout=_CONNECT_TIMEOUT_S
        )
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _await_verdict(self, work: Work) -> None:
        """All was sent: wait while the data centre still works on it."""
        deadline_s = self._clock.monotonic() + self._limits.place_s
        while self._clock.monotonic() < deadline_s:
            self._cancellations.check(work.operation_id)
            try:
                view = self._ends.slave(work).transfer(work.transfer_id, wait_s=_VERDICT_LOOK_S)
            except SlaveUnreachableError:
                return
            if view.state in (*_PLACED, *_OVER) or not view.being_received:
                return

    def _detail(self, operation_id: UUID, row: TransferRow) -> dict[str, Any]:
        fresh = self._ends.transfer(operation_id)
        return {
            "bytes": row.image_size,
            "bytes_per_s": fresh.rate_bytes_per_s,
            "attempts": self._ends.records.attempts(row.transfer_id),
            "cipher": row.cipher,
        }


class PlaceStep:
    """The data centre's VIM holds the verified image."""

    name = "place"

    def __init__(
        self,
        ends: TransferEnds,
        cancellations: Cancellations,
        *,
        place_timeout_s: float,
        clock: Clock,
    ) -> None:
        self._ends = ends
        self._cancellations = cancellations
        self._place_timeout_s = place_timeout_s
        self._clock = clock

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._ends.records.work(operation_id)
        slave = self._ends.slave(work)
        deadline_s = self._clock.monotonic() + self._place_timeout_s
        while True:
            with self._cancellations.ending(operation_id, lambda: slave.cancel(work.transfer_id)):
                view = slave.transfer(work.transfer_id, wait_s=_VERDICT_WAIT_S)
            if view.state in _PLACED:
                # A pad's data centre does not say it: what it is came under the pad.
                expected = self._ends.transfer(operation_id).vim_image_id
                return {"vim_image_id": view.placed_image_id or expected}
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
        cipher = self._ends.cipher(row)
        answer = self._ends.slave(work).notify(row.transfer_id, cipher.notice(work, row))
        try:
            receipt = cipher.verify(work, row, answer)
        except (TransferError, KeyManagementError, ValueError) as error:
            raise ReceiptError(
                f"The receipt of {work.deployment.data_centre} does not hold: {error}",
                next_step="Distrust what it placed; start the deployment again with a new key.",
            ) from error
        self._ends.records.set_receipt(row.transfer_id, receipt.encoded)
        return {
            "attempt": receipt.attempt,
            "placed_image_id": receipt.placed_image_id,
            "receipt": "verified",
        }

    def undo(self, operation_id: UUID) -> None:
        """A receipt is a record; it stays."""

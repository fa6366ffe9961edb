"""Bytes that left, noted a few times a second: for people, not for correctness."""

from __future__ import annotations

from uuid import UUID

from orchestrator.events.bus import EventBus, OperationChanged
from orchestrator.vnf_lcm.records import LcmRecords
from timekeeping import Clock

_EVERY_S = 0.2


class ProgressNotes:
    """Makes a progress note taker for each attempt."""

    def __init__(self, records: LcmRecords, bus: EventBus, clock: Clock) -> None:
        self._records = records
        self._bus = bus
        self._clock = clock

    def of(self, operation_id: UUID, transfer_id: UUID) -> AttemptProgress:
        return AttemptProgress(self._records, self._bus, self._clock, operation_id, transfer_id)


class AttemptProgress:
    """Progress of one attempt. `bytes_done` counts from the beginning of the image."""

    def __init__(
        self,
        records: LcmRecords,
        bus: EventBus,
        clock: Clock,
        operation_id: UUID,
        transfer_id: UUID,
    ) -> None:
        self._records = records
        self._bus = bus
        self._clock = clock
        self._operation_id = operation_id
        self._transfer_id = transfer_id
        self.bytes_done = 0
        self.begin(0)

    def begin(self, at_bytes: int) -> None:
        """The attempt begins at this byte of the image."""
        self.bytes_done = at_bytes
        self._began_at = at_bytes
        self._started_s = self._clock.monotonic()
        self._noted_s = self._started_s

    def at(self, bytes_done: int) -> None:
        """Called after each chunk."""
        self.bytes_done = bytes_done
        if self._clock.monotonic() - self._noted_s >= _EVERY_S:
            self.note()

    def note(self) -> None:
        """Write down where it stands and how fast it went."""
        self._noted_s = self._clock.monotonic()
        elapsed_s = self._noted_s - self._started_s
        rate = (self.bytes_done - self._began_at) / elapsed_s if elapsed_s > 0 else None
        self._records.set_progress(self._operation_id, self._transfer_id, self.bytes_done, rate)
        self._bus.publish(OperationChanged(self._operation_id))

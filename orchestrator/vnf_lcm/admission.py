"""When an operation may begin: once both ends hold a key for it and ports are free.

A waiting operation is a row: no thread, and while it waits for a key, no circuit. It is looked at
again whenever keys come in or a circuit is released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from key_management.errors import NoKeyAvailableError
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import CircuitWaitError, KeyWaitError, UnknownDataCentreError
from orchestrator.keys.service import KeyService
from orchestrator.network.circuits import TransferCircuits
from orchestrator.statuses import problem_of
from orchestrator.store.tables import OperationRow
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.promises import Promises
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import ADMISSIBLE, OnFailure, OperationState, StepState
from orchestrator.workflow.journal import OperationJournal
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Waits:
    """Why an operation may not begin yet."""

    state: OperationState
    step: str
    reason: str


class Admission:
    """Decides, and reserves what an admitted operation needs."""

    def __init__(
        self,
        journal: OperationJournal,
        records: LcmRecords,
        keys: KeyService,
        ciphers: Mapping[str, Cipher],
        circuits: TransferCircuits,
        data_centres: DataCentres,
        clock: Clock,
        *,
        promises: Promises,
        wake_schedule: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._records = records
        self._keys = keys
        self._ciphers = ciphers
        self._circuits = circuits
        self._data_centres = data_centres
        self._clock = clock
        self._promises = promises
        self._wake_schedule = wake_schedule

    def admit(self, operation: OperationRow) -> bool:
        """True if the operation may run now. A refused or timed out one is ended here."""
        operation_id = operation.operation_id
        if not self._needs_key(operation_id):
            return True
        try:
            waits = self._reserve(operation)
        except ProblemError as error:
            self._end(operation, error)
            return False
        if waits is None:
            return True
        if operation.wait_until is not None and self._clock.now() >= operation.wait_until:
            kind = KeyWaitError if waits.step == "key" else CircuitWaitError
            self._end(
                operation,
                kind(
                    f"It waited as long as it was told to. {waits.reason}",
                    next_step="Deploy again with a longer limit, or see `qnfv schedule show`.",
                ),
            )
            return False
        if operation.state != waits.state:
            self._journal.move(operation_id, waits.state, allowed=ADMISSIBLE)
            self._journal.step_waits(operation_id, waits.step, {"waits": waits.reason})
        if waits.state is OperationState.WAITING_FOR_KEY:
            self._wake_schedule()
        return False

    def waiting_for_keys(self, link: str) -> int:
        """How many operations wait for a key of this link."""
        here = {dc.name for dc in self._data_centres.all() if dc.link == link}
        return sum(
            self._records.deployment_of(operation.operation_id).data_centre in here
            for operation in self._journal.in_states((OperationState.WAITING_FOR_KEY,))
        )

    def withdraw(self, operation: OperationRow) -> None:
        """Give back whatever was reserved for an operation that will not run."""
        self._promises.promise_withdrawn(operation.operation_id)
        self._circuits.release(operation.operation_id)
        if operation.state in ADMISSIBLE and not self._needs_key(operation.operation_id):
            return  # what waits here is a retry, and the key is that of an image which arrived
        self._keys.release(
            self._link(operation.operation_id), operation.transfer_id, "the operation was ended"
        )

    def give_back_of_ended(self) -> None:
        """Take what is reserved for operations that are over.

        Nothing should be; but a process that is stopped while it reserves may go on when another
        replica has long since brought the operation to its end, and then die.
        """
        try:
            holders, promised = self._circuits.holders(), self._keys.promised_to()
            ended = self._journal.ended_of(holders, promised) if holders or promised else []
            if not ended:
                return
            # Looked at again: most of them have given back what they held before they ended.
            holders, promised = self._circuits.holders(), self._keys.promised_to()
            for operation in ended:
                if operation.operation_id in holders or operation.transfer_id in promised:
                    log.warning(
                        "an operation that is over held something",
                        operation=str(operation.operation_id),
                    )
                    self.withdraw(operation)
        except SQLAlchemyError as error:
            log.error("what ended operations hold cannot be read", why=str(error))

    def _needs_key(self, operation_id: UUID) -> bool:
        """Whether an image has to travel: not where it arrived in an earlier try."""
        return any(
            step.name == "key" and step.state != StepState.DONE
            for step in self._journal.steps(operation_id)
        )

    def _reserve(self, operation: OperationRow) -> Waits | None:
        work = self._records.work(operation.operation_id)
        data_centre = self._data_centres.named(work.deployment.data_centre)
        cipher = self._ciphers[work.deployment.cipher]
        try:
            cipher.reserve(data_centre.link, work.transfer_id, work.image, work.deployment.key_mode)
        except NoKeyAvailableError as error:
            return Waits(OperationState.WAITING_FOR_KEY, "key", error.detail)
        if cipher.is_promised:
            self._promises.promise_kept(operation.operation_id)
        not_free = self._circuits.reserve(
            operation.operation_id, data_centre.name, requested_at=operation.created_at
        )
        if not_free is not None:
            return Waits(OperationState.WAITING_CIRCUIT, "circuit", not_free.reason)
        return None

    def _end(self, operation: OperationRow, error: ProblemError) -> None:
        self.withdraw(operation)
        held = operation.on_failure == OnFailure.HOLD
        self._journal.move(
            operation.operation_id,
            OperationState.FAILED_TEMP if held else OperationState.ROLLED_BACK,
            allowed=ADMISSIBLE,
            error=problem_of(error),
        )

    def _link(self, operation_id: UUID) -> str | None:
        """None if the settings no longer have the data centre."""
        try:
            name = self._records.deployment_of(operation_id).data_centre
            return self._data_centres.named(name).link
        except UnknownDataCentreError:
            return None

"""What people ask of a deployment that there is: stop, start, heal, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from database import changed, writing
from nfv_stack.contract.errors import SlaveRefusedError
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import DeploymentStateError
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.key_outlook import KeyOutlook
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import HealRequest
from orchestrator.vnf_lcm.states import (
    BUSY_WITH,
    CHANGES,
    DEPLOYMENT_ACTIONS,
    DeploymentAction,
    DeploymentState,
    OnFailure,
)
from orchestrator.vnf_lcm.steps import (
    HEAL,
    HEAL_IN_PLACE,
    OPERATE,
    TERMINATE,
    TERMINATE_GRACEFULLY,
)
from orchestrator.workflow.journal import OperationJournal
from timekeeping import Clock

CIRCUIT_WAIT_S = 600.0
"""An operation that did not ask to wait still stands in line for a circuit this long."""


@dataclass(frozen=True)
class Change:
    """What shall be done with one deployment."""

    row: DeploymentRow
    action: DeploymentAction
    steps: Sequence[str]
    wait_s: float | None = None
    on_failure: OnFailure = OnFailure.ROLLBACK
    parameters: dict[str, Any] | None = None
    operation_id: UUID = field(default_factory=uuid4)


class _TooLate(Exception):
    """Somebody else was faster."""

    def __init__(self, change: Change) -> None:
        super().__init__(change.action)
        self.change = change


class DeploymentChanges:
    """Thread-safe. Each method records an operation, or raises DeploymentStateError."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        records: LcmRecords,
        journal: OperationJournal,
        catalogue: Catalogue,
        outlook: KeyOutlook,
        ciphers: Mapping[str, Cipher],
        data_centres: DataCentres,
        *,
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._records = records
        self._journal = journal
        self._catalogue = catalogue
        self._outlook = outlook
        self._ciphers = ciphers
        self._data_centres = data_centres
        self._wake = wake

    def remove(self, deployment_id: UUID, *, graceful: bool = False) -> None:
        """Record that a deployment shall go. One that is gone already stays gone.

        `graceful` stops the instance before; one that cannot be stopped is not removed then.
        """
        row = self._records.deployment(deployment_id)
        if row.state in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            return
        self.begin([self.removal(row, graceful=graceful)])

    def operate(self, deployment_id: UUID, change_to: Literal["STARTED", "STOPPED"]) -> None:
        """Record that the instance shall be started or stopped."""
        self.begin([self.operating(self._records.deployment(deployment_id), change_to)])

    def heal(self, deployment_id: UUID, request: HealRequest) -> None:
        """Record that the instance shall be made anew, from the image at the data centre or, where
        that was lost, from the catalogue's.

        Raises KeyWaitError where a key is needed, there is none and the request does not wait.
        """
        self.begin([self.healing(self._records.deployment(deployment_id), request)])

    # --- what can be begun, of one or several deployments

    def removal(self, row: DeploymentRow, *, graceful: bool = False) -> Change:
        if graceful and row.state == DeploymentState.RUNNING:
            return Change(
                row,
                DeploymentAction.REMOVE,
                TERMINATE_GRACEFULLY,
                parameters={"termination": "GRACEFUL"},
            )
        return Change(row, DeploymentAction.REMOVE, TERMINATE)

    def operating(self, row: DeploymentRow, change_to: Literal["STARTED", "STOPPED"]) -> Change:
        action = DeploymentAction.STOP if change_to == "STOPPED" else DeploymentAction.START
        return Change(row, action, OPERATE[change_to], parameters={"change_to": change_to})

    def healing(self, row: DeploymentRow, request: HealRequest) -> Change:
        """Asks the data centre; raises as `heal`."""
        self._check_allowed(row, DeploymentAction.HEAL)
        data_centre = self._data_centres.named(row.data_centre)
        if self._holds_image(data_centre, row):
            return Change(row, DeploymentAction.HEAL, HEAL_IN_PLACE)
        image = self._catalogue.get(row.image_digest.hex())
        cipher = self._ciphers[row.cipher]
        cipher.check(image, data_centre.link)
        if request.wait_s <= 0:
            self._outlook.refuse_without_key(
                row.cipher, row.key_mode, data_centre.link, cipher.key_bits(image)
            )
        wait_s = request.wait_s or CIRCUIT_WAIT_S
        return Change(
            row,
            DeploymentAction.HEAL,
            HEAL,
            wait_s=wait_s,
            on_failure=request.on_failure,
            parameters={"wait_s": wait_s},
        )

    def begin(
        self, changes: Sequence[Change], *, within: Callable[[Session], None] = lambda _: None
    ) -> None:
        """Record all of them or none, each as an operation on a deployment that nothing else is
        done with now. `within` is called in that transaction before.

        Raises DeploymentStateError.
        """
        for change in changes:
            self._check_allowed(change.row, change.action)
        now = self._clock.now()
        try:
            with writing(self._engine) as session:
                within(session)
                for change in changes:
                    self._record(session, change, now)
        except _TooLate as late:
            row = self._records.deployment(late.change.row.deployment_id)
            raise self._refusal(row, late.change.action) from None
        self._wake()

    def _record(self, session: Session, change: Change, now: datetime) -> None:
        kind = CHANGES[change.action].kind
        free = changed(
            session,
            update(DeploymentRow)
            .where(
                DeploymentRow.deployment_id == change.row.deployment_id,
                DeploymentRow.state == change.row.state,
            )
            .values(state=BUSY_WITH[kind].value, changed_at=now),
        )
        if free != 1:
            raise _TooLate(change)
        self._journal.add(
            session,
            change.operation_id,
            change.row.deployment_id,
            kind,
            change.steps,
            wait_until=None if change.wait_s is None else now + timedelta(seconds=change.wait_s),
            on_failure=change.on_failure,
            parameters=change.parameters,
            state_before=change.row.state,
        )

    @staticmethod
    def _holds_image(data_centre: DataCentre, row: DeploymentRow) -> bool:
        """What the data centre says; it can only be healed while it answers."""
        try:
            return bool(data_centre.slave.instance(row.deployment_id).image_held)
        except SlaveRefusedError as error:
            if error.problem.slug != "unknown-instance":
                raise
            return False

    def _check_allowed(self, row: DeploymentRow, action: DeploymentAction) -> None:
        if action not in DEPLOYMENT_ACTIONS.get(DeploymentState(row.state), ()):
            raise self._refusal(row, action)

    @staticmethod
    def _refusal(row: DeploymentRow, action: DeploymentAction) -> DeploymentStateError:
        allowed = [str(each) for each in DEPLOYMENT_ACTIONS.get(DeploymentState(row.state), ())]
        return DeploymentStateError(
            f"{row.name} is {row.state}: {action} is not possible.",
            next_step=f"Possible now: {', '.join(allowed)}."
            if allowed
            else "Wait until its operation ended, or cancel that.",
            state=row.state,
            allowed_actions=allowed,
        )

"""What people ask of deployments: plan, deploy, look, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, Engine, update

from database import writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import (
    DeploymentStateError,
    ImageRefusedError,
    KeyWaitError,
    UnknownImageError,
)
from orchestrator.keys.service import KeyService
from orchestrator.network.circuits import TransferCircuits
from orchestrator.store.tables import DeploymentRow, ImageRow, OperationRow
from orchestrator.vnf_lcm.ciphers.port import KEY_BIT, Cipher
from orchestrator.vnf_lcm.promises import Promises
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import (
    DeploymentRequest,
    DeploymentView,
    OperationView,
    PlanView,
    StepView,
    TransferView,
)
from orchestrator.vnf_lcm.states import ENDED, DeploymentState, OperationKind, OperationState
from orchestrator.vnf_lcm.steps import INSTANTIATE, TERMINATE
from orchestrator.workflow.journal import OperationJournal
from problem_details import ProblemError
from timekeeping import Clock

_CIRCUIT_WAIT_S = 600.0
"""An operation that did not ask to wait still stands in line for a circuit this long."""


class Lifecycle:
    """Thread-safe. Work is only recorded here; the runner does it."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        records: LcmRecords,
        journal: OperationJournal,
        catalogue: Catalogue,
        keys: KeyService,
        ciphers: Mapping[str, Cipher],
        circuits: TransferCircuits,
        data_centres: DataCentres,
        *,
        promises: Promises,
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._records = records
        self._journal = journal
        self._catalogue = catalogue
        self._keys = keys
        self._ciphers = ciphers
        self._circuits = circuits
        self._data_centres = data_centres
        self._promises = promises
        self._wake = wake

    # --- asking for work --------------------------------------------------------------------------

    def plan(self, request: DeploymentRequest) -> PlanView:
        """What `deploy` would do. Raises what makes it impossible."""
        image = self._catalogue.get(request.image)
        data_centre = self._data_centres.named(request.data_centre)
        self._check_format(image, data_centre)
        path = self._circuits.plan(data_centre.name)
        cipher = self._cipher(request, image, data_centre)
        key_bits = cipher.key_bits(image)
        level_bits = self._keys.level(data_centre.link) * KEY_BIT
        there = level_bits >= key_bits and request.key_mode == "pooled"
        return PlanView(
            image_digest=image.digest.hex(),
            image_bytes=image.size,
            data_centre=data_centre.name,
            cipher=request.cipher,
            key_mode=request.key_mode,
            key_bits=key_bits,
            key_available=there,
            keys_expected_in_s=0.0
            if there
            else self._expected_in_s(cipher, data_centre.link, key_bits),
            path=[str(x) for x in path.cross_connects],
            path_km=path.km,
            path_loss_db=round(path.loss_db, 3),
            emulated_keys=data_centre.slave.unit(data_centre.unit_link).emulated,
        )

    def deploy(self, request: DeploymentRequest) -> DeploymentView:
        """Record a deployment and its operation; the runner takes it from there.

        Raises KeyWaitError where there is no key and the request does not wait.
        """
        image = self._catalogue.get(request.image)
        data_centre = self._data_centres.named(request.data_centre)
        self._check_format(image, data_centre)
        self._circuits.plan(data_centre.name)
        cipher = self._cipher(request, image, data_centre)
        if request.wait_s <= 0:
            self._refuse_without_key(request, data_centre, cipher.key_bits(image))
        deployment_id, operation_id = uuid4(), uuid4()
        self._promise(operation_id, cipher, image, data_centre.link, request.wait_s)
        try:
            self._record(deployment_id, operation_id, request, image)
        except ProblemError:
            self._promises.promise_withdrawn(operation_id)
            raise
        self._wake()
        return self.deployment(deployment_id)

    def _record(
        self, deployment_id: UUID, operation_id: UUID, request: DeploymentRequest, image: ImageRow
    ) -> None:
        now = self._clock.now()
        wait_s = request.wait_s or _CIRCUIT_WAIT_S
        with writing(self._engine) as session:
            # Locked, so that nobody takes it out of the catalogue meanwhile.
            if session.get(ImageRow, image.digest, with_for_update=True) is None:
                raise UnknownImageError(
                    f"{image.name} was just taken out of the catalogue.",
                    next_step="Add the image again, then deploy it.",
                )
            session.add(
                DeploymentRow(
                    deployment_id=deployment_id,
                    name=request.name or f"vnf-{deployment_id.hex[:8]}",
                    data_centre=request.data_centre,
                    image_digest=image.digest,
                    cipher=request.cipher,
                    key_mode=request.key_mode,
                    memory_mib=request.memory_mib,
                    cpus=request.cpus,
                    state=DeploymentState.DEPLOYING.value,
                    created_at=now,
                    changed_at=now,
                )
            )
            self._journal.add(
                session,
                operation_id,
                deployment_id,
                OperationKind.INSTANTIATE,
                INSTANTIATE,
                wait_until=now + timedelta(seconds=wait_s),
            )

    def remove(self, deployment_id: UUID) -> DeploymentView:
        """Record that a deployment shall go. One that is gone already stays gone."""
        row = self._records.deployment(deployment_id)
        if row.state in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            return self.deployment(deployment_id)
        if row.state == DeploymentState.DEPLOYING:
            raise DeploymentStateError(
                f"{row.name} is still being deployed.",
                next_step="Wait until its operation ended, then remove it.",
                state=row.state,
            )
        operation_id = uuid4()
        with writing(self._engine) as session:
            removable = cast(
                "CursorResult[Any]",
                session.execute(
                    update(DeploymentRow)
                    .where(
                        DeploymentRow.deployment_id == deployment_id,
                        DeploymentRow.state == row.state,
                    )
                    .values(state=DeploymentState.REMOVING.value, changed_at=self._clock.now())
                ),
            )
            if removable.rowcount == 1:  # otherwise somebody else removes it already
                self._journal.add(
                    session,
                    operation_id,
                    deployment_id,
                    OperationKind.TERMINATE,
                    TERMINATE,
                    wait_until=None,
                )
        self._wake()
        return self.deployment(deployment_id)

    # --- looking ----------------------------------------------------------------------------------

    def deployment(self, deployment_id: UUID) -> DeploymentView:
        return self._deployment_view(self._records.deployment(deployment_id))

    def deployments(self) -> list[DeploymentView]:
        return [self._deployment_view(row) for row in self._records.deployments()]

    def operation(self, operation_id: UUID) -> OperationView:
        return self._operation_view(self._journal.get(operation_id))

    def operations(self, limit: int = 100) -> list[OperationView]:
        return [self._operation_view(row) for row in self._journal.recent(limit)]

    def transfers(self, limit: int = 100) -> list[TransferView]:
        return [
            TransferView(
                transfer_id=row.transfer_id,
                data_centre=row.data_centre,
                link=row.link,
                key_id=row.key_id,
                emulated_key=row.emulated_key,
                cipher=row.cipher,
                image_digest=row.image_digest.hex(),
                image_bytes=row.image_size,
                bytes_sent=row.bytes_sent,
                bytes_per_s=row.rate_bytes_per_s,
                attempts=self._records.attempts(row.transfer_id),
                receipt_verified=row.receipt is not None,
                created_at=row.created_at,
            )
            for row in self._records.transfers(limit)
        ]

    # --- the runner's word ------------------------------------------------------------------------

    def on_end(self, operation: OperationRow) -> None:
        """An operation ended: the deployment's state follows."""
        done = operation.state == OperationState.COMPLETED
        if operation.kind == OperationKind.TERMINATE and done:
            target = DeploymentState.REMOVED
        else:
            # A removal that failed leaves what there was before it.
            came_up = self._came_up(operation.deployment_id)
            target = DeploymentState.RUNNING if came_up else DeploymentState.FAILED
        self._records.set_deployment(operation.deployment_id, target)

    def settle(self) -> None:
        """Call before the runner starts: a crash may have come between the end of an operation
        and the deployment that follows it."""
        for row in self._records.deployments():
            if row.state in (DeploymentState.DEPLOYING, DeploymentState.REMOVING):
                newest = self._journal.of_deployment(row.deployment_id)[-1]
                if newest.state in ENDED:
                    self.on_end(newest)

    def _came_up(self, deployment_id: UUID) -> bool:
        return any(
            operation.kind == OperationKind.INSTANTIATE
            and operation.state == OperationState.COMPLETED
            for operation in self._journal.of_deployment(deployment_id)
        )

    # --- inside -----------------------------------------------------------------------------------

    def _check_format(self, image: ImageRow, data_centre: DataCentre) -> None:
        formats = data_centre.slave.data_centre().vim.image_formats
        if ImageFormat(image.format) not in formats:
            raise ImageRefusedError(
                f"{image.name} is a {image.format} image; the VIM of {data_centre.name} runs "
                f"{', '.join(sorted(formats))} only.",
                next_step="Choose a container image, or a data centre whose VIM runs virtual "
                "machines.",
            )

    def _cipher(
        self, request: DeploymentRequest, image: ImageRow, data_centre: DataCentre
    ) -> Cipher:
        """The cipher asked for; raises what forbids it for this image."""
        cipher = self._ciphers[request.cipher]
        cipher.check(image, data_centre.link)
        return cipher

    def _promise(
        self, operation_id: UUID, cipher: Cipher, image: ImageRow, link: str, wait_s: float
    ) -> None:
        """Who will wait for a pad is promised it within that time, or refused now."""
        bits = cipher.key_bits(image)
        waits = cipher.is_promised and self._keys.level(link) * KEY_BIT < bits
        if waits and link in self._promises.links:
            self._promises.promise(operation_id, link, bits, wait_s)

    def _expected_in_s(self, cipher: Cipher, link: str, key_bits: int) -> float | None:
        if cipher.is_promised and link in self._promises.links:
            return self._promises.earliest_in_s(link, key_bits)
        return self._promises.keys_expected_in_s(link)

    def _refuse_without_key(
        self, request: DeploymentRequest, data_centre: DataCentre, key_bits: int
    ) -> None:
        level = self._keys.level(data_centre.link)
        if request.key_mode == "on_demand":
            why = "on_demand asks Alice, who has to serve it first"
        elif level == 0:
            why = "the pool is empty"
        elif level * KEY_BIT < key_bits:
            why = f"the pool holds {level * KEY_BIT} of {key_bits} bits"
        else:
            return
        expected = self._expected_in_s(self._ciphers[request.cipher], data_centre.link, key_bits)
        when = f"expected in about {expected:.0f} s" if expected is not None else "not foreseeable"
        raise KeyWaitError(
            f"There is no key for {data_centre.name} now ({why}); the next is {when}.",
            next_step="Deploy with a waiting time (--wait)"
            + ("." if request.key_mode == "on_demand" else ", or later."),
            keys_expected_in_s=expected,
            link=data_centre.link,
        )

    def _deployment_view(self, row: DeploymentRow) -> DeploymentView:
        operations = self._journal.of_deployment(row.deployment_id)
        return DeploymentView(
            deployment_id=row.deployment_id,
            name=row.name,
            data_centre=row.data_centre,
            image_digest=row.image_digest.hex(),
            cipher=row.cipher,
            key_mode=row.key_mode,
            state=row.state,
            instance=row.instance,
            created_at=row.created_at,
            operation_id=operations[-1].operation_id,
        )

    def _operation_view(self, row: OperationRow) -> OperationView:
        transfer = self._records.transfer(row.operation_id)
        return OperationView(
            operation_id=row.operation_id,
            deployment_id=row.deployment_id,
            kind=row.kind,
            state=row.state,
            created_at=row.created_at,
            ended_at=row.ended_at,
            wait_until=row.wait_until,
            bytes_sent=transfer.bytes_sent if transfer else 0,
            bytes_total=transfer.image_size if transfer else 0,
            bytes_per_s=transfer.rate_bytes_per_s if transfer else None,
            steps=[
                StepView(
                    name=step.name,
                    state=step.state,
                    runs=step.runs,
                    started_at=step.started_at,
                    seconds=(
                        (step.ended_at - step.started_at).total_seconds()
                        if step.started_at and step.ended_at
                        else None
                    ),
                    detail=step.detail or {},
                    error=step.error,
                )
                for step in self._journal.steps(row.operation_id)
            ],
            error=row.error,
        )

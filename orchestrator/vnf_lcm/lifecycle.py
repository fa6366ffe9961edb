"""What people ask of deployments: plan, deploy, look, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import writing
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import (
    DeploymentStateError,
    UnknownDeploymentError,
)
from orchestrator.keys.service import KeyService
from orchestrator.network.circuits import TransferCircuits
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.changes import DeploymentChanges
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.deploying import Deploying, Prepared
from orchestrator.vnf_lcm.estimates import TimeEstimates
from orchestrator.vnf_lcm.key_outlook import KeyOutlook
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.promises import Promises
from orchestrator.vnf_lcm.records import LcmRecords, unusable_id
from orchestrator.vnf_lcm.schemas import (
    DeploymentRequest,
    DeploymentView,
    HealRequest,
    OperationView,
    PlanView,
    TransferView,
)
from orchestrator.vnf_lcm.states import BUSY_WITH, ENDED
from orchestrator.vnf_lcm.views import LifecycleViews
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.journal import OperationJournal
from problem_details import ProblemError
from timekeeping import Clock


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
        sighting: Callable[[DeploymentRow], Sighting],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._records = records
        self._journal = journal
        self._catalogue = catalogue
        self._wake = wake
        self._views = LifecycleViews(records, journal, sighting)
        self._outlook = KeyOutlook(keys, ciphers, promises)
        self._estimates = TimeEstimates(records, journal)
        self._deploying = Deploying(
            engine,
            clock,
            records,
            journal,
            catalogue,
            self._outlook,
            ciphers,
            circuits,
            data_centres,
        )
        self.changes = DeploymentChanges(
            engine,
            clock,
            records,
            journal,
            catalogue,
            self._outlook,
            ciphers,
            data_centres,
            wake=wake,
        )

    # --- asking for work --------------------------------------------------------------------------

    def plan(self, request: DeploymentRequest) -> PlanView:
        """What `deploy` would do. Raises what makes it impossible."""
        found = self._deploying.check(request)
        image, data_centre, path, cipher = found.image, found.data_centre, found.path, found.cipher
        key_bits = cipher.key_bits(image)
        there = self._outlook.is_there(data_centre.link, key_bits) and request.key_mode == "pooled"
        wait_s: float | None = 0.0
        if not there:
            wait_s = self._outlook.expected_in_s(cipher, data_centre.link, key_bits)
        takes = self._estimates.of(data_centre.name, image.size)
        parts = (wait_s, takes.transfer_s, takes.steps_s)
        return PlanView(
            image_digest=image.digest.hex(),
            image_bytes=image.size,
            data_centre=data_centre.name,
            cipher=request.cipher,
            key_mode=request.key_mode,
            key_bits=key_bits,
            key_available=there,
            keys_expected_in_s=wait_s,
            path=[str(x) for x in path.cross_connects],
            path_km=path.km,
            path_loss_db=round(path.loss_db, 3),
            emulated_keys=data_centre.slave.unit(data_centre.unit_link).emulated,
            transfer_s=takes.transfer_s,
            steps_s=takes.steps_s,
            measured_transfers=takes.measured_transfers,
            measured_deployments=takes.measured_deployments,
            takes_s=sum(part for part in parts if part is not None) if None not in parts else None,
        )

    def deploy(
        self, request: DeploymentRequest, *, within: Callable[[Session], None] = lambda _: None
    ) -> DeploymentView:
        """Record a deployment and its operation; the runner takes it from there.

        `within` is called in the transaction that records them, and may refuse it. Raises
        KeyWaitError where there is no key and the request does not wait.
        """
        image = self._catalogue.get(request.image)
        if (known := self._asked_before(request, image)) is not None:
            return known
        prepared = self._deploying.prepare(request)
        try:
            self._deploying.record([prepared], within=within)
        except (IntegrityError, ProblemError) as error:
            if (known := self._asked_before(request, image)) is not None:
                return known  # the same request, at the same time
            if isinstance(error, ProblemError):
                raise
            raise unusable_id(prepared.deployment_id) from error
        self._wake()
        return self.deployment(prepared.deployment_id)

    def prepare(self, request: DeploymentRequest) -> Prepared:
        """One of several that are to be deployed together; raises what makes it impossible."""
        return self._deploying.prepare(request)

    def deploy_all(self, wanted: Sequence[Prepared], within: Callable[[Session], None]) -> None:
        """Record them all or none, as `deploy` does one, each with an operation of its own."""
        self._deploying.record(wanted, within=within)
        self._wake()

    def _asked_before(self, request: DeploymentRequest, image: ImageRow) -> DeploymentView | None:
        """The deployment that this request made when it came before, if it brings an id."""
        if request.deployment_id is None:
            return None
        try:
            row = self._records.deployment(request.deployment_id)
        except UnknownDeploymentError:
            return None
        wished = (image.digest, request.data_centre, request.cipher, request.key_mode)
        if (row.image_digest, row.data_centre, row.cipher, row.key_mode) != wished:
            raise DeploymentStateError(
                f"{request.deployment_id} is the id of another deployment, {row.name}.",
                next_step="Choose a new id for a new deployment.",
            )
        return self.deployment(row.deployment_id)

    def remove(self, deployment_id: UUID, *, graceful: bool = False) -> DeploymentView:
        """Record that a deployment shall go. One that is gone already stays gone.

        `graceful` stops the instance before; one that cannot be stopped is not removed then.
        """
        self.changes.remove(deployment_id, graceful=graceful)
        return self.deployment(deployment_id)

    def operate(
        self, deployment_id: UUID, change_to: Literal["STARTED", "STOPPED"]
    ) -> DeploymentView:
        """Record that the instance shall be started or stopped."""
        self.changes.operate(deployment_id, change_to)
        return self.deployment(deployment_id)

    def heal(self, deployment_id: UUID, request: HealRequest) -> DeploymentView:
        """Record that the instance shall be made anew."""
        self.changes.heal(deployment_id, request)
        return self.deployment(deployment_id)

    # --- looking ----------------------------------------------------------------------------------

    def deployment(self, deployment_id: UUID) -> DeploymentView:
        return self._views.deployment(deployment_id)

    def deployments(self) -> list[DeploymentView]:
        return self._views.deployments()

    def operation(self, operation_id: UUID) -> OperationView:
        return self._views.operation(operation_id)

    def operations(self, limit: int = 100) -> list[OperationView]:
        return self._views.operations(limit)

    def transfers(self, limit: int = 100) -> list[TransferView]:
        return self._views.transfers(limit)

    # --- after a crash ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Call before the runner starts: earlier versions recorded an operation's end and the
        deployment that follows it one after the other, and a crash may have come between."""
        for row in self._records.deployments_in(set(BUSY_WITH.values())):
            newest = self._journal.of_deployment(row.deployment_id)[-1]
            if newest.state not in ENDED:
                continue
            with writing(self._engine) as session:
                deployment_follows(session, newest, self._clock.now())

"""What people ask of deployments: plan, deploy, look, remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from sqlalchemy import CursorResult, Engine, update
from sqlalchemy.exc import IntegrityError

from database import writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import (
    DeploymentStateError,
    ImageRefusedError,
    KeyWaitError,
    UnknownDeploymentError,
    UnknownImageError,
)
from orchestrator.keys.service import KeyService
from orchestrator.network.circuits import TransferCircuits
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.ciphers.port import KEY_BIT, Cipher
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.promises import Promises
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import (
    DeploymentRequest,
    DeploymentView,
    OperationView,
    PlanView,
    TransferView,
)
from orchestrator.vnf_lcm.states import (
    BUSY_WITH,
    DEPLOYMENT_ACTIONS,
    DeploymentAction,
    DeploymentState,
    OnFailure,
    OperationKind,
)
from orchestrator.vnf_lcm.steps import INSTANTIATE, TERMINATE
from orchestrator.vnf_lcm.views import LifecycleViews
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
        self._views = LifecycleViews(records, journal)

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
        if (known := self._asked_before(request, image)) is not None:
            return known
        data_centre = self._data_centres.named(request.data_centre)
        self._check_format(image, data_centre)
        self._circuits.plan(data_centre.name)
        cipher = self._cipher(request, image, data_centre)
        if request.wait_s <= 0:
            self._refuse_without_key(request, data_centre, cipher.key_bits(image))
        deployment_id, operation_id = request.deployment_id or uuid4(), uuid4()
        self._promise(operation_id, cipher, image, data_centre.link, request.wait_s)
        try:
            self._record(deployment_id, operation_id, request, image)
        except (ProblemError, IntegrityError):
            self._promises.promise_withdrawn(operation_id)
            if (known := self._asked_before(request, image)) is not None:
                return known  # the same request, at the same time
            raise
        self._wake()
        return self.deployment(deployment_id)

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
                on_failure=request.on_failure,
                parameters={"wait_s": wait_s},
            )

    def remove(self, deployment_id: UUID) -> DeploymentView:
        """Record that a deployment shall go. One that is gone already stays gone."""
        row = self._records.deployment(deployment_id)
        if row.state not in (DeploymentState.REMOVED, DeploymentState.REMOVING):
            self._begin(row, DeploymentAction.REMOVE, OperationKind.TERMINATE, TERMINATE)
        return self.deployment(deployment_id)

    def _begin(
        self,
        row: DeploymentRow,
        action: DeploymentAction,
        kind: OperationKind,
        steps: Sequence[str],
        *,
        wait_s: float | None = None,
        on_failure: OnFailure = OnFailure.ROLLBACK,
        parameters: dict[str, Any] | None = None,
    ) -> UUID:
        """Record an operation on a deployment that nothing else is done with now.

        Raises DeploymentStateError.
        """
        if action not in DEPLOYMENT_ACTIONS.get(DeploymentState(row.state), ()):
            raise self._refusal(row, action)
        operation_id, now = uuid4(), self._clock.now()
        with writing(self._engine) as session:
            free = cast(
                "CursorResult[Any]",
                session.execute(
                    update(DeploymentRow)
                    .where(
                        DeploymentRow.deployment_id == row.deployment_id,
                        DeploymentRow.state == row.state,
                    )
                    .values(state=BUSY_WITH[kind].value, changed_at=now)
                ),
            )
            if free.rowcount == 1:
                self._journal.add(
                    session,
                    operation_id,
                    row.deployment_id,
                    kind,
                    steps,
                    wait_until=None if wait_s is None else now + timedelta(seconds=wait_s),
                    on_failure=on_failure,
                    parameters=parameters,
                    state_before=row.state,
                )
        if free.rowcount != 1:  # somebody else was faster
            raise self._refusal(self._records.deployment(row.deployment_id), action)
        self._wake()
        return operation_id

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
        busy = {state.value for state in BUSY_WITH.values()}
        for row in self._records.deployments():
            if row.state in busy:
                newest = self._journal.of_deployment(row.deployment_id)[-1]
                with writing(self._engine) as session:
                    deployment_follows(session, newest, self._clock.now())

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

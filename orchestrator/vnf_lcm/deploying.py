"""How deployments come about: what was asked is checked, then recorded with its operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from database import writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import ImageRefusedError, UnknownImageError
from orchestrator.network.circuits import TransferCircuits
from orchestrator.store.tables import DeploymentRow, ImageRow
from orchestrator.vnf_lcm.changes import CIRCUIT_WAIT_S
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.key_outlook import KeyOutlook
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest
from orchestrator.vnf_lcm.states import DeploymentState, OperationKind
from orchestrator.vnf_lcm.steps import INSTANTIATE
from orchestrator.workflow.journal import OperationJournal
from sdn_client.paths import LightPath
from timekeeping import Clock


@dataclass(frozen=True)
class Prepared:
    """A deployment that is possible, and not recorded yet."""

    deployment_id: UUID
    operation_id: UUID
    request: DeploymentRequest
    image: ImageRow
    project: str
    data_centre: DataCentre
    cipher: Cipher


@dataclass(frozen=True)
class Possible:
    """What a request means, after everything that may forbid it was asked, but for keys."""

    image: ImageRow
    data_centre: DataCentre
    path: LightPath
    """On an idle network."""
    cipher: Cipher


class Deploying:
    """Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        records: LcmRecords,
        journal: OperationJournal,
        catalogue: Catalogue,
        outlook: KeyOutlook,
        ciphers: Mapping[str, Cipher],
        circuits: TransferCircuits,
        data_centres: DataCentres,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._records = records
        self._journal = journal
        self._catalogue = catalogue
        self._outlook = outlook
        self._ciphers = ciphers
        self._circuits = circuits
        self._data_centres = data_centres

    def check(self, request: DeploymentRequest) -> Possible:
        """Raises what makes it impossible, but for a missing key."""
        image = self._catalogue.get(request.image)
        data_centre = self._data_centres.named(request.data_centre)
        _check_format(image, data_centre)
        path = self._circuits.plan(data_centre.name)
        cipher = self._ciphers[request.cipher]
        cipher.check(image, data_centre.link)
        return Possible(image, data_centre, path, cipher)

    def prepare(self, request: DeploymentRequest) -> Prepared:
        """Raises as `check`, and UnknownProjectError or ProjectChoiceError."""
        project = self._records.chosen_project(request.project)
        found = self.check(request)
        return Prepared(
            request.deployment_id or uuid4(),
            uuid4(),
            request,
            found.image,
            project,
            found.data_centre,
            found.cipher,
        )

    def record(
        self, wanted: Sequence[Prepared], *, within: Callable[[Session], None] = lambda _: None
    ) -> None:
        """Record all of them or none, each with its operation; the runner takes them from there.

        `within` is called in the transaction that records them, and may refuse it. Raises
        KeyWaitError where there are not enough keys for all and they do not wait.
        """
        self._refuse_without_keys(wanted)
        promised: list[Prepared] = []
        try:
            for each in wanted:
                promised.append(each)
                self._outlook.promise(
                    each.operation_id,
                    each.cipher,
                    each.image,
                    each.data_centre.link,
                    each.request.wait_s,
                )
            with writing(self._engine) as session:
                # Locked, so that nobody takes them out of the catalogue meanwhile.
                for digest in sorted({each.image.digest for each in wanted}):
                    _lock_image(session, digest)
                within(session)
                for each in wanted:
                    self._add(session, each)
        except BaseException:
            for each in promised:
                self._outlook.withdraw(each.operation_id)
            raise

    def _refuse_without_keys(self, wanted: Sequence[Prepared]) -> None:
        needed: dict[str, int] = {}
        for each in wanted:
            if each.request.wait_s <= 0:
                link = each.data_centre.link
                needed[link] = needed.get(link, 0) + each.cipher.key_bits(each.image)
                self._outlook.refuse_without_key(
                    each.request.cipher, each.request.key_mode, link, needed[link]
                )

    def _add(self, session: Session, wanted: Prepared) -> None:
        request, now = wanted.request, self._clock.now()
        wait_s = request.wait_s or CIRCUIT_WAIT_S
        session.add(
            DeploymentRow(
                deployment_id=wanted.deployment_id,
                name=request.name or f"vnf-{wanted.deployment_id.hex[:8]}",
                data_centre=request.data_centre,
                image_digest=wanted.image.digest,
                cipher=request.cipher,
                key_mode=request.key_mode,
                memory_mib=request.memory_mib,
                cpus=request.cpus,
                state=DeploymentState.DEPLOYING.value,
                created_at=now,
                changed_at=now,
            )
        )
        self._records.own(session, wanted.deployment_id, wanted.image, wanted.project)
        self._journal.add(
            session,
            wanted.operation_id,
            wanted.deployment_id,
            OperationKind.INSTANTIATE,
            INSTANTIATE,
            wait_until=now + timedelta(seconds=wait_s),
            on_failure=request.on_failure,
            parameters={"wait_s": wait_s},
        )


def _check_format(image: ImageRow, data_centre: DataCentre) -> None:
    """Raises ImageRefusedError where the VIM does not run such images."""
    formats = data_centre.slave.data_centre().vim.image_formats
    if ImageFormat(image.format) not in formats:
        raise ImageRefusedError(
            f"{image.name} is a {image.format} image; the VIM of {data_centre.name} runs "
            f"{', '.join(sorted(formats))} only.",
            next_step="Choose a container image, or a data centre whose VIM runs virtual machines.",
        )


def _lock_image(session: Session, digest: bytes) -> None:
    if session.get(ImageRow, digest, with_for_update=True) is None:
        raise UnknownImageError(
            f"The image {digest.hex()[:16]} was just taken out of the catalogue.",
            next_step="Add the image again, then deploy it.",
        )

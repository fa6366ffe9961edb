"""VNFs of members in the database, recorded by the real tasks and moved as the engine would."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast
from uuid import UUID

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from database import reading, writing
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.events.bus import EventBus
from orchestrator.projects.ownership import NoProjects
from orchestrator.sol003.documents import VnfLcmOpOcc
from orchestrator.sol003.instance import Instance
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.conductor import Conductor
from orchestrator.sol003.members.documents import MemberDocuments
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.settling import MemberPart, occurrence_follows
from orchestrator.sol003.members.shape import Shape, Slot
from orchestrator.sol003.members.tasks import MemberTasks
from orchestrator.sol003.packages import Deployable
from orchestrator.sol003.tables import OccurrenceRow, migrate_sol003
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest
from orchestrator.vnf_lcm.states import OnFailure, OperationKind, OperationState
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.actions import OperationActions
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock

ARCHIVE = Path(__file__).parents[2] / "vectors" / "normal_archive" / "two_layers.tar"
DISK = bytes(510) + b"\x55\xaa" + b"data" * 1000


def _slave(image_format: ImageFormat) -> Any:
    told = SimpleNamespace(vim=SimpleNamespace(image_formats=[image_format]))
    return SimpleNamespace(data_centre=lambda: told)


def _follow(session: Session, operation: OperationRow, now: datetime) -> None:
    deployment_follows(session, operation, now)
    occurrence_follows(session, operation, now)


class MemberRoom:
    """dc-1 runs containers and dc-2 virtual machines; both are on the same link, with few keys.

    It remembers nothing that is not in the database: another one on the same `engine` is what
    starts after a crash, or another replica.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        migrate_sol003(engine)
        self.engine = engine
        self.clock = SystemClock()
        self.keys = 1
        self.woken = threading.Event()
        """Operations were recorded."""
        self.bus = EventBus()
        self.journal = OperationJournal(engine, self.clock, self.bus, follows=_follow)
        self.records = LcmRecords(engine, self.clock)
        catalogue = Catalogue(engine, folder, self.clock, max_image_bytes=10**6)
        self.images = {
            "web": catalogue.add([ARCHIVE.read_bytes()], "web").digest.hex(),
            "disk": catalogue.add([DISK], "disk").digest.hex(),
        }
        centres = [
            DataCentre("dc-1", "link", "dc-1", _slave(ImageFormat.DOCKER_ARCHIVE)),
            DataCentre("dc-2", "link", "dc-2", _slave(ImageFormat.RAW)),
        ]
        willing = cast("Any", SimpleNamespace(
            check=lambda *_: None, plan=lambda *_: None, key_bits=lambda *_: 256,
            is_promised=False, promise_withdrawn=lambda *_: None, links=[],
            level=lambda *_: self.keys, keys_expected_in_s=lambda *_: 7.0,
        ))  # fmt: skip
        self.lifecycle = Lifecycle(
            engine, self.clock, self.records, self.journal, catalogue, willing,
            {"aes-256-gcm": willing}, willing, DataCentres(centres), promises=willing,
            wake=self.woken.set, sighting=lambda row: Sighting(row, None, None, None),
        )  # fmt: skip
        self.occurrences = Occurrences(engine, self.clock, NoProjects())
        self.instances = VnfInstances(
            engine, self.clock, self.records, self.journal, NoProjects(), self.occurrences
        )
        self.tasks = MemberTasks(
            engine, self.clock, self.instances, self.occurrences, self.lifecycle
        )
        self.conductor = self._conductor()
        self.documents = MemberDocuments(self.occurrences, self.journal, lambda _: None)

    def create(self) -> UUID:
        made = self.instances.create(Deployable(bytes(32), None), "mixed", "", {})
        return made.row.vnf_instance_id

    def instantiate(self, instance_id: UUID, wait_s: float = 5, **where: str) -> UUID:
        """`web` and `disk` in these data centres."""
        shape = Shape(
            dict.fromkeys(where, 1),
            {vdu_id: [data_centre] for vdu_id, data_centre in where.items()},
            dict.fromkeys(where, 0),
            {},
        )
        wanted = [(slot, self._request(slot, wait_s)) for slot in shape.slots()]
        return self.tasks.instantiate(self.instances.get(instance_id), shape, wanted, {})

    def scale(
        self,
        instance_id: UUID,
        kind: Literal["SCALE", "SCALE_TO_LEVEL"] = "SCALE_TO_LEVEL",
        *,
        on_failure: OnFailure = OnFailure.ROLLBACK,
        **levels: int,
    ) -> UUID:
        """Each VDU is an aspect, whose level 0 is one member."""
        instance = self.instances.get(instance_id)
        assert instance.shape is not None
        counts = {name: level + 1 for name, level in levels.items()}
        shape = instance.shape.with_instances(counts, levels)
        wanted = [
            (slot, self._request(slot, 5, on_failure)) for slot in shape.missing(instance.members)
        ]
        return self.tasks.scale(instance, kind, shape, wanted, {"levels": levels})

    def _request(
        self, slot: Slot, wait_s: float, on_failure: OnFailure = OnFailure.ROLLBACK
    ) -> DeploymentRequest:
        return DeploymentRequest(
            image=self.images[slot.vdu_id],
            data_centre=slot.data_centre,
            wait_s=wait_s,
            on_failure=on_failure,
        )

    # --- as the engine

    def move(self, operation_id: UUID, *states: OperationState) -> None:
        for state in states:
            moved = self.journal.move(operation_id, state, allowed=tuple(OperationState))
            assert moved, f"{operation_id} to {state}"

    def done(self, occurrence_id: UUID) -> None:
        """All that is recorded under it and did not begin is done."""
        for member in self.occurrences.parts(occurrence_id):
            if member.part.state is OperationState.STARTING:
                self.do(member)

    def do(self, member: MemberPart) -> None:
        if member.kind is OperationKind.INSTANTIATE:
            with writing(self.engine) as session:
                session.execute(
                    update(DeploymentRow)
                    .where(DeploymentRow.deployment_id == member.deployment_id)
                    .values(instance={"instance_id": f"i-{member.deployment_id}", "vim": "paper"})
                )
        self.move(member.operation_id, OperationState.PROCESSING, OperationState.COMPLETED)

    # --- what there is

    def instance(self, instance_id: UUID) -> Instance:
        return self.instances.get(instance_id)

    def members(self, instance_id: UUID) -> set[tuple[str, int]]:
        """VDU and number of each."""
        return {(each.vdu_id, each.number) for each in self.instance(instance_id).members}

    def row(self, occurrence_id: UUID) -> OccurrenceRow:
        row = self.occurrences.find(occurrence_id)
        assert row is not None
        return row

    def state(self, occurrence_id: UUID) -> OperationState:
        return OperationState(self.row(occurrence_id).state)

    def parts(self, occurrence_id: UUID, kind: OperationKind) -> list[MemberPart]:
        """Of the additions or the removals."""
        return [each for each in self.occurrences.parts(occurrence_id) if each.kind is kind]

    def document(self, occurrence_id: UUID) -> VnfLcmOpOcc:
        return self.documents.occurrence(self.row(occurrence_id), "")

    def recorded(self) -> tuple[int, int, int]:
        """How many deployments, operations and occurrences there are."""
        tables = (DeploymentRow, OperationRow, OccurrenceRow)
        with reading(self.engine) as session:
            one, two, three = (
                session.scalar(select(func.count()).select_from(table)) or 0 for table in tables
            )
        return one, two, three

    def _conductor(self) -> Conductor:
        runner = cast("Any", SimpleNamespace(
            wake=lambda: None, cancel=lambda _: None, ended=lambda _: None
        ))  # fmt: skip
        actions = OperationActions(self.journal, runner, lambda _: None, self.clock)
        return Conductor(
            self.occurrences, actions, self.lifecycle.changes, self.records, self.bus, self.clock
        )

"""Members of a VNF are recorded all or none: formats by VIM, keys for all of them together."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from database import reading
from nfv_stack.contract.schemas import ImageFormat
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.errors import ImageRefusedError, KeyWaitError
from orchestrator.events.bus import EventBus
from orchestrator.projects.ownership import NoProjects
from orchestrator.sol003.instances import VnfInstances
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.settling import occurrence_follows
from orchestrator.sol003.members.shape import Shape, Slot
from orchestrator.sol003.members.tasks import MemberTasks
from orchestrator.sol003.packages import Deployable
from orchestrator.sol003.tables import OccurrenceRow, migrate_sol003
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.schemas import DeploymentRequest
from orchestrator.vnf_lcm.watch import Sighting
from orchestrator.workflow.journal import OperationJournal
from timekeeping import SystemClock

ARCHIVE = Path(__file__).parents[2] / "vectors" / "normal_archive" / "two_layers.tar"
DISK = bytes(510) + b"\x55\xaa" + b"data" * 1000


def slave(image_format: ImageFormat) -> Any:
    told = SimpleNamespace(vim=SimpleNamespace(image_formats=[image_format]))
    return SimpleNamespace(data_centre=lambda: told)


def follow(session: Session, operation: OperationRow, now: datetime) -> None:
    assert occurrence_follows(session, operation, now), "each is under the occurrence"


class Room:
    """dc-1 runs containers and dc-2 virtual machines; both are on the same link, with few keys."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        migrate_sol003(engine)
        clock = SystemClock()
        self.engine = engine
        self.keys = 1
        journal = OperationJournal(engine, clock, EventBus(), follows=follow)
        records = LcmRecords(engine, clock)
        catalogue = Catalogue(engine, folder, clock, max_image_bytes=10**6)
        self.container = catalogue.add([ARCHIVE.read_bytes()], "web").digest.hex()
        self.disk = catalogue.add([DISK], "disk").digest.hex()
        centres = [
            DataCentre("dc-1", "link", "dc-1", slave(ImageFormat.DOCKER_ARCHIVE)),
            DataCentre("dc-2", "link", "dc-2", slave(ImageFormat.RAW)),
        ]
        willing = cast("Any", SimpleNamespace(
            check=lambda *_: None, plan=lambda *_: None, key_bits=lambda *_: 256,
            is_promised=False, promise_withdrawn=lambda *_: None, links=[],
            level=lambda *_: self.keys, keys_expected_in_s=lambda *_: 7.0,
        ))  # fmt: skip
        lifecycle = Lifecycle(
            engine, clock, records, journal, catalogue, willing, {"aes-256-gcm": willing}, willing,
            DataCentres(centres), promises=willing, wake=lambda: None,
            sighting=lambda row: Sighting(row, None, None, None),
        )  # fmt: skip
        occurrences = Occurrences(engine, clock, NoProjects())
        self.instances = VnfInstances(engine, clock, records, journal, NoProjects(), occurrences)
        self.tasks = MemberTasks(engine, clock, self.instances, occurrences, lifecycle)
        made = self.instances.create(Deployable(bytes(32), None), "mixed", "", {})
        self.instance_id = made.row.vnf_instance_id

    def instantiate(self, wait_s: float = 5, **where: str) -> None:
        """`web` and `disk` in these data centres."""
        images = {"web": self.container, "disk": self.disk}
        wanted = [
            (
                Slot(vdu_id, 1, data_centre),
                DeploymentRequest(image=images[vdu_id], data_centre=data_centre, wait_s=wait_s),
            )
            for vdu_id, data_centre in where.items()
        ]
        placement = {vdu_id: [data_centre] for vdu_id, data_centre in where.items()}
        shape = Shape(dict.fromkeys(where, 1), placement, {}, {})
        self.tasks.instantiate(self.instances.get(self.instance_id), shape, wanted, {})

    def recorded(self) -> tuple[int, int, int]:
        """How many deployments, operations and occurrences there are."""
        tables = (DeploymentRow, OperationRow, OccurrenceRow)
        with reading(self.engine) as session:
            one, two, three = (
                session.scalar(select(func.count()).select_from(table)) or 0 for table in tables
            )
        return one, two, three


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Room:
    return Room(engine, tmp_path / "catalogue")


def test_a_container_and_a_virtual_machine_each_where_it_runs(room: Room) -> None:
    room.instantiate(web="dc-1", disk="dc-2")
    assert room.recorded() == (2, 2, 1)
    instance = room.instances.get(room.instance_id)
    assert {(m.vdu_id, m.deployment.data_centre) for m in instance.members} == {
        ("web", "dc-1"),
        ("disk", "dc-2"),
    }
    assert {m.deployment.name for m in instance.members} == {"mixed-web-1", "mixed-disk-1"}
    assert instance.is_busy


@pytest.mark.parametrize(
    "where", [{"web": "dc-1", "disk": "dc-1"}, {"web": "dc-2", "disk": "dc-2"}]
)
def test_one_image_that_its_vim_does_not_run_stops_all(room: Room, where: dict[str, str]) -> None:
    with pytest.raises(ImageRefusedError, match=where["web"]):
        room.instantiate(**where)
    assert room.recorded() == (0, 0, 0)
    assert room.instances.get(room.instance_id).allowed == ["instantiate", "delete"]


def test_keys_are_there_for_all_or_for_none(room: Room) -> None:
    """Where they do not wait: one key is enough for each, and not for both."""
    with pytest.raises(KeyWaitError, match="256 of 512 bits"):
        room.instantiate(wait_s=0, web="dc-1", disk="dc-2")
    assert room.recorded() == (0, 0, 0)
    room.keys = 2
    room.instantiate(wait_s=0, web="dc-1", disk="dc-2")
    assert room.recorded() == (2, 2, 1)

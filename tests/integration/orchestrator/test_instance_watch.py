"""What the VIMs say is compared with what we say: shown, raised once, over when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest

from database import open_engine, writing
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveUnreachableError
from nfv_stack.contract.schemas import InstanceState, InstanceView, UsageView
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.events.bus import EventBus
from orchestrator.rest.instances import InstanceCollector
from orchestrator.schedule.alarms import Alarms
from orchestrator.store.tables import AlarmRow, DeploymentRow, migrate_orchestrator
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import DeploymentState
from orchestrator.vnf_lcm.watch import InstanceWatch, difference
from timekeeping import FakeClock

USAGE = UsageView(cpu_time_s=2.5, memory_bytes=1_000_000)


def instance(instance_id: UUID, state: InstanceState, *, healthy: bool = True) -> InstanceView:
    return InstanceView(
        instance_id=instance_id,
        name="web",
        state=state,
        healthy=healthy and state is InstanceState.RUNNING,
        vim="emulated",
        image_digest="00" * 32,
        placed_image_id="sha256:1",
        usage=USAGE if state is InstanceState.RUNNING else None,
        detail="exit code 1" if state is InstanceState.FAILED else "",
    )


class Stack:
    """A slave stack that says what it is told to."""

    def __init__(self) -> None:
        self.views: dict[UUID, InstanceView] = {}
        self.is_away = False

    def instances(self) -> list[InstanceView]:
        if self.is_away:
            raise SlaveUnreachableError("dc-1 does not answer.", next_step="Start it.")
        return list(self.views.values())


class Room:
    def __init__(self, folder: Path) -> None:
        self.engine = open_engine(f"sqlite:///{folder / 'watch.sqlite'}")
        migrate_orchestrator(self.engine)
        self.clock = FakeClock()
        self.stack = Stack()
        self.records = LcmRecords(self.engine, self.clock)
        self.alarms = Alarms(self.engine, self.clock, EventBus())
        self.watch = self.process()

    def process(self) -> InstanceWatch:
        """The watch of a process that was just started."""
        centre = DataCentre("dc-1", "alice--bob-1", "dc-1", cast(SlaveClient, self.stack))
        return InstanceWatch(
            DataCentres([centre]), self.records, self.alarms, self.clock, look_every_s=10
        )

    def deployment(self, state: DeploymentState, seen: InstanceState | None) -> UUID:
        deployment_id, now = uuid4(), self.clock.now()
        with writing(self.engine) as session:
            session.add(
                DeploymentRow(
                    deployment_id=deployment_id, name="web", data_centre="dc-1",
                    image_digest=bytes(32), cipher="aes-256-gcm", key_mode="pooled", memory_mib=64,
                    cpus=1.0, state=state.value, created_at=now, changed_at=now,
                )
            )  # fmt: skip
        self.says(deployment_id, seen)
        return deployment_id

    def says(self, deployment_id: UUID, seen: InstanceState | None) -> None:
        self.stack.views.pop(deployment_id, None)
        if seen is not None:
            self.stack.views[deployment_id] = instance(deployment_id, seen)

    def drift(self, deployment_id: UUID) -> str | None:
        return self.watch.sighting(self.records.deployment(deployment_id)).drift

    def look(self) -> None:
        self.clock.advance(10)
        self.watch.look()

    def alarm(self) -> AlarmRow:
        (alarm,) = self.alarms.list()
        return alarm


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.engine.dispose()


@pytest.mark.parametrize(
    ("state", "seen", "says"),
    [
        ("RUNNING", InstanceState.RUNNING, None),
        ("RUNNING", InstanceState.STARTING, None),
        ("RUNNING", InstanceState.STOPPED, "stopped behind our back"),
        ("RUNNING", InstanceState.FAILED, "exit code 1"),
        ("RUNNING", InstanceState.MISSING, "no such instance"),
        ("RUNNING", None, "no such instance"),
        ("STOPPED", InstanceState.STOPPED, None),
        ("STOPPED", InstanceState.FAILED, None),
        ("STOPPED", InstanceState.RUNNING, "although it was stopped"),
        ("STOPPED", None, "no such instance"),
    ],
)
def test_a_difference_is_said_in_words(
    state: str, seen: InstanceState | None, says: str | None
) -> None:
    found = difference(state, None if seen is None else instance(uuid4(), seen))
    assert (found is None) if says is None else (found is not None and says in found)


def test_one_that_runs_but_is_not_healthy_drifts() -> None:
    found = difference("RUNNING", instance(uuid4(), InstanceState.RUNNING, healthy=False))
    assert found is not None
    assert "not healthy" in found


def test_an_instance_that_vanishes_is_told_once_and_is_over_when_it_is_back(room: Room) -> None:
    deployment_id = room.deployment(DeploymentState.RUNNING, InstanceState.RUNNING)
    room.look()
    assert room.drift(deployment_id) is None
    assert room.alarms.list() == []
    room.says(deployment_id, None)
    for _ in range(3):
        room.look()
    assert room.drift(deployment_id) == "the VIM has no such instance"
    alarm = room.alarm()
    assert (alarm.kind, alarm.subject, alarm.times) == ("instance-drift", str(deployment_id), 1)
    assert "in dc-1: the VIM has no such instance" in alarm.detail
    room.says(deployment_id, InstanceState.RUNNING)
    room.look()
    assert room.drift(deployment_id) is None
    assert room.alarm().over_at is not None


def test_an_alarm_of_an_earlier_process_is_over_too(room: Room) -> None:
    deployment_id = room.deployment(DeploymentState.RUNNING, None)
    room.look()
    room.watch = room.process()
    room.says(deployment_id, InstanceState.RUNNING)
    room.look()
    assert room.alarm().over_at is not None


def test_a_stack_that_is_away_is_one_alarm_and_says_when_it_was_seen(room: Room) -> None:
    ids = [room.deployment(DeploymentState.RUNNING, InstanceState.RUNNING) for _ in range(3)]
    room.look()
    seen_at = room.clock.now()
    room.stack.is_away = True
    room.look()
    for deployment_id in ids:
        assert seen_at.isoformat() in str(room.drift(deployment_id))
    assert (room.alarm().kind, room.alarm().subject) == ("data-centre-away", "dc-1")
    room.stack.is_away = False
    room.look()
    assert room.alarm().over_at is not None


def test_what_was_seen_before_a_change_says_nothing_about_it(room: Room) -> None:
    room.look()
    room.clock.advance(1)
    deployment_id = room.deployment(DeploymentState.RUNNING, InstanceState.RUNNING)
    row = room.records.deployment(deployment_id)
    assert room.watch.sighting(row).seen_at == row.changed_at - timedelta(seconds=1)
    assert room.drift(deployment_id) is None


@pytest.mark.parametrize("state", [DeploymentState.DEPLOYING, DeploymentState.REMOVED])
def test_nothing_is_claimed_of_what_changes_or_is_gone(room: Room, state: DeploymentState) -> None:
    deployment_id = room.deployment(state, None)
    room.look()
    assert room.drift(deployment_id) is None
    assert room.alarms.list() == []


def test_metrics_say_what_was_seen(room: Room) -> None:
    there = room.deployment(DeploymentState.RUNNING, InstanceState.RUNNING)
    gone = room.deployment(DeploymentState.RUNNING, None)
    room.look()
    told = {
        (sample.name, sample.labels.get("deployment", sample.labels["data_centre"])): sample.value
        for metric in InstanceCollector(room.watch).collect()
        for sample in metric.samples
    }
    assert told["qnfv_instance_up", str(there)] == 1
    assert told["qnfv_instance_up", str(gone)] == 0
    assert told["qnfv_instance_drift", str(gone)] == 1
    assert told["qnfv_instance_cpu_seconds_total", str(there)] == USAGE.cpu_time_s
    assert told["qnfv_instance_memory_bytes", str(there)] == USAGE.memory_bytes
    assert told["qnfv_data_centre_up", "dc-1"] == 1

"""Members of a VNF are recorded all or none: formats by VIM, keys for all of them together."""

from __future__ import annotations

from pathlib import Path

import pytest
from member_room import MemberRoom
from sqlalchemy import Engine

from orchestrator.errors import ImageRefusedError, KeyWaitError


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> MemberRoom:
    return MemberRoom(engine, tmp_path / "catalogue")


def test_a_container_and_a_virtual_machine_each_where_it_runs(room: MemberRoom) -> None:
    vnf = room.create()
    room.instantiate(vnf, web="dc-1", disk="dc-2")
    assert room.recorded() == (2, 2, 1)
    instance = room.instances.get(vnf)
    assert {(m.vdu_id, m.deployment.data_centre) for m in instance.members} == {
        ("web", "dc-1"),
        ("disk", "dc-2"),
    }
    assert {m.deployment.name for m in instance.members} == {"mixed-web-1", "mixed-disk-1"}
    assert instance.is_busy


@pytest.mark.parametrize(
    "where", [{"web": "dc-1", "disk": "dc-1"}, {"web": "dc-2", "disk": "dc-2"}]
)
def test_one_image_that_its_vim_does_not_run_stops_all(
    room: MemberRoom, where: dict[str, str]
) -> None:
    vnf = room.create()
    with pytest.raises(ImageRefusedError, match=where["web"]):
        room.instantiate(vnf, **where)
    assert room.recorded() == (0, 0, 0)
    assert room.instances.get(vnf).allowed == ["instantiate", "delete"]


def test_keys_are_there_for_all_or_for_none(room: MemberRoom) -> None:
    """Where they do not wait: one key is enough for each, and not for both."""
    vnf = room.create()
    with pytest.raises(KeyWaitError, match="256 of 512 bits"):
        room.instantiate(vnf, wait_s=0, web="dc-1", disk="dc-2")
    assert room.recorded() == (0, 0, 0)
    room.keys = 2
    room.instantiate(vnf, wait_s=0, web="dc-1", disk="dc-2")
    assert room.recorded() == (2, 2, 1)

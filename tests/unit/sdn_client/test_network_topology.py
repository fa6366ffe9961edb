"""The topology file: what the lab's says, and what is refused with line and condition."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdn_client.errors import (
    KindsMixed,
    OtherPartition,
    RequestRefused,
    SamePort,
    SameSide,
    TopologyError,
    UnknownName,
    UnknownPort,
)
from sdn_client.topology import (
    CrossConnect,
    LightKind,
    PortRef,
    Topology,
    load_topology,
    parse_topology,
)

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


@pytest.fixture
def lab() -> Topology:
    return load_topology(LAB)


def test_the_lab_has_the_papers_four_nodes(lab: Topology) -> None:
    assert [n.name for n in lab.nodes if n.role == "central"] == ["node-1"]
    assert len(lab.nodes) == 4
    assert {e.name for e in lab.end_points_of("node-1", LightKind.CLASSICAL)} == {"co-1", "co-2"}
    roles = {e.name: e.role for e in lab.end_points if e.kind is LightKind.QUANTUM}
    assert roles == {"alice": "transmitter"} | dict.fromkeys(
        ["bob-1", "bob-2", "bob-3"], "receiver"
    )


@pytest.mark.parametrize(
    ("bob", "km", "port"), [("bob-1", 5, 2), ("bob-2", 15, 3), ("bob-3", 25, 4)]
)
def test_a_bob_hangs_at_the_far_end_of_his_spool(
    lab: Topology, bob: str, km: float, port: int
) -> None:
    assert lab.port_of(bob) == PortRef("polatis-1", port)
    facing = lab.facing(PortRef("polatis-1", port))
    assert facing is not None
    assert (facing.end, facing.km) == (lab.end_point_named(bob), km)
    assert facing.loss_db == pytest.approx(0.2 * km)


def test_a_jumper_faces_the_next_virtual_switch(lab: Topology) -> None:
    facing = lab.facing(PortRef("polatis-1", 7))
    assert facing is not None
    assert facing.end == PortRef("polatis-1", 17)
    there = lab.virtual_switch_of(PortRef("polatis-1", 17))
    assert there is not None
    assert there.name == "vs-2"


def test_no_port_of_the_lab_admits_both_kinds(lab: Topology) -> None:
    kinds = {port.port: lab.kind_of_port(port) for port, _ in lab.plugged_ports()}
    assert {p for p, kind in kinds.items() if kind is LightKind.QUANTUM} == {1, 2, 3, 4}
    assert LightKind.BOTH not in kinds.values()


def test_unknown_names_are_answered_with_the_known_ones(lab: Topology) -> None:
    with pytest.raises(UnknownName, match=r"bob-9.*alice, bob-1"):
        lab.end_point_named("bob-9")


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        ((1, 1), SamePort),
        ((1, 33), UnknownPort),
        ((0, 1), UnknownPort),
        ((5, 17), OtherPartition),
        ((5, 30), OtherPartition),
        ((1, 5), KindsMixed),
        ((4, 7), KindsMixed),
    ],
)
def test_what_must_never_be_joined(
    lab: Topology, pair: tuple[int, int], error: type[RequestRefused]
) -> None:
    with pytest.raises(error):
        lab.check_cross_connect(CrossConnect("polatis-1", *pair))


def test_a_two_sided_switch_joins_opposite_sides_only() -> None:
    text = LAB.read_text().replace("ports = 32", "ports = 32\ningress_ports = 16")
    chassis = parse_topology(text).chassis[0]
    chassis.check_pair(16, 17)
    for pair in ((1, 16), (17, 32)):
        with pytest.raises(SameSide):
            chassis.check_pair(*pair)


def test_cross_connects_are_the_same_in_either_direction() -> None:
    assert CrossConnect("c", 7, 2) == CrossConnect("c", 2, 7)
    assert str(CrossConnect("c", 7, 2)) == "c:2-7"


def line_of(text: str, excerpt: str) -> int:
    return text[: text.index(excerpt)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ('b = "bob-1"', 'b = "bob-9"', 'b = "bob-9"', "unknown end point 'bob-9'"),
        (
            'a = "polatis-1:2"',
            'a = "polatis-1:1"',
            'a = "polatis-1:1"',
            r"port polatis-1:1 is used twice: end point 'alice' is there",
        ),
        (
            'a = "polatis-1:3"',
            'a = "polatis-1:2"',
            'a = "polatis-1:2"\nb = "bob-2"',
            "used twice: fibre 'quantum-spool-1'",
        ),
        ('b = "bob-2"', 'b = "bob-1"', 'b = "bob-1"\nkm = 15', "end point bob-1 is used twice"),
        (
            'km = 5\nkind = "quantum"',
            'km = 5\nkind = "classical"',
            'kind = "classical"',
            "quantum and classical on one fibre",
        ),
        (
            'a = "polatis-1:18"',
            'a = "polatis-1:31"',
            'a = "polatis-1:31"',
            "outside every partition",
        ),
        ('a = "polatis-1:18"', 'a = "polatis-1:99"', 'a = "polatis-1:99"', "has ports 1 to 32"),
        ('a = "polatis-1:18"', 'a = "calient:1"', 'a = "calient:1"', "unknown chassis 'calient'"),
        ('a = "polatis-1:18"', 'a = "polatis-1:x"', 'a = "polatis-1:x"', "not a port like"),
        ('["17-20"]', '["16-20"]', 'ports = ["16-20"]', "already belongs to 'vs-1'"),
        ('["17-20"]', '["20-17"]', 'ports = ["20-17"]', "not a range"),
        ('["25-28"]', '["25-40"]', 'ports = ["25-40"]', "does not exist"),
        ("km = 15", "km = -15", "km = -15", "greater than or equal to 0"),
        ("km = 15", "km = nan", "km = nan", "km: "),
        ("ports = 32", "prots = 32", "prots", "Extra inputs"),
        ('node = "node-2"', 'node = "node-9"', 'node = "node-9"', "unknown node 'node-9'"),
        ('name = "bob-2"', 'name = "bob-1"', 'name = "bob-1"\nnode = "node-3"', "used twice"),
        ('name = "bob-2"', 'name = "Bob 2"', 'name = "Bob 2"', "is not a name"),
        ("00:00:00:00:00:00:00:01", "0x1", 'datapath_id = "0x1"', "not a datapath id"),
    ],
)
def test_faults_are_named_by_line_table_and_condition(
    old: str, new: str, at: str, says: str
) -> None:
    text = LAB.read_text()
    assert old in text
    text = text.replace(old, new, 1)
    line = line_of(text, at if at in text else new)
    with pytest.raises(TopologyError, match=says) as caught:
        parse_topology(text, source="lab.toml")
    assert f"line {line}: " in caught.value.detail
    assert caught.value.detail.startswith("lab.toml: ")
    assert caught.value.next_step


def test_an_end_point_that_is_plugged_in_nowhere_is_a_fault() -> None:
    text = LAB.read_text().replace('port = "polatis-1:6"\n', "")
    with pytest.raises(TopologyError, match="end_points 'co-2': is attached nowhere"):
        parse_topology(text)


def test_all_faults_are_told_at_once() -> None:
    text = LAB.read_text().replace('b = "bob-1"', 'b = "x"').replace('b = "dc-1"', 'b = "y"')
    with pytest.raises(TopologyError) as caught:
        parse_topology(text)
    assert len(caught.value.extensions["faults"]) == 2


@pytest.mark.parametrize("text", ["", "name = ", "[[nodes]]", "nodes = 3", "chassis = [1]"])
def test_what_is_no_topology_is_refused(text: str) -> None:
    with pytest.raises(TopologyError):
        parse_topology(text)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="cannot be read"):
        load_topology(tmp_path / "none.toml")

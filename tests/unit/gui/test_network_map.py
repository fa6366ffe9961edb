"""The map shows every part of a topology once, apart from each other, and whose light is where."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

import emulators.lab
from orchestrator.gui.network_map import NetworkMap
from sdn_client.drivers.port import ChassisState
from sdn_client.ledger import Circuit, Purpose
from sdn_client.paths import PathFinder
from sdn_client.topology import Topology, load_topology

FOLDER = Path(emulators.lab.__file__).parent
TOPOLOGIES = sorted(FOLDER.glob("*topology.toml"))


def circuit(topology: Topology, from_: str, to: str, purpose: Purpose) -> Circuit:
    path = PathFinder(topology).find(from_, to, purpose.kind)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Circuit.over(path, id=uuid4(), purpose=purpose, created_at=now)


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.stem)
def test_everything_is_there_once_and_nothing_overlaps(file: Path) -> None:
    topology = load_topology(file)
    elements = NetworkMap(topology).elements([], {})
    names = [element["data"]["id"] for element in elements]
    assert len(names) == len(set(names))
    things = {e.name for e in topology.end_points} | {v.name for v in topology.virtual_switches}
    assert things <= set(names)
    assert {fibre.name for fibre in topology.fibres} <= set(names)
    places = [tuple(e["position"].values()) for e in elements if "position" in e]
    assert len(places) == len(things)
    for at, (x, y) in enumerate(places):
        assert all(abs(x - u) >= 90 or abs(y - v) >= 40 for u, v in places[:at])
    known = set(names)
    for edge in (e for e in elements if e["group"] == "edges"):
        assert {edge["data"]["source"], edge["data"]["target"]} <= known


def test_a_chain_of_trusted_nodes_goes_right_down_and_left() -> None:
    chain = load_topology(FOLDER / "relay_topology.toml")
    places = {
        e["data"]["id"]: tuple(e["position"].values())
        for e in NetworkMap(chain).elements([], {})
        if "position" in e
    }
    first, second, third, fourth = (places[f"vs-{n}"] for n in (1, 2, 3, 4))
    assert first[0] < second[0]
    assert second[0] == third[0]
    assert second[1] < third[1]
    assert fourth[0] < third[0]
    assert fourth[1] > first[1]


def test_light_is_on_the_fibres_of_its_path_and_nowhere_else() -> None:
    topology = load_topology(FOLDER / "topology.toml")
    live = [
        circuit(topology, "alice", "bob-2", Purpose.QUANTUM_TURN),
        circuit(topology, "co-1", "dc-1", Purpose.IMAGE_TRANSFER),
    ]
    edges = {
        e["data"]["id"]: e
        for e in NetworkMap(topology).elements(live, {})
        if e["group"] == "edges" and "live" in e["classes"]
    }
    assert set(edges) == {
        "plug:alice",
        "quantum-spool-2",
        "plug:co-1",
        "jumper-1",
        "classical-spool-1",
    }
    assert edges["quantum-spool-2"]["data"]["label"] == "quantum, 15 km"
    assert edges["classical-spool-1"]["data"]["label"] == "images, 5 km"
    assert "quantum" in edges["plug:alice"]["classes"].split()


def test_a_dark_fibre_and_a_switch_that_is_away_are_told_in_words() -> None:
    topology = load_topology(FOLDER / "topology.toml")
    there = ChassisState(connected=True, ports=frozenset(range(1, 33)), ports_dark=frozenset({22}))
    elements = {e["data"]["id"]: e for e in NetworkMap(topology).elements([], {"polatis-1": there})}
    assert elements["classical-spool-2"]["data"]["label"] == "classical-spool-2: no light"
    assert "lost" in elements["classical-spool-2"]["classes"]
    assert elements["vs-3"]["data"]["label"] == "vs-3"
    away = {e["data"]["id"]: e for e in NetworkMap(topology).elements([], {})}
    assert away["vs-3"]["data"]["label"] == "vs-3 (away)"

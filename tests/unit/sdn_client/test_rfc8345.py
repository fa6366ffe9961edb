"""The topology in the shape of RFC 8345: round trips, states, and faults with their lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sdn_client.errors import TopologyError
from sdn_client.topology import PortRef, Topology, load_topology, parse_topology
from sdn_client.topology.rfc8345 import document, parse

LABS = Path(__file__).parents[3] / "emulators" / "lab"
FILES = ("topology.toml", "relay_topology.toml", "alices_topology.toml")
OURS = "qnfv-optical-topology:"
POINTS = "ietf-network-topology:termination-point"


def text_of(topology: Topology) -> str:
    return json.dumps(document(topology), indent=1)


def what_it_says(topology: Topology) -> dict[str, Any]:
    """The topology with every fibre's loss spelled out."""
    said = topology.model_dump(mode="json")
    for fibre, row in zip(topology.fibres, said["fibres"], strict=True):
        row["declared_loss_db"] = round(fibre.loss_db, 6)
    for table in ("nodes", "chassis", "virtual_switches", "fibres", "end_points"):
        said[table] = sorted(said[table], key=lambda row: row["name"])
    for switch in said["virtual_switches"]:
        switch["ports"] = sorted(switch["ports"])
    return said


@pytest.mark.parametrize("file", FILES)
def test_a_topology_comes_back_as_it_went_out(file: str) -> None:
    topology = load_topology(LABS / file)
    assert what_it_says(parse(text_of(topology))) == what_it_says(topology)


def test_numbers_are_read_as_well_as_the_texts_of_rfc_7951() -> None:
    topology = load_topology(LABS / "topology.toml")
    text = re.sub(r'"(-?[0-9]+\.[0-9]+)"', r"\1", text_of(topology))
    assert '"km": 25.0' in text
    assert what_it_says(parse(text)) == what_it_says(topology)


def test_a_json_file_is_read_as_rfc_8345(tmp_path: Path) -> None:
    topology = load_topology(LABS / "topology.toml")
    file = tmp_path / "topology.json"
    file.write_text(text_of(topology))
    assert load_topology(file).port_of("bob-3") == PortRef("polatis-1", 4)


def test_every_port_of_a_partition_rests_on_a_port_of_its_chassis() -> None:
    networks = document(load_topology(LABS / "topology.toml"))["ietf-network:networks"]["network"]
    under, over = networks
    ports = {(n["node-id"], p["tp-id"]) for n in under["node"] for p in n[POINTS]}
    assert over["supporting-network"] == [{"network-ref": under["network-id"]}]
    points = [p for n in over["node"] if OURS + "virtual-switch" in n for p in n[POINTS]]
    assert len(points) == 28
    for point in points:
        (rests,) = point["supporting-termination-point"]
        assert (rests["node-ref"], rests["tp-ref"]) in ports


def test_a_fibre_is_a_link_and_its_reverse() -> None:
    (_, over) = document(load_topology(LABS / "topology.toml"))["ietf-network:networks"]["network"]
    links = {link["link-id"]: link for link in over["ietf-network-topology:link"]}
    there, back = links["quantum-spool-3"], links["quantum-spool-3-reverse"]
    assert there["source"] == {"source-node": "vs-1", "source-tp": "4"}
    assert there["destination"] == {"dest-node": "node-4", "dest-tp": "bob-3"}
    assert back["source"] == {"source-node": "node-4", "source-tp": "bob-3"}
    assert there[OURS + "fibre"] == {"km": "25.0", "loss-db": "5.0", "kind": "quantum"}


def test_states_stand_at_the_ports_of_the_chassis() -> None:
    topology = load_topology(LABS / "topology.toml")
    networks = document(topology, {PortRef("polatis-1", 4): "dark"})["ietf-network:networks"]
    points = networks["network"][0]["node"][0][POINTS]
    assert points[3] == {"tp-id": "4", OURS + "state": "dark"}
    assert points[4] == {"tp-id": "5", OURS + "state": "unknown"}


def test_a_partition_with_a_datapath_and_reserved_ports_comes_back() -> None:
    toml = (LABS / "topology.toml").read_text()
    toml = toml.replace(
        'ports = ["1-16"]',
        'ports = ["1-16"]\nreserved_ports = [16]\ndatapath_id = "00000000000000a1"',
    )
    topology = parse_topology(toml)
    assert what_it_says(parse(text_of(topology))) == what_it_says(topology)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"node-ref": "polatis-1"', '"node-ref": "polatis-7"', "unknown chassis 'polatis-7'"),
        ('"dest-node": "node-4"', '"dest-node": "node-9"', "link 'quantum-spool-3': unknown node"),
        ('"km": "25.0"', '"km": "-25.0"', "fibres 'quantum-spool-3': km"),
        ('"km": "25.0"', '"km": "far"', "fibres 'quantum-spool-3': km"),
        ('"node-ref": "polatis-1",\n', '"node-ref": "polatis-7",\n', "port 1 rests on polatis-7:1"),
        ('"kind": "quantum",\n', '"kind": "gamma",\n', "kind"),
        ('"owner": "node-1",', "", "virtual_switches 'vs-1': owner"),
        (
            '"network-ref": "lab-devices"',
            '"network-ref": "nowhere"',
            "supporting-network 'nowhere'",
        ),
    ],
)
def test_a_fault_names_its_line_and_condition(old: str, new: str, fault: str) -> None:
    text = text_of(load_topology(LABS / "topology.toml"))
    assert old in text
    with pytest.raises(TopologyError, match=re.escape(fault)) as caught:
        parse(text.replace(old, new), source="net.json")
    assert re.search(r"net\.json: line [0-9]+: ", caught.value.detail)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"ietf-network:networks": {}}',
        '{"ietf-network:networks": {"network": [1, null]}}',
        '{"ietf-network:networks": {"network": [{"supporting-network": [3]}]}}',
        '{"ietf-network:networks": {"network": [{"network-id": "a"},'
        ' {"network-id": "b", "supporting-network": [{"network-ref": "a"}], "node": [7]}]}}',
    ],
)
def test_a_document_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(TopologyError):
        parse(text)

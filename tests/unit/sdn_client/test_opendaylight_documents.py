"""OpenDaylight's documents read and written, and chassis as one switch or several."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdn_client.drivers.opendaylight import documents
from sdn_client.drivers.opendaylight.datapaths import present, ranges
from sdn_client.drivers.opendaylight.documents import FlowSeen, NodeSeen
from sdn_client.drivers.opendaylight.restconf import Answer
from sdn_client.errors import MalformedAnswer, SwitchRefused
from sdn_client.topology import CrossConnect, Topology, load_topology, parse_topology

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "opendaylight-inventory:nodes",
                    "opendaylight-direct-statistics:output",
                    "flow-and-statistics-map-list",
                    "node",
                    "node-connector",
                    "id",
                    "match",
                    "in-port",
                    "errors",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def partitioned() -> Topology:
    text = re.sub(
        r'name = "vs-(\d)"',
        lambda m: f'{m[0]}\ndatapath_id = "00:00:00:00:00:00:01:0{m[1]}"',
        LAB.read_text(),
    )
    return parse_topology(text)


def node(*ports: int, connection: int = 1) -> NodeSeen:
    return NodeSeen(connection, frozenset(ports), frozenset(), frozenset())


@given(st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_whatever_comes_is_read_or_malformed(body: bytes) -> None:
    answer = Answer(200, body)
    for read in (
        documents.read_inventory,
        documents.nodes_with_config_flows,
        documents.device_refusals,
        lambda a: documents.read_statistics(a, "polatis-1"),
    ):
        with contextlib.suppress(MalformedAnswer):
            read(answer)


def test_a_batch_removes_flows_as_they_stand_and_adds_from_the_lower_port() -> None:
    stands = FlowSeen(CrossConnect("polatis-1", 3, 9), 9, 3, 7)
    batch = documents.batch_input("openflow:1", [stands], [CrossConnect("polatis-1", 8, 2)], 100)
    removed, added = batch["batch"]
    (gone,), (made,) = removed["flat-batch-remove-flow"], added["flat-batch-add-flow"]
    assert (gone["match"], gone["priority"]) == ({"in-port": "openflow:1:9"}, 7)
    assert (made["match"], made["priority"]) == ({"in-port": "openflow:1:2"}, 100)
    assert '"output-node-connector": "8"' in json.dumps(made)


def test_reserved_connectors_are_no_ports() -> None:
    connectors = [{"id": "openflow:1:LOCAL"}, {"id": "openflow:1:3"}]
    body = {"opendaylight-inventory:nodes": {"node": [{"id": "openflow:1"}]}}
    body["opendaylight-inventory:nodes"]["node"][0]["node-connector"] = connectors  # type: ignore[assignment]
    seen = documents.read_inventory(Answer(200, json.dumps(body).encode()))
    assert seen["openflow:1"].ports == {3}


def test_a_whole_chassis_is_connected_with_its_own_ports_alone() -> None:
    chassis = present(load_topology(LAB))["polatis-1"]
    assert chassis.state({"openflow:1": node(*range(1, 33))}).connected
    state = chassis.state({"openflow:1": node(*range(1, 31), 40)})
    assert not state.connected
    assert "ports 1-32, OpenDaylight reports 1-30, 40" in state.fault


def test_a_chassis_in_partitions_is_connected_when_all_of_them_are() -> None:
    chassis = present(partitioned())["polatis-1"]
    assert [d.node_id for d in chassis.datapaths] == [f"openflow:{0x100 + n}" for n in range(1, 5)]
    nodes = {d.node_id: node(*d.ports) for d in chassis.datapaths}
    state = chassis.state(nodes)
    assert state.connected
    assert state.ports == set(range(1, 29))
    nodes.pop("openflow:259")
    state = chassis.state(nodes)
    assert not state.connected
    assert "does not see vs-3" in state.fault


def test_a_pair_goes_to_the_partition_of_its_ports() -> None:
    chassis = present(partitioned())["polatis-1"]
    assert chassis.datapath_for(CrossConnect("polatis-1", 17, 18)).name == "vs-2"
    assert chassis.datapath_for(CrossConnect("polatis-1", 1, 40)).name == "vs-1"
    with pytest.raises(SwitchRefused, match="30-31"):
        chassis.datapath_for(CrossConnect("polatis-1", 30, 31))


@pytest.mark.parametrize(
    ("ports", "text"), [((), "none"), ((3,), "3"), ((1, 2, 3, 7, 9, 10), "1-3, 7, 9-10")]
)
def test_ports_are_told_as_ranges(ports: tuple[int, ...], text: str) -> None:
    assert ranges(frozenset(ports)) == text

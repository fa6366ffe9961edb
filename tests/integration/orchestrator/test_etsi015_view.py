"""QKD nodes as an SDN controller reads them by ETSI GS QKD 015."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from orchestrator.network.etsi015 import QkdLink, node_ids
from orchestrator.rest.etsi015 import etsi015_router
from orchestrator.statuses import STATUS_OF
from problem_details import rest
from qkd_scheduler.states import TurnState
from sdn_client.drivers.fake import FakeCircuitDriver
from sdn_client.topology import load_topology

TOPOLOGY = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")
ROOT = "/restconf/data/etsi-qkd-sdn-node:qkd_node"
LINKS = [
    QkdLink("alice--bob-1", "alice", "bob-1", 40, 0.5, 2453.2, None, 0.0123, 2.548),
    QkdLink("alice--bob-2", "alice", "bob-2", 0, 0.5, 727.0, TurnState.INITIALISING, None, 4.548),
    QkdLink("alice--bob-3", "alice", "bob-3", 7, 0.5, 100.4, TurnState.GENERATING, 0.053, 6.548),
]


class House:
    def __init__(self) -> None:
        self.links = list(LINKS)
        self.driver = FakeCircuitDriver(TOPOLOGY)
        app = FastAPI()
        rest.install(app, STATUS_OF)
        app.include_router(etsi015_router(TOPOLOGY, self.driver, lambda: self.links, "node-1"))
        self.client = TestClient(app)

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == status
        if status == 200 and "restconf" in path:
            assert answer.headers["content-type"] == "application/yang-data+json"
        return answer.json()


@pytest.fixture
def house() -> House:
    return House()


def test_every_site_with_units_is_a_node(house: House) -> None:
    nodes = house.get("/qkd-nodes")
    assert [n["node"] for n in nodes] == ["node-1", "node-2", "node-3", "node-4"]
    for node in nodes:
        (root,) = house.get(node["url"]).values()
        assert root["qkdn_id"] == node["qkdn_id"]
        assert root["qkdn_status"] == "etsi-qkd-node-types:OPERATING"
        assert root["qkdn_location_id"] == node["node"]


def test_the_centre_is_served_without_a_prefix(house: House) -> None:
    assert house.get(ROOT) == house.get(f"/qkd-nodes/node-1{ROOT}")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"turn": TurnState.GENERATING}, "ACTIVE"),
        ({"turn": TurnState.DRAINING}, "ACTIVE"),
        ({"turn": TurnState.CONNECTING}, "PENDING"),
        ({"turn": TurnState.STANDBY}, "PENDING"),
        ({"turn": TurnState.INITIALISING}, "PENDING"),
        ({}, "PASSIVE"),
        ({"level_keys": 0}, "PENDING"),
        ({"excluded": True}, "OFF"),
    ],
)
def test_a_links_status_follows_its_turn_and_its_keys(
    house: House, change: dict[str, Any], status: str
) -> None:
    house.links = [replace(LINKS[0], **change)]
    (link,) = house.get(ROOT)["etsi-qkd-sdn-node:qkd_node"]["qkd_links"]["qkd_link"]
    assert link["qkdl_status"] == f"etsi-qkd-node-types:{status}"
    assert link["qkdl_enable"] is (status != "OFF")


def test_a_link_has_rate_qber_and_attenuation(house: House) -> None:
    links = house.get(ROOT + "/qkd_links")["etsi-qkd-sdn-node:qkd_links"]["qkd_link"]
    served = links[2]
    assert served["phys_channel_att"] == "6.548"
    assert served["phys_qkd_role"] == "etsi-qkd-node-types:TRANSMITTER"
    assert served["qkdl_performance"] == {
        "expected_consumption": 0,
        "skr": 100,
        "phys_perf": [{"perf_type": "etsi-qkd-node-types:QBER", "value": "0.05300"}],
    }
    assert links[0]["qkdl_performance"]["skr"] == 0  # nobody serves it now


def test_both_ends_tell_of_the_same_link_from_their_side(house: House) -> None:
    (here,) = [
        link
        for link in house.get(ROOT + "/qkd_links")["etsi-qkd-sdn-node:qkd_links"]["qkd_link"]
        if link["qkdl_remote"]["qkdn_id"] == str(node_ids(TOPOLOGY)["node-4"])
    ]
    path = f"/qkd-nodes/node-4{ROOT}/qkd_links/qkd_link={here['qkdl_id']}"
    (there,) = house.get(path)["etsi-qkd-sdn-node:qkd_link"]
    assert (there["qkdl_local"], there["qkdl_remote"]) == (here["qkdl_remote"], here["qkdl_local"])
    assert there["phys_qkd_role"] == "etsi-qkd-node-types:RECEIVER"


def test_an_interface_is_attached_to_a_port_of_the_switch(house: House) -> None:
    path = f"/qkd-nodes/node-4{ROOT}/qkd_interfaces/qkd_interface=1"
    (interface,) = house.get(path)["etsi-qkd-sdn-node:qkd_interface"]
    assert interface["qkdi_att_point"] == {"device": "polatis-1", "port": 4}
    assert interface["qkdi_capabilities"]["role_support"] == "etsi-qkd-node-types:RECEIVER"
    assert interface["qkdi_capabilities"]["max_absorption"] == "7.000"
    device = house.get(path + "/qkdi_att_point/device")
    assert device == {"etsi-qkd-sdn-node:device": "polatis-1"}


def test_a_switch_that_is_away_shows(house: House) -> None:
    house.driver.lose("polatis-1")
    root = house.get(ROOT)["etsi-qkd-sdn-node:qkd_node"]
    assert root["qkdn_status"] == "etsi-qkd-node-types:DOWN"
    (interface,) = root["qkd_interfaces"]["qkd_interface"]
    assert interface["qkdi_status"] == "etsi-qkd-node-types:FAILED"


@pytest.mark.parametrize(
    "path",
    [
        "/qkd-nodes/node-9" + ROOT,
        ROOT + "/qkd_keys",
        ROOT + "/qkd_links/qkd_link=17",
        ROOT + "/qkd_interfaces/qkd_interface=1/nothing",
        ROOT + "/qkdn_id/deeper",
        ROOT + "/qkd_applications/qkd_app/app_id",
        ROOT + "/qkd_applications/qkd_app=17",
        ROOT + "/qkd_links/qkd_link/qkdl_status",
        ROOT + "/qkd_links=17",
    ],
)
def test_what_is_not_there_is_not_found(house: House, path: str) -> None:
    assert house.get(path, 404)["status"] == 404


def test_an_entry_of_a_list_in_a_list_is_found_by_its_key(house: House) -> None:
    (link,) = house.get(f"/qkd-nodes/node-2{ROOT}/qkd_links")["etsi-qkd-sdn-node:qkd_links"][
        "qkd_link"
    ]
    listed = f"/qkd-nodes/node-2{ROOT}/qkd_links/qkd_link={link['qkdl_id']}/qkdl_performance"
    (qber,) = link["qkdl_performance"]["phys_perf"]
    found = house.get(f"{listed}/phys_perf={qber['perf_type']}")
    assert found == {"etsi-qkd-sdn-node:phys_perf": [qber]}
    house.get(f"{listed}/phys_perf=SNR", 404)

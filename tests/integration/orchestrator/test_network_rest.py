"""REST of the optical network over the fake switch and a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from database import open_engine
from orchestrator.network.ledger import SqlCircuitLedger
from orchestrator.network.manual import ManualCircuits
from orchestrator.network.owner_names import OwnerNames
from orchestrator.network.tables import migrate_network
from orchestrator.rest.network import network_router
from orchestrator.statuses import STATUS_OF
from problem_details import rest
from sdn_client.circuits import CircuitService
from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.ledger import Purpose
from sdn_client.topology import CrossConnect, PortRef, load_topology, rfc8345
from sdn_client.upkeep import CircuitUpkeep
from timekeeping import FakeClock

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


class House:
    def __init__(self, folder: Path) -> None:
        self.topology = load_topology(LAB)
        self.clock = FakeClock()
        self.driver = FakeCircuitDriver(self.topology)
        self.engine = open_engine(f"sqlite:///{folder / 'network.sqlite'}")
        migrate_network(self.engine)
        ledger = SqlCircuitLedger(self.engine)
        self.service = CircuitService(
            self.driver, self.topology, ledger, self.clock, reconnect_wait_s=0.05
        )
        self.upkeep = CircuitUpkeep(self.service, self.driver, self.topology, ledger, self.clock)
        app = FastAPI()
        rest.install(app, STATUS_OF)
        manual = ManualCircuits(self.service, self.clock)
        app.include_router(
            network_router(
                self.service, manual, self.upkeep, self.driver, self.topology, OwnerNames(set)
            )
        )
        self.client = TestClient(app)

    def connect(self, from_: str = "node-1", to: str = "dc-3", **more: object) -> dict:  # type: ignore[type-arg]
        document = {"from_end_point": from_, "to_end_point": to, **more}
        answer = self.client.post("/api/v1/circuits", json=document)
        return {"status": answer.status_code, **answer.json()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.engine.dispose()


def test_a_circuit_is_connected_seen_and_disconnected(house: House) -> None:
    made = house.connect(owner="ann", bandwidth_class="10G", lifetime_s=60)
    assert (made["status"], made["state"], made["bandwidth_class"]) == (201, "up", "10G")
    assert made["cross_connects"] == ["polatis-1:5-9", "polatis-1:25-26"]
    (owner,) = made["owners"]
    assert owner.startswith("manual:ann:")
    assert set(made["until"]) == {owner}
    seen = house.client.get(f"/api/v1/circuits/{made['circuit_id']}").json()
    assert house.client.get("/api/v1/circuits").json() == {"circuits": [seen], "waiting": []}
    assert house.client.delete(f"/api/v1/circuits/{made['circuit_id']}").status_code == 204
    assert house.driver.table == set()
    assert house.client.get(f"/api/v1/circuits/{made['circuit_id']}").status_code == 404


def test_a_circuit_that_the_switch_keeps_is_not_said_to_be_gone(house: House) -> None:
    url = f"/api/v1/circuits/{house.connect()['circuit_id']}"
    for _ in range(2):
        house.driver.fail_next(Fault.REFUSE)
        assert house.client.delete(url).status_code == 202
        assert house.client.get(url).json()["state"] == "releasing"
    assert house.client.delete(url).status_code == 204
    assert house.client.get(url).status_code == 404
    assert house.driver.table == set()


def test_what_an_operation_uses_is_not_anybodys_to_end(house: House) -> None:
    house.service.connect("operation:1", "node-1", "dc-3", Purpose.IMAGE_TRANSFER)
    shared = house.connect()
    answer = house.client.delete(f"/api/v1/circuits/{shared['circuit_id']}")
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("circuit-busy")
    assert answer.json()["detail"].endswith("serves: operation.")
    assert house.driver.table != set()


@pytest.mark.parametrize(
    ("document", "status", "type_"),
    [
        ({"from_end_point": "nobody"}, 404, "network-element-unknown"),
        ({"from_end_point": "alice"}, 409, "quantum-and-classical-mixed"),
        ({"bandwidth_class": "400G"}, 409, "bandwidth-too-low"),
        ({"purpose": "quantum-turn"}, 409, "quantum-and-classical-mixed"),
        ({"purpose": "coffee"}, 422, ""),
        ({"lifetime_s": -1}, 422, ""),
        ({"owner": "operation:1"}, 422, ""),
        ({"hurry": True}, 422, ""),
    ],
)
def test_a_bad_wish_is_refused_with_its_reason(
    house: House, document: dict[str, object], status: int, type_: str
) -> None:
    assert house.connect("co-1")["status"] == 201  # a good one first
    body = {"from_end_point": "co-1", "to_end_point": "dc-3", **document}
    refused = house.client.post("/api/v1/circuits", json=body)
    assert refused.status_code == status
    assert refused.json()["type"].endswith(type_)
    assert len(house.client.get("/api/v1/circuits").json()["circuits"]) == 1


def test_a_port_in_use_says_by_which_circuit(house: House) -> None:
    first = house.connect("alice", "bob-1", purpose="quantum-turn")
    refused = house.connect("alice", "bob-2", purpose="quantum-turn")
    assert refused["status"] == 409
    assert f"circuit {first['circuit_id']}" in refused["detail"]
    assert house.client.get("/api/v1/circuits").json()["waiting"] == []


def test_a_switch_that_refuses_or_is_away_is_said(house: House) -> None:
    house.driver.fail_next(Fault.REFUSE)
    assert house.connect()["status"] == 502
    house.driver.lose("polatis-1")
    away = house.connect()
    assert (away["status"], away["type"].rpartition(":")[2]) == (503, "switch-unreachable")
    assert house.client.get("/api/v1/network").json()["chassis"][0]["connected"] is False


def test_paths_come_with_losses_and_reasons(house: House) -> None:
    ask = {"from_end_point": "alice", "to_end_point": "bob-3", "purpose": "quantum-turn"}
    (path,) = house.client.get("/api/v1/network/paths", params=ask | {"alternatives": 4}).json()
    assert (path["loss_db"], path["budget_db"], path["passages"]) == (6.548, 7.0, 1)
    house.driver.darken(PortRef("polatis-1", 4))
    answer = house.client.get("/api/v1/network/paths", params=ask)
    assert answer.status_code == 409
    assert "no quantum path" in answer.json()["detail"]


def test_drift_is_shown_and_repaired_in_either_direction(house: House) -> None:
    made = house.connect()
    house.driver.table ^= {CrossConnect("polatis-1", 25, 26), CrossConnect("polatis-1", 1, 3)}
    (drift,) = house.client.get("/api/v1/network/drift").json()
    assert drift["stray"] == ["polatis-1:1-3"]
    assert drift["missing"] == {"polatis-1:25-26": made["circuit_id"]}
    assert drift["in_step"] is False
    repair = {"chassis": "polatis-1", "change": "records"}
    changed = house.client.post("/api/v1/network/drift/repair", json=repair).json()
    assert changed["given_up"] == [made["circuit_id"]]
    (adopted,) = house.client.get("/api/v1/circuits").json()["circuits"]
    assert changed["adopted"] == [adopted["circuit_id"]]
    assert changed["drift"][0]["in_step"]
    assert house.client.delete(f"/api/v1/circuits/{adopted['circuit_id']}").status_code == 204
    assert house.driver.table == set()
    house.driver.table = {CrossConnect("polatis-1", 2, 11)}
    refused = house.client.post("/api/v1/network/drift/repair", json=repair)
    assert (refused.status_code, house.driver.table) == (409, {CrossConnect("polatis-1", 2, 11)})
    repair = {"chassis": "polatis-1", "change": "devices"}
    changed = house.client.post("/api/v1/network/drift/repair", json=repair).json()
    assert changed["removed"] == ["polatis-1:2-11"]
    assert house.driver.table == set()
    unknown = {"chassis": "polatis-7", "change": "devices"}
    assert house.client.post("/api/v1/network/drift/repair", json=unknown).status_code == 404


def test_the_network_tells_lost_fibres_and_ports_in_use(house: House) -> None:
    house.connect()
    house.driver.darken(PortRef("polatis-1", 26))
    network = house.client.get("/api/v1/network").json()
    fibres = {f["name"]: f["state"] for f in network["fibres"]}
    assert (fibres["classical-spool-3"], fibres["jumper-3"]) == ("lost", "ok")
    in_use = {s["name"]: s["ports_in_use"] for s in network["virtual_switches"]}
    assert in_use == {"vs-1": [5, 9], "vs-2": [], "vs-3": [], "vs-4": [25, 26]}
    (circuit,) = house.client.get("/api/v1/circuits").json()["circuits"]
    assert circuit["lost_at"] == ["polatis-1:26"]


def test_the_topology_is_served_in_the_shape_of_rfc_8345(house: House) -> None:
    house.driver.darken(PortRef("polatis-1", 4))
    answer = house.client.get("/restconf/data/ietf-network:networks")
    assert answer.headers["content-type"] == "application/yang-data+json"
    assert rfc8345.parse(answer.text).port_of("bob-3") == PortRef("polatis-1", 4)
    under = answer.json()["ietf-network:networks"]["network"][0]["node"][0]
    states = [
        p["qnfv-optical-topology:state"] for p in under["ietf-network-topology:termination-point"]
    ]
    assert states[:5] == ["up", "up", "up", "dark", "up"]


def test_an_unknown_circuit_is_not_found(house: House) -> None:
    assert house.client.delete(f"/api/v1/circuits/{uuid4()}").status_code == 404

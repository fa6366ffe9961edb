"""The sequence of a deployment, found in frames as tshark tells of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from emulators.lab.capture import Packet, broken_order, sequence
from emulators.lab.errors import LabError
from sdn_client.drivers.opendaylight.driver import _BATCH_RPC, _STATISTICS_RPC

PORTS = {
    "rest": 1,
    "restconf": 2,
    "openflow": 3,
    "controller": 4,
    "gateway-dc-1": 5,
    "relay-dc-1": 6,
}
LAB: Any = SimpleNamespace(layout=SimpleNamespace(ports=PORTS))


def asked(port: int, uri: str) -> dict[str, str]:
    return {"tcp.dstport": str(port), "http.request.method": "POST", "http.request.uri": uri}


BATCH = asked(2, f"/rests/operations/{_BATCH_RPC}")
READ = asked(2, f"/rests/operations/{_STATISTICS_RPC}")
FLOW_MOD = {"tcp.srcport": "3", "openflow_v4.type": "14"}
CFLOW_MOD = {"tcp.srcport": "4", "cflow_mod.command": "0"}
CIRCUIT = [READ, BATCH, READ, FLOW_MOD, CFLOW_MOD]
DEPLOYMENT = [
    asked(1, "/api/v1/deployments"),
    *CIRCUIT,
    {"idq3p.type": "0"},
    {"idq3p.type": "1", "idq3p.status": "0"},
    *CIRCUIT,
    {"tcp.dstport": "6", "tcp.len": "1400"},
    asked(5, "/notice") | {"tcp.stream": "9"},
    {"tcp.srcport": "5", "tcp.stream": "9", "http.response.code": "200"},
]
FIELDS = (
    *("tcp.srcport", "tcp.dstport", "tcp.stream", "tcp.len"),
    *("http.request.method", "http.request.uri", "http.response.code"),
    *("openflow_v4.type", "cflow_mod.command", "idq3p.type", "idq3p.status"),
)


def packets(frames: list[dict[str, str]]) -> list[Packet]:
    return [
        Packet(
            dict.fromkeys(FIELDS, "")
            | {"frame.number": str(number), "frame.time_epoch": str(number)}
            | frame
        )
        for number, frame in enumerate(frames, 1)
    ]


def test_restconf_is_the_call_that_changes_flows_and_not_one_that_reads_them() -> None:
    events = sequence(packets(DEPLOYMENT), LAB, "dc-1")
    asking = [e.packet for e in events if e.name.startswith("RESTCONF")]
    assert [p["http.request.uri"] for p in asking] == [BATCH["http.request.uri"]] * 2
    assert broken_order(events) == []


def test_a_capture_without_that_call_is_no_sequence() -> None:
    with pytest.raises(LabError, match="RESTCONF, quantum"):
        sequence(packets([f for f in DEPLOYMENT if f is not BATCH]), LAB, "dc-1")

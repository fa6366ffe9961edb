"""tshark reads the vectors of CFLOW_MOD and IDQ3P with our dissectors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packets import tcp, udp, write_capture

pytestmark = pytest.mark.real("tshark")

ROOT = Path(__file__).parents[3]
DISSECTORS = sorted((ROOT / "deploy" / "wireshark").glob("*.lua"))
VECTORS = ROOT / "tests" / "vectors"
PORT = 26733


def tshark(capture: Path, *flags: str) -> str:
    scripts = [flag for file in DISSECTORS for flag in ("-X", f"lua_script:{file}")]
    command = ["tshark", *scripts, "-d", f"tcp.port=={PORT},cflow_mod", "-r", str(capture)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60)
    assert "Lua" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


def fields(capture: Path, *names: str) -> list[tuple[str, ...]]:
    flags = ["-T", "fields", "-E", "separator=;", *(f for n in names for f in ("-e", n))]
    return [tuple(line.split(";")) for line in tshark(capture, *flags).splitlines()]


def vectors(file: str) -> list[dict[str, Any]]:
    document = json.loads((VECTORS / "cflow_mod" / file).read_text())
    found: list[dict[str, Any]] = document["vectors"]
    return found


def openflow(tmp_path: Path, messages: Iterable[bytes]) -> Path:
    """Each message in a segment of its own."""
    capture, packets, sequence = tmp_path / "openflow.pcap", [], 1
    for message in messages:
        packets.append(tcp(message, source=40000, target=PORT, sequence=sequence))
        sequence += len(message)
    write_capture(capture, packets)
    return capture


def test_every_cflow_mod_vector_is_read(tmp_path: Path) -> None:
    wanted = vectors("cflow_mod.json")
    capture = openflow(tmp_path, [bytes.fromhex(v["hex"]) for v in wanted])
    read = fields(
        capture,
        *(f"cflow_mod.{n}" for n in ("xid", "command", "in_port", "out_port", "malformed")),
    )
    assert len(read) == len(wanted)
    for vector, (xid, command, in_ports, out_ports, malformed) in zip(wanted, read, strict=True):
        message = vector["message"]
        assert (int(xid), int(command)) == (message["xid"], message["command"]), vector["name"]
        for said, key in ((in_ports, "in_ports"), (out_ports, "out_ports")):
            ports = [int(port) for port in said.split(",") if port]
            assert ports == (message.get(key) or []), vector["name"]
        assert malformed == "", vector["name"]


def test_every_other_message_has_its_name(tmp_path: Path) -> None:
    wanted = vectors("other_messages.json")
    capture = openflow(tmp_path, [bytes.fromhex(v["hex"]) for v in wanted])
    read = fields(capture, "cflow_mod.xid", "_ws.col.Info")
    assert len(read) == len(wanted)
    for vector, (xid, info) in zip(wanted, read, strict=True):
        assert int(xid) == vector["fields"]["xid"], vector["name"]
        assert "malformed" not in info, vector["name"]
        assert not info.startswith("type "), vector["name"]


def test_features_replies_tell_the_datapath(tmp_path: Path) -> None:
    wanted = vectors("features_reply.json")
    capture = openflow(tmp_path, [bytes.fromhex(v["hex"]) for v in wanted])
    read = fields(capture, "cflow_mod.datapath_id")
    assert [int(one, 16) for (one,) in read] == [v["datapath_id"] for v in wanted]


def test_messages_are_put_together_from_segments_and_taken_apart(tmp_path: Path) -> None:
    add, delete = (bytes.fromhex(v["hex"]) for v in vectors("cflow_mod.json")[:2])
    stream = add + delete
    capture = openflow(tmp_path, [stream[:5], stream[5:40], stream[40:]])
    commands = [c for (c,) in fields(capture, "cflow_mod.command") if c]
    assert ",".join(commands) == "0,3"
    info = tshark(capture)
    assert "CFLOW_MOD ADD 1-97" in info
    assert "CFLOW_MOD DELETE 1-97" in info


def test_malformed_bytes_are_an_expert_note_and_no_lua_error(tmp_path: Path) -> None:
    # Bodies of one byte for every type; and bytes that no frame reader would let pass.
    messages = [bytes([1, kind, 0, 9, 0, 0, 0, 1, 0xFF]) for kind in range(256)]
    capture = openflow(tmp_path, messages)
    assert "Lua Error" not in tshark(capture, "-V")
    notes = fields(capture, "cflow_mod.type", "cflow_mod.malformed")
    assert {int(kind) for kind, note in notes if note} == {1, 6, 17, 22, 23, 0xFE, 0xFF}
    hostile = [bytes.fromhex(v["hex"]) for v in vectors("malformed.json")]
    assert "Lua Error" not in tshark(openflow(tmp_path, hostile), "-V")


def test_idq3p_datagrams_are_read_and_no_key_is_shown(tmp_path: Path) -> None:
    document = json.loads((VECTORS / "idq3p" / "datagrams.json").read_text())
    wanted = [v for v in document["datagrams"] if v["byteorder"] == "little"]
    capture = tmp_path / "idq3p.pcap"
    write_capture(
        capture, [udp(bytes.fromhex(v["octets"]), source=4000, target=5323) for v in wanted]
    )
    read = fields(
        capture, "idq3p.type", "idq3p.key_id", "idq3p.request_id", "idq3p.status", "idq3p.crc.bad"
    )
    for vector, (kind, key_id, request_id, status, bad) in zip(wanted, read, strict=True):
        assert int(kind) == (vector["kind"] == "response"), vector["name"]
        assert key_id == vector["key_id"], vector["name"]
        assert int(request_id, 16) == vector["request_id"], vector["name"]
        assert status == (str(vector["status"]) if vector["kind"] == "response" else "")
        assert bad == "", vector["name"]
    shown = tshark(capture, "-V") + tshark(capture)
    keys = [v["key"] for v in wanted if v.get("key") and set(v["key"]) != {"0"}]
    assert keys
    for key in keys:
        assert key not in shown.replace(":", "")


def test_a_wrong_crc_is_said(tmp_path: Path) -> None:
    capture = tmp_path / "idq3p.pcap"
    write_capture(capture, [udp(bytes(29), source=4000, target=5323)])
    assert "[wrong CRC]" in tshark(capture)

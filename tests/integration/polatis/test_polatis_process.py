"""The emulated switch as a process: real bytes, real time, hostile controllers, the plant."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from raw_controller import LAB, Started

VECTORS = Path(__file__).parents[2] / "vectors" / "cflow_mod"
ADD, MODIFY, DELETE, DROP = 0, 1, 3, 0xFFFF


def test_features_tell_the_chassis_and_its_circuit_ports(started: Started) -> None:
    started.switch()
    peer = started.peer()
    peer.send("0105000800000002")
    xid, body = peer.receive_type(6)
    assert xid == 2
    assert int.from_bytes(body[:8], "big") == 1
    assert body[13] == 32  # n_cports
    ports = [body[24 + 80 * n : 104 + 80 * n] for n in range(32)]
    assert len(body) == 24 + 32 * 80
    assert [int.from_bytes(p[:2], "big") for p in ports] == list(range(1, 33))
    assert all(p[52:54] == b"\x80\x00" for p in ports)  # fibre
    assert ports[0][8:24].rstrip(b"\0") == b"port-1"


def test_the_barrier_waits_for_the_mirrors_of_the_whole_batch(started: Started) -> None:
    started.switch()
    peer = started.peer()
    for n in range(1, 9):
        peer.mod(ADD, n, 17 - n)
    assert 0.02 < peer.barrier() < 0.15  # one after another would be 0.2 s
    assert peer.table() == {(n, 17 - n) for n in range(1, 9)}
    assert peer.barrier() < 0.02  # nothing moves any more


def test_the_table_shows_no_pair_whose_mirrors_move(started: Started) -> None:
    started.switch()
    peer = started.peer()
    peer.mod(ADD, 1, 2)
    assert peer.table() == set()
    peer.barrier()
    assert peer.table() == {(1, 2)}
    peer.mod(DELETE, 2, 1)
    assert peer.table() == set()


def test_requests_behind_a_barrier_wait_for_it(started: Started) -> None:
    started.switch()
    peer = started.peer()
    # In one segment: join, barrier, read back.
    peer.send(
        "01ff001c000000070000000000000000003c00010000000000010002"
        "0112000800000008"
        "0110003800000006" + "00010000" + "003fffff" + "00" * 36 + "ff00ffff"
    )
    kinds = [peer.receive()[0] for _ in range(4)]
    assert kinds == [0xFE, 0xFE, 19, 17]


@pytest.mark.parametrize(
    ("hex_", "error"),
    [
        ("01ff001c000000070000000000000000003c00010000000000010003", (0xFFFF, 1)),  # overlap
        ("01ff001c000000070003000000000000003c00010000000000010003", (0xFFFF, 2)),  # mismatch
        ("01ff001c000000070000000000000000003c00010000000000030003", (0xFFFF, 2)),
        ("01ff001c000000070000000000000000003c00010000000000030063", (2, 4)),  # port 99
        ("01ff001c000000070000000000000000003c00010000000000030011", (3, 2)),  # partitions
        ("01ff001c000000070001000000000000003c00010000000000030004", (3, 5)),  # MODIFY
        ("01ff001c00000007000000050000000000" + "3c00010000000000030004", (3, 5)),  # time limit
        ("01ff001c000000070009000000000000003c00010000000000030004", (3, 4)),  # command
        ("01ff0024000000070000000000000000003c00010000000000030004" + "0000000800040000", (2, 0)),
        (
            "01ff0028000000070000000000000000003300010000000000050000000000000006000300000000",
            (3, 5),
        ),  # TDM
        ("01ff000c0000000700000000", (1, 6)),  # too short
        ("010e000800000007", (1, 1)),  # FLOW_MOD is not spoken
        ("0412000800000007", (1, 0)),  # OpenFlow 1.3
        ("0110000c0000000700000000", (1, 2)),  # description statistics
    ],
)
def test_errors_name_request_type_and_code_and_change_nothing(
    started: Started, hex_: str, error: tuple[int, int]
) -> None:
    started.switch()
    peer = started.peer()
    peer.mod(ADD, 1, 2, xid=1)
    peer.send(hex_)
    assert peer.error() == (7, *error)
    peer.barrier()
    assert peer.table() == {(1, 2)}


def test_a_port_status_tells_when_a_port_is_taken_and_free(started: Started) -> None:
    started.switch()
    peer = started.peer()
    seen: list[tuple[int, int, int]] = []
    for command in (ADD, DROP):
        peer.mod(command, 1, 2)
        for _ in range(2):
            _, body = peer.receive_type(0xFE)
            assert len(body) == 88
            number, free = struct.unpack("!H", body[8:10])[0], body[-1]
            seen.append((body[0], number, free))
    assert seen == [(255, 1, 0), (255, 2, 0), (255, 1, 1), (255, 2, 1)]


def test_light_stays_while_the_controller_is_away_and_goes_with_the_power(
    started: Started,
) -> None:
    process = started.switch()
    peer = started.peer()
    peer.mod(ADD, 1, 2)
    peer.barrier()
    peer.socket.close()
    peer = started.peer()
    assert peer.table() == {(1, 2)}
    process.kill()
    started.switch()
    assert started.peer().table() == set()


def test_kept_cross_connects_are_there_after_kill_9(started: Started) -> None:
    flags = ("--startup", "preserve", "--state-file", str(started.folder / "state.json"))
    process = started.switch(*flags)
    peer = started.peer()
    peer.mod(ADD, 1, 2)
    peer.mod(ADD, 5, 7)
    peer.mod(DELETE, 5, 7)
    peer.barrier()
    process.kill()
    process.wait(10)
    started.switch(*flags)
    peer = started.peer()
    peer.barrier()
    assert peer.table() == {(1, 2)}


@pytest.mark.parametrize(
    "kept", ["", "[]", '{"cross_connects": [[1, 99]]}', '{"cross_connects": 3}']
)
def test_a_spoilt_state_file_means_a_dark_start(started: Started, kept: str) -> None:
    state = started.folder / "state.json"
    state.write_text(kept)
    started.switch("--startup", "preserve", "--state-file", str(state))
    assert started.peer().table() == set()


def test_a_silent_controller_is_probed_and_given_up(started: Started) -> None:
    started.switch("--idle-s", "0.1")
    peer = started.peer()
    assert peer.receive()[0] == 2  # echo request
    peer.send("0103000800000000")
    assert peer.receive()[0] == 2
    with pytest.raises(ConnectionError):
        peer.receive()
    started.peer()  # and it comes again


def test_hostile_controllers_do_not_bring_it_down(started: Started) -> None:
    process = started.switch()
    rng = random.Random(20160918)
    vectors = [
        bytes.fromhex(row["hex"])
        for name in ("cflow_mod.json", "malformed.json", "other_messages.json")
        for row in json.loads((VECTORS / name).read_text())["vectors"]
    ]
    first = started.peer()
    first.mod(ADD, 1, 2)
    first.barrier()
    first.socket.close()
    floods = [
        bytes(64),
        b"\xff" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        bytes.fromhex("01ffffff00000001") + rng.randbytes(65527),
        rng.randbytes(100_000),
        *vectors,
        *(bytes([1, rng.choice((0xFF, 16, 6, 18))]) + rng.randbytes(60) for _ in range(20)),
    ]
    for flood in floods:
        peer = started.peer()
        try:
            peer.socket.sendall(flood)
            peer.socket.shutdown(socket.SHUT_WR)
            while peer.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        finally:
            peer.socket.close()
    assert process.poll() is None
    peer = started.peer()
    ports = [port for pair in peer.table() for port in pair]
    assert len(ports) == len(set(ports))
    assert set(ports) <= set(range(1, 29))
    peer.mod(ADD, 27, 28)
    peer.barrier()
    assert (27, 28) in peer.table()


def send_until_refused(to: socket.socket, data: bytes, deadline: float) -> None:
    """Send again and again, patient with full buffers; ends with the peer's hanging up."""
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            to.sendall(data)


def test_a_controller_that_sends_and_never_reads_is_given_up(started: Started) -> None:
    process = started.switch("--idle-s", "0.3")
    peer = started.peer()
    peer.socket.settimeout(0.2)
    request = bytes.fromhex("0105000800000002") * 4096
    deadline = time.monotonic() + 30
    with pytest.raises(ConnectionError):
        send_until_refused(peer.socket, request, deadline)
    peer.socket.close()
    assert process.poll() is None
    started.peer().barrier()


def test_it_ends_at_once_when_told(started: Started) -> None:
    process = started.switch()
    started.peer()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--chassis", "calient-1"], "no chassis named 'calient-1'"),
        (["--chassis", "polatis-1", "--startup", "preserve"], "belong together"),
        (["--chassis", "polatis-1", "--plant", "nowhere"], "not HOST:PORT"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "emulators.polatis", "--topology", str(LAB)]
    command += ["--controller", "127.0.0.1:1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert says in done.stderr


class PlantEnd:
    """The plant's end of the switch's connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> None:
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(10)
        self._lines = self.connection.makefile("rb")

    def line(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._lines.readline())
        return document

    def close(self) -> None:
        self._lines.close()
        self.connection.close()


def test_the_plant_hears_what_passes_light_at_each_moment(started: Started) -> None:
    plant = PlantEnd()
    started.switch("--plant", plant.address)
    plant.accept()
    assert plant.line() == {"hello": "switch", "chassis": "polatis-1"}
    assert plant.line() == {"cross_connects": []}
    peer = started.peer()
    begun = time.monotonic()
    peer.mod(ADD, 1, 2)
    assert plant.line() == {"cross_connects": [[1, 2]]}
    assert time.monotonic() - begun >= 0.025
    # Replaced in one batch: dark while the mirrors move.
    peer.mod(DELETE, 1, 2)
    peer.mod(ADD, 1, 3)
    assert plant.line() == {"cross_connects": []}
    assert plant.line() == {"cross_connects": [[1, 3]]}
    plant.connection.sendall(b'{"error": "too dark"}\n')
    plant.close()
    plant.accept()  # it comes again and says all
    assert plant.line()["hello"] == "switch"
    assert plant.line() == {"cross_connects": [[1, 3]]}
    plant.connection.sendall(b"x" * 200_000)  # no line: hostile
    plant.accept()
    assert plant.line()["hello"] == "switch"
    assert plant.line() == {"cross_connects": [[1, 3]]}
    plant.close()
    peer.barrier()


def test_two_controllers_share_the_mirrors_and_not_their_barriers(started: Started) -> None:
    port = started.port
    started.switch("--controller", f"127.0.0.1:{port}")  # beside the one it always gets
    one, other = started.peer(), started.peer()
    one.mod(0, 1, 2)
    other.mod(0, 17, 18)
    assert one.barrier() + other.barrier() < 0.3
    assert one.table() == other.table() == {(1, 2), (17, 18)}
    other.mod(0, 1, 3, xid=8)
    assert other.error() == (8, 0xFFFF, 1)
    # The other's mirrors move again while the barrier of the first waits: it waits for its own.
    one.mod(3, 1, 2)
    one.send("0112000800000063")
    for command in (3, 0) * 5:
        time.sleep(0.015)  # so that some mirror moves all the time
        other.mod(command, 17, 18)
    begun = time.monotonic()
    assert one.receive_type(19)[0] == 0x63
    assert time.monotonic() - begun < 0.02


def test_a_barrier_waits_for_its_own_connection_and_for_what_moved_before_it(
    started: Started, tmp_path: Path
) -> None:
    slow = tmp_path / "topology.toml"
    text = LAB.read_text()
    assert "switching_time_ms = 25\n" in text
    slow.write_text(text.replace("switching_time_ms = 25\n", "switching_time_ms = 1500\n"))
    started.switch("--controller", f"127.0.0.1:{started.port}", topology=slow)
    one, other = started.peer(), started.peer()
    other.mod(ADD, 17, 18)
    assert one.barrier() < 0.7  # a batch over both takes one switching time
    one.mod(ADD, 1, 2)
    one.socket.close()
    # Whoever comes back reads what it made, although its mirrors still moved.
    again = started.peer()
    again.barrier()
    assert again.table() == {(1, 2), (17, 18)}
    other.mod(ADD, 19, 20)
    again.mod(ADD, 19, 20)  # joined already, and moving
    again.barrier()
    assert (19, 20) in again.table()

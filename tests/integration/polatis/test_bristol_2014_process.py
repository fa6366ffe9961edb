"""The emulated switch as the agent of October 2014 has it, and its TL1 port: bare bytes."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import time
from collections.abc import Iterator

import pytest
from free_ports import free_port
from raw_controller import Peer, Started

ADD, MODIFY, DELETE, DROP = 0, 1, 3, 0xFFFF


class Tl1:
    """A TL1 client of bare text."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._unread = ""

    def ask(self, command: str) -> str:
        """Send it; what comes back up to the end of the block."""
        self.socket.sendall(command.encode())
        while (end := re.search(r";\r\n", self._unread)) is None:
            data = self.socket.recv(65536)
            assert data, "the switch hung up"
            self._unread += data.decode()
        answer, self._unread = self._unread[: end.end()], self._unread[end.end() :]
        return answer

    def log_in(self) -> None:
        assert "M  1 COMPLD" in self.ask("ACT-USER::admin:1::secret-1;")

    def table(self) -> set[tuple[int, int]]:
        answer = self.ask("RTRV-PATCH:::7:;")
        assert "M  7 COMPLD" in answer
        return {(int(a), int(b)) for a, b in re.findall(r'"(\d+),(\d+)"', answer)}


@pytest.fixture
def tl1(started: Started) -> Iterator[Tl1]:
    """The device runs, the client is logged in."""
    password, port = started.folder / "password", free_port()
    password.write_text("secret-1\n")
    flags = ("--listen", f"127.0.0.1:{port}", "--password-file", str(password))
    started.switch("--profile", "bristol-2014", *flags)
    deadline = time.monotonic() + 20
    while True:
        try:
            client = Tl1(port)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until it listens, bounded by the deadline
    client.log_in()
    yield client
    client.socket.close()


@pytest.fixture
def peer(started: Started, tl1: Tl1) -> Peer:
    return started.peer()


def test_features_number_ports_from_0_and_write_bandwidth_in_host_order(peer: Peer) -> None:
    peer.send("0105000800000002")
    _, body = peer.receive_type(6)
    ports = [body[24 + 80 * n : 104 + 80 * n] for n in range(32)]
    assert len(body) == 24 + 32 * 80
    assert [int.from_bytes(p[:2], "big") for p in ports] == list(range(32))
    assert {p[64:66] for p in ports} == {b"\x01\x00"}
    assert {p[72:80] for p in ports} == {b"\x01" + bytes(7)}
    assert [p[8:24].rstrip(b"\0") for p in ports[:2]] == [b"1", b"2"]


def test_one_byte_a_port_and_any_command_but_add_tears_down(peer: Peer, tl1: Tl1) -> None:
    for command in (MODIFY, DELETE, DROP, 2, 4):
        peer.mod(ADD, 0, 1)
        peer.barrier()
        assert tl1.table() == {(1, 2)}
        peer.mod(command, 0, 1)
        peer.barrier()
        assert tl1.table() == set(), command
    peer.mod(0x0100, 0x0100, 0x0701)  # only the low bytes count
    peer.barrier()
    assert tl1.table() == {(1, 2)}
    peer.mod(DELETE, 0, 9)  # and the out port does not, when it parts
    peer.barrier()
    assert tl1.table() == set()


def test_neither_failure_nor_success_is_told_and_the_barrier_does_not_wait(
    peer: Peer, tl1: Tl1
) -> None:
    peer.mod(ADD, 0, 1)
    peer.mod(ADD, 0, 2)  # in use
    peer.mod(ADD, 3, 200)  # no such port
    peer.send("0112000800000063")
    begun = time.monotonic()
    assert peer.receive()[:2] == (19, 0x63)  # and nothing before it
    assert time.monotonic() - begun < 0.02
    assert tl1.table() == {(1, 2)}


def test_statistics_are_not_answered(peer: Peer) -> None:
    peer.send("0110003800000006" + "00010000" + "003fffff" + "00" * 36 + "ff00ffff")
    peer.send("0102000800000009")
    assert peer.receive()[:2] == (3, 9)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ENT-PATCH::1,40:5:;", "IIAC"),
        ("ENT-PATCH::1,1:5:;", "IIAC"),
        ("ENT-PATCH::1,17:5:;", "PICC"),
        ("ENT-PATCH::5,9:5:;", "SROF"),
        ("ENT-PATCH::1&2,3:5:;", "IIAC"),
        ("ENT-PATCH::x:5:;", "IIAC"),
        ("DLT-PATCH::9:5:;", "SNOS"),
        ("OPR-PORT-SHUTTER::1:5:;", "ICNV"),
        ("ACT-USER::admin:5::wrong;", "PLNA"),
        ("nonsense;", "IICT"),
    ],
)
def test_tl1_refuses_with_a_code_and_changes_nothing(tl1: Tl1, command: str, code: str) -> None:
    tl1.ask("ENT-PATCH::5,6:4:;")
    answer = tl1.ask(command)
    assert "DENY" in answer
    assert f"\r\n   {code}\r\n" in answer
    tl1.log_in()
    assert tl1.table() == {(5, 6)}


def test_tl1_joins_and_parts(tl1: Tl1) -> None:
    assert "COMPLD" in tl1.ask("ENT-PATCH::1&2&3,6&&8:4:;")
    assert tl1.table() == {(1, 6), (2, 7), (3, 8)}
    assert "COMPLD" in tl1.ask("dlt-patch::2&3:5:;")
    assert tl1.table() == {(1, 6)}
    assert "COMPLD" in tl1.ask("DLT-PATCH::ALL:6:;")
    assert tl1.table() == set()


def test_tl1_tells_nothing_before_the_login(tl1: Tl1) -> None:
    stranger = Tl1(tl1.socket.getpeername()[1])
    for command in ("RTRV-PATCH:::1:;", "ENT-PATCH::1,2:1:;", "ACT-USER::root:1::secret-1;"):
        answer = stranger.ask(command)
        assert "PLNA" in answer
        assert "secret" not in answer
    stranger.socket.close()
    assert tl1.table() == set()


def test_hostile_tl1_clients_do_not_bring_it_down(peer: Peer, tl1: Tl1) -> None:
    rng = random.Random(2014)
    address = tl1.socket.getpeername()
    for junk in [b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n;", b'"' * 999, rng.randbytes(70_000)]:
        with socket.create_connection(address, timeout=10) as stranger:
            stranger.sendall(junk)
            stranger.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while stranger.recv(65536):
                    pass
    for junk in [bytes(8), b"\x01\xff\x00\x09" + bytes(5), b"\x01\xff\x00\x1b" + bytes(23)]:
        with contextlib.suppress(OSError):
            peer.socket.sendall(junk)
    assert tl1.table() == set()

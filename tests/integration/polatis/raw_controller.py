"""A controller of bare sockets and bytes, so that the emulator meets no code that it shares."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

LAB = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"


class Peer:
    """The controller's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        self.socket = connection

    def send(self, hex_: str) -> None:
        self.socket.sendall(bytes.fromhex(hex_))

    def receive(self) -> tuple[int, int, bytes]:
        """Type, xid and body of the next message; ConnectionError at the end."""
        version, kind, length, xid = struct.unpack("!BBHI", self._exactly(8))
        assert version == 1
        return kind, xid, self._exactly(length - 8)

    def receive_type(self, wanted: int) -> tuple[int, bytes]:
        """Skip to the next message of that type: its xid and body."""
        while True:
            kind, xid, body = self.receive()
            if kind == wanted:
                return xid, body

    def mod(self, command: int, a: int, b: int, xid: int = 7) -> None:
        self.send(f"01ff001c{xid:08x}{command:04x}000000000000003c000100000000{a:04x}{b:04x}")

    def barrier(self, xid: int = 99) -> float:
        """Send a barrier and wait for its answer; the seconds that took."""
        begun = time.monotonic()
        self.send(f"01120008{xid:08x}")
        answered, _ = self.receive_type(19)
        assert answered == xid
        return time.monotonic() - begun

    def table(self) -> set[tuple[int, int]]:
        self.send("0110003800000006" + "00010000" + "003fffff" + "00" * 36 + "ff00ffff")
        xid, body = self.receive_type(17)
        assert xid == 6
        entries = body[4:]
        assert len(entries) % 96 == 0
        return {
            (
                int.from_bytes(entries[at + 8 : at + 10], "big"),
                int.from_bytes(entries[at + 92 : at + 94], "big"),
            )
            for at in range(0, len(entries), 96)
        }

    def error(self) -> tuple[int, int, int]:
        """The next ERROR: xid, type, code."""
        xid, body = self.receive_type(1)
        return xid, *struct.unpack("!HH", body[:4])

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the switch closed the connection")
            data += piece
        return data


class Started:
    """What a test started; `close` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port: int = self._listener.getsockname()[1]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._peers: list[Peer] = []

    def switch(self, *flags: str, topology: Path = LAB) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "emulators.polatis", "--topology", str(topology)]
        command += ["--chassis", "polatis-1", "--controller", f"127.0.0.1:{self.port}"]
        command += ["--reconnect-s", "0.05", *flags]
        process = subprocess.Popen(command)
        self._processes.append(process)
        return process

    def process(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, *command])
        self._processes.append(process)
        return process

    def peer(self) -> Peer:
        """The next connection of a switch, after both said HELLO."""
        connection, _ = self._listener.accept()
        peer = Peer(connection)
        self._peers.append(peer)
        peer.send("0100000800000001")
        assert peer.receive()[0] == 0
        return peer

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
        for peer in self._peers:
            peer.socket.close()
        self._listener.close()

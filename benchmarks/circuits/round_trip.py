"""The bare messages: one CFLOW_MOD and one barrier to the emulated switch, over a plain socket."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from sdn_client import cflow_mod as of

_LIMIT_S = 20.0


def measure(topology: Path, chassis: str, ports: tuple[int, int], times: int) -> list[float]:
    """Milliseconds from the CFLOW_MOD (ADD and DELETE in turn) to the barrier's answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_LIMIT_S)
        port = listener.getsockname()[1]
        switch = subprocess.Popen(
            [sys.executable, "-m", "emulators.polatis", "--topology", str(topology),
             "--chassis", chassis, "--controller", f"127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(_LIMIT_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(of.encode(of.Hello(0)))
                return [_once(connection, number, ports) for number in range(times)]
        finally:
            switch.kill()
            switch.wait(_LIMIT_S)


def _once(connection: socket.socket, number: int, ports: tuple[int, int]) -> float:
    command = of.Command.DELETE if number % 2 else of.Command.ADD
    xid = 2 * number + 1
    mod = of.CFlowMod(xid, command, of.Components.fibre(ports))
    messages = of.encode(mod) + of.encode(of.BarrierRequest(xid + 1))
    frames = of.FrameReader()
    began_s = time.perf_counter()
    connection.sendall(messages)
    while True:
        for frame in frames.feed(connection.recv(1 << 16)):
            if isinstance(of.decode(frame), of.BarrierReply):
                return (time.perf_counter() - began_s) * 1000

"""A switch that does what a test says, lies included; spoken with the project's codec."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sdn_client import cflow_mod as of

Answer = Callable[["ScriptedSwitch", of.Message], list[of.Message] | None]
"""What to send back; None hangs up."""


@dataclass
class ScriptedSwitch:
    """Connects to a driver and answers with `answer`, in a thread of its own."""

    address: tuple[str, int]
    answer: Answer
    datapath_id: int = 1
    ports: int = 32
    table: list[tuple[int, int]] = field(default_factory=list)
    heard: list[of.Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=20)
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the driver may have hung up first
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.socket.close()

    def _run(self) -> None:
        frames = of.FrameReader()
        try:
            while data := self.socket.recv(65536):
                for frame in frames.feed(data):
                    message = of.decode(frame)
                    self.heard.append(message)
                    answers = self.answer(self, message)
                    if answers is None:
                        return
                    self.socket.sendall(b"".join(of.encode(a) for a in answers))
        except OSError:
            pass  # a connection that the driver ended
        finally:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.ended.set()


def honest(switch: ScriptedSwitch, message: of.Message) -> list[of.Message]:
    """What a good switch without inertia answers."""
    match message:
        case of.Hello():
            return [of.Hello(1)]
        case of.EchoRequest():
            return [of.EchoReply(message.xid, message.data)]
        case of.FeaturesRequest():
            ports = tuple(of.CircuitPort(n) for n in range(1, switch.ports + 1))
            return [of.FeaturesReply(message.xid, switch.datapath_id, ports)]
        case of.BarrierRequest():
            return [of.BarrierReply(message.xid)]
        case of.FlowStatsRequest():
            entries = tuple(of.FlowEntry(a, b) for a, b in switch.table)
            return [of.FlowStatsReply(message.xid, entries)]
        case of.CFlowMod():
            for pair in message.components.fibre_pairs or ():
                if message.command == of.Command.ADD:
                    switch.table.append(pair)
                elif pair in switch.table:
                    switch.table.remove(pair)
            return []
    return []

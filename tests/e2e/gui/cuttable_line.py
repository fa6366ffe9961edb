"""A line between a browser and the orchestrator that a test cuts in the middle of a request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

_PIECE_BYTES = 65_536


class CuttableLine:
    """Relays TCP on loopback to `port`; the browser speaks to `url`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._fault: tuple[Literal["cut", "stall"], int] | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self.struck = threading.Event()
        """Set once the fault came."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def strike(self, fault: Literal["cut", "stall"], after_bytes: int) -> None:
        """The next connection that carried so many bytes to the orchestrator ends, or hangs."""
        self.struck.clear()
        self._fault = (fault, after_bytes)

    @contextmanager
    def running(self) -> Iterator[CuttableLine]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._ending.set()
            self._listener.close()
            with self._lock:
                for end in self._open:
                    _end(end)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                if self._ending.is_set():
                    return
                _end(near)  # the orchestrator is away: so is the line
                continue
            with self._lock:
                self._open |= {near, far}
            for source, target, is_up in ((near, far, True), (far, near, False)):
                threading.Thread(
                    target=self._carry, args=(source, target), kwargs={"is_up": is_up}, daemon=True
                ).start()

    def _carry(self, source: socket.socket, target: socket.socket, *, is_up: bool) -> None:
        carried = 0
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                carried += len(piece)
                fault = self._fault
                if is_up and fault is not None and carried > fault[1]:
                    self._fault = None
                    self.struck.set()
                    if fault[0] == "cut":
                        break
                    # What is read no more hangs, until the browser gives it up.
                    while source.recv(1, socket.MSG_PEEK):
                        self._ending.wait(0.01)
                    break
                target.sendall(piece)
        for end in (source, target):
            _end(end)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

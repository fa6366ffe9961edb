"""A line between a slave stack and its Docker engine that is really cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

_PIECE_BYTES = 65_536


class CuttableEngine:
    """Relays TCP on loopback to the engine's socket, until it is cut; then it refuses."""

    def __init__(self, engine: Path) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = 0
        self.mend()

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    def cut(self) -> int:
        """End every connection, half-done requests too, and refuse new ones; how many it ended."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                _end(listener)  # wakes who accepts; the port then refuses
            ended = list(self._open)
            for end in ended:
                _end(end)
        return len(ended) // 2

    def mend(self) -> None:
        """Take connections again, at the port of before."""
        with self._lock:
            listener = socket.create_server(("127.0.0.1", self._port))
            self._port = listener.getsockname()[1]
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._engine))
            except OSError:
                _end(near)
                _end(far)
                continue
            with self._lock:
                if self._listener is not listener:  # cut in this very moment
                    _end(near)
                    _end(far)
                    return
                self._open |= {near, far}
            ends = (near, far)
            done = threading.Barrier(2)
            for source, target in (ends, ends[::-1]):
                threading.Thread(
                    target=self._carry, args=(source, target, done), daemon=True
                ).start()

    def _carry(self, source: socket.socket, target: socket.socket, done: threading.Barrier) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        if done.wait() == 0:  # both ways are over
            with self._lock:
                self._open -= {source, target}
            _end(source)
            _end(target)


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

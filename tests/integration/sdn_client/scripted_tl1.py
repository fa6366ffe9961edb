"""A TL1 port that answers what a test says, lies included."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from sdn_client.tl1 import Answer, Command, CommandReader

Table = Callable[[], set[tuple[int, int]]]


class ScriptedTl1:
    """Serves one client after another; `answer` makes the bytes for a command."""

    def __init__(self, answer: Callable[[Command], bytes]) -> None:
        self.answer = answer
        self.heard: list[Command] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        commands = CommandReader()
        while data := connection.recv(65536):
            for command in commands.feed(data):
                assert isinstance(command, Command)
                self.heard.append(command)
                connection.sendall(self.answer(command))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(15)


def telling(table: Table) -> Callable[[Command], bytes]:
    """An honest device whose table is `table()`."""

    def answer(command: Command) -> bytes:
        is_read = command.verb == "RTRV-PATCH"
        lines = tuple(f'"{a},{b}"' for a, b in sorted(table())) if is_read else ()
        return Answer(command.ctag, "COMPLD", lines).encode("POLATIS", "26-05-04 12:00:00")

    return answer

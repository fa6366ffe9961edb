"""Carries the bytes of a classical circuit while its light arrives, and resets them when not.

Each connection has two threads that let the kernel move the bytes (`splice` through a pipe), so
that the relay costs little beside the transfer it carries.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

log = logging.getLogger(__name__)

PIPE_OCTETS: Final = 1024 * 1024
CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 64
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Relay:
    """`--relay END_POINT=LISTEN_HOST:PORT->TARGET_HOST:PORT`."""

    end_point: str
    listen: tuple[str, int]
    target: tuple[str, int]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`ValueError` with the reason when `text` has another form."""
        end_point, equals, rest = text.partition("=")
        listen, arrow, target = rest.partition("->")
        if not (end_point and equals and arrow):
            raise ValueError(f"{text!r} is not END_POINT=HOST:PORT->HOST:PORT")
        return cls(end_point, parse_address(listen), parse_address(target))


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`; `ValueError` for anything else."""
    host, colon, port = text.strip().rpartition(":")
    if not host or not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)


class ClassicalRelay:
    """The listener of one data centre's end point. `set_lit` may be called from any thread."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._lit = False
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._connections: set[_Connection] = set()
        self._listener = socket.create_server(relay.listen, backlog=128, reuse_port=False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._accept, name=f"relay-{relay.end_point}", daemon=True
        )
        self._thread.start()

    def set_lit(self, lit: bool) -> None:
        """Tell whether the path stands. Going dark resets every connection at once."""
        with self._lock:
            self._lit = lit
            doomed = [] if lit else list(self._connections)
        for connection in doomed:
            connection.cut()

    def close(self) -> None:
        """Stop listening and reset what stands."""
        self._closing.set()
        self.set_lit(False)
        # shutdown wakes the accepting thread; close alone does not.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("the relay's listener was closed already")
        self._thread.join(CONNECT_TIMEOUT_S + 1)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError as error:
                if self._closing.is_set():
                    return
                # For example no descriptor left; the connections that end give some back.
                log.warning("the relay of %s cannot accept: %s", self.relay.end_point, error)
                self._closing.wait(0.1)
                continue
            self._begin(near)

    def _begin(self, near: socket.socket) -> None:
        with self._lock:
            room = self._lit and len(self._connections) < MAX_CONNECTIONS
            if room:
                connection = _Connection(near, self.relay.target, self._forget)
                self._connections.add(connection)
        if room:
            connection.start()
        else:
            _reset(near)

    def _forget(self, connection: _Connection) -> None:
        with self._lock:
            self._connections.discard(connection)


class _Connection:
    """A relayed connection: two pumps and one event that stops both."""

    def __init__(
        self, near: socket.socket, target: tuple[str, int], on_end: Callable[[_Connection], None]
    ) -> None:
        self._near = near
        self._target = target
        self._on_end = on_end
        self._cut = threading.Event()
        # An event descriptor that is written once and never read wakes every poll on it.
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wake_lock = threading.Lock()
        self._ended = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="relay-connection", daemon=True).start()

    def cut(self) -> None:
        """The light is gone: reset both ends."""
        self._cut.set()
        with self._wake_lock:
            if not self._ended:
                os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        far: socket.socket | None = None
        try:
            far = socket.create_connection(self._target, CONNECT_TIMEOUT_S)
            for end in (self._near, far):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(
                target=self._pump, args=(far, self._near), name="relay-back", daemon=True
            )
            back.start()
            self._pump(self._near, far)
            back.join()
        except OSError as error:
            log.info("the relay's target %s does not answer: %s", self._target, error)
            self._cut.set()
        finally:
            self._end(far)

    def _end(self, far: socket.socket | None) -> None:
        for end in (self._near, far):
            if end is not None and self._cut.is_set():
                _reset(end)
            elif end is not None:
                end.close()
        with self._wake_lock:
            self._ended = True
            os.close(self._wake)
        self._on_end(self)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Move bytes until the source ends, either end fails, or the light goes."""
        readable, writable = self._poll(source, select.POLLIN), self._poll(sink, select.POLLOUT)
        out_of_pipe, into_pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _enlarge(into_pipe)
            while True:
                readable.poll()
                if self._cut.is_set():
                    return
                try:
                    in_pipe = os.splice(source.fileno(), into_pipe, PIPE_OCTETS)
                except BlockingIOError:
                    continue
                if in_pipe == 0:
                    sink.shutdown(socket.SHUT_WR)
                    return
                self._empty(out_of_pipe, sink, in_pipe, writable)
        except OSError as error:
            # One end reset its connection, so the other is reset too.
            log.debug("relayed connection broke: %s", error)
            self.cut()
        finally:
            os.close(out_of_pipe)
            os.close(into_pipe)

    def _empty(self, pipe: int, sink: socket.socket, octets: int, writable: select.poll) -> None:
        while octets and not self._cut.is_set():
            try:
                octets -= os.splice(pipe, sink.fileno(), octets)
            except BlockingIOError:
                writable.poll()

    def _poll(self, end: socket.socket, what: int) -> select.poll:
        """A poll that returns when `end` can go on or the connection was cut."""
        poll = select.poll()
        poll.register(end, what)
        poll.register(self._wake, select.POLLIN)
        return poll


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_OCTETS)
    except PermissionError:
        log.debug("the pipe keeps its default size: the user's limit is reached")


def _reset(end: socket.socket) -> None:
    """Close with RST, so that the peer sees a broken circuit and not an orderly end."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.close()

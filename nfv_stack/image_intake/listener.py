"""The TCP side of the intake: anybody may connect, nobody is believed before the commitment."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from image_transfer.connection import Connection
from image_transfer.errors import HeaderMalformed
from image_transfer.receiver import HEADER_TIMEOUT_S
from nfv_stack.image_intake.intake import ImageIntake
from nfv_stack.image_intake.suites import MAGIC_BYTES
from problem_details import ProblemError
from timekeeping import SystemClock

log = structlog.get_logger(__name__)

_ACCEPT_AGAIN_S = 0.1
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class IntakeListener:
    """Accepts connections and hands each to the intake in a thread of its own."""

    def __init__(self, intake: ImageIntake, *, host: str, port: int, max_connections: int) -> None:
        self._intake = intake
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=64)
        self._places = threading.BoundedSemaphore(max_connections)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="image-intake", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                # Its thread reads an end and closes it, which then tells the sender by a reset: a
                # mere FIN would leave a sender that waits for a window until a timeout.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                connection.shutdown(socket.SHUT_RD)
        if self._thread.is_alive():
            self._thread.join(5)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, peer = self._socket.accept()
            except OSError as error:
                # Out of file descriptors, for example: the next try must not come at once.
                if not self._closing.wait(_ACCEPT_AGAIN_S):
                    log.warning("a connection could not be accepted", why=str(error))
                continue
            if not self._places.acquire(blocking=False):
                log.warning("connection refused: too many at once", peer=peer[0])
                connection.close()
                continue
            with self._lock:
                self._open.add(connection)
            serving = threading.Thread(
                target=self._serve, args=(connection, peer[0]), name="intake", daemon=True
            )
            try:
                serving.start()
            except RuntimeError as error:  # no thread is to be had; others will end
                log.warning("connection refused", peer=peer[0], why=str(error))
                self._let_go(connection)
                connection.close()

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            with connection:
                self._receive(connection)
        except ProblemError as error:
            log.warning("connection ended", peer=peer, kind=error.slug, why=error.detail)
        except OSError as error:
            log.warning("connection broke", peer=peer, why=str(error))
        except SQLAlchemyError as error:
            log.error("the store failed under a connection", peer=peer, why=str(error))
        finally:
            self._let_go(connection)

    def _let_go(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        self._places.release()

    def _receive(self, connection: socket.socket) -> None:
        """The first bytes tell the suite; it reads on."""
        clock = SystemClock()
        deadline_s = clock.monotonic() + HEADER_TIMEOUT_S
        magic = bytearray(MAGIC_BYTES)
        Connection(connection, clock).receive_exactly(memoryview(magic), HEADER_TIMEOUT_S)
        suite = self._intake.suites.get(bytes(magic))
        if suite is None:
            raise HeaderMalformed(
                "The connection does not begin as any stream that this data centre takes.",
                next_step="Run the same version of qnfv at both ends.",
            )
        left_s = deadline_s - clock.monotonic()
        transfer_id, opening = suite.read_opening(connection, bytes(magic), left_s)
        self._intake.receive(connection, transfer_id, opening)

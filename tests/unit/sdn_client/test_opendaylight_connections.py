"""A TLS connection that tells a session ticket, data and the end apart."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpcore

from sdn_client.drivers.opendaylight.connections import TlsStream
from trust import Authority, Identity, Role
from trust.contexts import tls_context

SERVER = Identity(Role.CONTROLLER, "opendaylight")


@contextmanager
def connected(folder: Path) -> Iterator[tuple[TlsStream, ssl.SSLSocket]]:
    """The client's stream and the server's end, after the handshake and before anything else."""
    authority = Authority.create(folder)
    theirs, ours = authority.issue(SERVER), authority.issue(Identity(Role.ORCHESTRATOR, "node-1"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[ssl.SSLSocket] = []

        def accept() -> None:
            plain, _ = listener.accept()
            plain.settimeout(10)
            context = tls_context(theirs, server=True)
            context.num_tickets = 2  # as OpenDaylight's server does
            accepted.append(context.wrap_socket(plain, server_side=True))

        thread = threading.Thread(target=accept)
        thread.start()
        port = listener.getsockname()[1]
        inner = httpcore.SyncBackend().connect_tcp("127.0.0.1", port, timeout=10)
        stream = TlsStream(
            inner.start_tls(tls_context(ours, server=False), SERVER.dns_name, timeout=10)
        )
        thread.join(10)
    try:
        yield stream, accepted[0]
    finally:
        stream.close()
        accepted[0].close()


def something_comes(stream: TlsStream) -> bool:
    """Wait until the socket has bytes, whatever they mean."""
    return bool(select.select([stream.get_extra_info("socket")], [], [], 10)[0])


def becomes_readable(stream: TlsStream) -> bool:
    """Wait for what stands behind the tickets."""
    while not stream.get_extra_info("is_readable"):
        if not something_comes(stream):
            return False
    return True


def test_a_session_ticket_is_not_the_end_of_a_connection(tmp_path: Path) -> None:
    with connected(tmp_path) as (stream, server):
        assert something_comes(stream)  # OpenSSL sends two tickets behind the handshake
        assert not stream.get_extra_info("is_readable")
        stream.write(b"ask", 10)
        assert server.recv(3) == b"ask"
        server.sendall(b"answer")
        assert stream.read(100, 10) == b"answer"
        assert not stream.get_extra_info("is_readable")


def test_data_that_was_looked_at_is_read_afterwards(tmp_path: Path) -> None:
    with connected(tmp_path) as (stream, server):
        server.sendall(b"early")
        assert becomes_readable(stream)
        assert stream.get_extra_info("is_readable")
        assert stream.read(100, 10) + stream.read(100, 10) == b"early"


def test_the_end_is_seen(tmp_path: Path) -> None:
    with connected(tmp_path) as (stream, server):
        server.close()
        assert becomes_readable(stream)
        assert stream.read(100, 10) == b""


def test_a_connection_in_use_is_not_looked_at(tmp_path: Path) -> None:
    with connected(tmp_path) as (stream, server):
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(stream.read(100, 10)))
        reader.start()
        while not stream._lock.locked():
            pass
        assert not stream.get_extra_info("is_readable")
        server.sendall(b"late")
        reader.join(10)
        assert read == [b"late"]

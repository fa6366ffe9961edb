"""The stream over real TCP, from a process that is killed and one that takes its place."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from blake3 import blake3

from image_transfer import (
    Announcement,
    Attempt,
    ImageReceiver,
    KeySource,
    MemorySink,
    ReceiveReport,
    derive_attempt_keys,
    read_header,
)
from image_transfer.errors import ConnectionLost

SIZE = 16 << 20
KEY = os.urandom(32)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "image"
    path.write_bytes(os.urandom(SIZE - 4321))
    return path


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def start_sender(
    listener: socket.socket, image: Path, digest: bytes, ticket: Attempt
) -> subprocess.Popen[str]:
    job = {"digest": digest.hex(), "size": image.stat().st_size, "key": KEY.hex()}
    job |= {"number": ticket.number, "start_chunk": ticket.start_chunk}
    job |= {"nonce": ticket.receiver_nonce.hex()}
    process = subprocess.Popen(
        [
            sys.executable,
            Path(__file__).parent / "sending_process.py",
            str(listener.getsockname()[1]),
            image,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    with process.stdin as stdin:
        json.dump(job, stdin)
    process.stdin = None  # so that communicate() leaves it alone
    return process


def receive(listener: socket.socket, receiver: ImageReceiver) -> ReceiveReport:
    connection, _ = listener.accept()
    with connection:
        return receiver.receive(
            connection, read_header(connection), lambda header: derive_attempt_keys(KEY, header)
        )


def test_sender_killed_under_way_is_replaced_and_nothing_is_sent_twice(image, listener):
    content = image.read_bytes()
    digest = blake3(content).digest()
    announcement = Announcement(
        transfer_id=UUID(int=1),
        image_digest=digest,
        image_size=len(content),
        key_id=UUID(int=2),
        key_source=KeySource.EMULATED,
        sender="a",
        destination="b",
        chunk_log2=16,
    )
    sink = MemorySink()

    def hold_after(done: int) -> None:
        if receiver.mark == 10:
            sink.gate.clear()

    receiver = ImageReceiver(announcement, sink, progress=hold_after)
    with ThreadPoolExecutor(1) as pool:
        first = start_sender(listener, image, digest, receiver.issue_attempt())
        received = pool.submit(receive, listener, receiver)
        assert sink.wait_for(10 << 16, timeout_s=30)
        first.kill()
        first.wait(10)
        sink.gate.set()
        with pytest.raises(ConnectionLost):
            received.result(30)
        first.stdout.close()
        assert 10 <= receiver.mark < announcement.chunk_count
        assert content.startswith(sink.content)
        assert not sink.finished

        ticket = receiver.issue_attempt()
        second = start_sender(listener, image, digest, ticket)
        report = receive(listener, receiver)
        told, _ = second.communicate(timeout=30)
    assert second.returncode == 0
    assert int(told) == report.plain_bytes == len(content) - (ticket.start_chunk << 16)
    assert bytes(sink.content) == content
    assert sink.finished

"""Both ends meet the vectors byte for byte, and the vectors are what their generator writes."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from image_transfer import (
    Announcement,
    Attempt,
    Direction,
    Header,
    ImageReceiver,
    KeySource,
    MemorySink,
    Receipt,
    Suite,
    derive_attempt_keys,
    make_receipt,
    read_header,
    send_image,
    verify_receipt,
)

FOLDER = Path(__file__).parents[2] / "vectors" / "sealed_stream"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.fixture(params=NAMES)
def vector(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads((FOLDER / f"{request.param}.json").read_text())


@pytest.fixture
def announcement(vector) -> Announcement:
    a = vector["announcement"]
    return Announcement(
        transfer_id=UUID(a["transfer_id"]),
        image_digest=bytes.fromhex(a["image_digest"]),
        image_size=a["image_size"],
        key_id=UUID(a["key_id"]),
        key_source=KeySource(a["key_source"]),
        sender=a["sender"],
        destination=a["destination"],
        suite=Suite(a["suite"]),
        direction=Direction(a["direction"]),
        chunk_log2=a["chunk_log2"],
    )


@pytest.fixture
def attempt(vector) -> Attempt:
    t = vector["attempt"]
    return Attempt(t["number"], t["start_chunk"], bytes.fromhex(t["receiver_nonce"]))


@pytest.fixture
def header(vector, announcement, attempt) -> Header:
    return Header(announcement, attempt, bytes.fromhex(vector["salt"]))


@pytest.fixture
def keys(vector):
    return lambda header: derive_attempt_keys(bytes.fromhex(vector["qkd_key"]), header)


@pytest.fixture
def stream(vector) -> bytes:
    return bytes.fromhex(vector["header"] + vector["commitment"] + "".join(vector["records"]))


def test_there_are_vectors():
    assert {"empty_image", "resumed_image", "sparse_image", "zero_tail"} <= set(NAMES)


def test_vectors_are_what_their_generator_writes(tmp_path):
    shutil.copy(FOLDER / "generate.py", tmp_path)
    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True, timeout=60)
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_text() == (FOLDER / f"{name}.json").read_text()


def test_header(vector, header):
    assert header.encode().hex() == vector["header"]
    assert Header.decode(bytes.fromhex(vector["header"])) == header


def test_key_schedule(vector, header, keys):
    derived = keys(header)
    assert derived.aes_key.hex() == vector["aes_key"]
    assert derived.nonce_prefix.hex() == vector["nonce_prefix"]
    assert derived.commitment.hex() == vector["commitment"]
    assert derived.receipt_key.value.hex() == vector["receipt_key"]


def test_receipt(vector, header, keys):
    key = keys(header).receipt_key
    assert make_receipt(key, header, vector["placed_image_id"]).encode().hex() == vector["receipt"]
    verify_receipt(Receipt.decode(bytes.fromhex(vector["receipt"])), key, header)


def test_sender_sends_these_bytes(
    vector, announcement, attempt, keys, stream, tmp_path, monkeypatch
):
    monkeypatch.setattr(secrets, "token_bytes", lambda _: bytes.fromhex(vector["salt"]))
    source = tmp_path / "image"
    source.write_bytes(bytes.fromhex(vector["image"]))
    near, far = socket.socketpair()
    with near, far:
        sender = threading.Thread(
            target=send_image, args=(near, source, announcement, attempt, keys)
        )
        sender.start()
        far.settimeout(10)
        received = b""
        while piece := far.recv(65536):
            received += piece
        far.shutdown(socket.SHUT_WR)
        sender.join()
    assert received == stream


def test_receiver_takes_these_bytes(vector, announcement, attempt, keys, stream, monkeypatch):
    image = bytes.fromhex(vector["image"])
    skipped = announcement.offset(attempt.start_chunk)
    receiver = ImageReceiver(announcement, sink := MemorySink(), last_attempt=attempt.number - 1)
    # As if earlier attempts had brought the receiver to where this vector begins.
    for index in range(attempt.start_chunk):
        begin = announcement.offset(index)
        receiver._take(memoryview(image)[begin : begin + announcement.plain_length(index)])
    monkeypatch.setattr(secrets, "token_bytes", lambda _: attempt.receiver_nonce)
    assert receiver.issue_attempt() == attempt
    near, far = socket.socketpair()
    with near, far:
        near.sendall(stream)
        near.shutdown(socket.SHUT_WR)
        report = receiver.receive(far, read_header(far), keys)
    assert bytes(sink.content) == image
    assert sink.finished
    assert report.plain_bytes == len(image) - skipped
    assert report.zero_chunks == sum(bytes.fromhex(r)[0] >> 1 & 1 for r in vector["records"])

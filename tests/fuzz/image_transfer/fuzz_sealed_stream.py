"""Fuzz target of the sealed stream: any bytes give an error of ours, never a crash or a hang.

    python tests/fuzz/image_transfer/fuzz_sealed_stream.py [--seconds 60] [file ...]

With files, each is fed once (to look at a finding again). Otherwise atheris drives the target
where it is installed, guided by coverage; without it, vectors are mutated at random.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import secrets
import socket
import time
from pathlib import Path
from uuid import UUID

from blake3 import blake3

from image_transfer import (
    Announcement,
    Attempt,
    Header,
    ImageReceiver,
    KeySource,
    MemorySink,
    Receipt,
    ReceiverLimits,
    ReceiverState,
    derive_attempt_keys,
    read_header,
)
from image_transfer.errors import TransferError
from image_transfer.records import RECORD_MIN_BYTES, RecordSealer

VECTORS = Path(__file__).parents[2] / "vectors" / "sealed_stream"
IMAGE = bytes(range(1, 251)) * 10
LIMITS = ReceiverLimits(record_timeout_s=2, commitment_timeout_s=2)
SOCKET_LIMIT_BYTES = 64 << 10


def feed(data: bytes) -> None:
    """Give `data` to every place that takes bytes of a peer."""
    with contextlib.suppress(TransferError):
        assert Header.decode(data).encode() == data
    with contextlib.suppress(TransferError):
        assert Receipt.decode(data).encode() == data
    _as_connection(data)
    _as_records(data)


def honest_records(header: Header, keys) -> list[bytes]:
    sealer = RecordSealer(header, keys)
    records = []
    while not sealer.finished:
        begin = header.announcement.offset(sealer.next_index)
        plain = memoryview(IMAGE)[begin : begin + sealer.plain_length]
        into = bytearray(RECORD_MIN_BYTES + len(plain))
        sealer.seal(plain, memoryview(into))
        records.append(bytes(into))
    return records


def _announcement() -> Announcement:
    return Announcement(
        transfer_id=UUID(int=1),
        image_digest=blake3(IMAGE).digest(),
        image_size=len(IMAGE),
        key_id=UUID(int=2),
        key_source=KeySource.EMULATED,
        sender="a",
        destination="b",
        chunk_log2=10,
    )


def _keys(header: Header):
    return derive_attempt_keys(bytes(32), header)


def _as_connection(data: bytes) -> None:
    """`data` as everything that a stranger sends."""
    receiver = ImageReceiver(_announcement(), sink := MemorySink(), limits=LIMITS)
    receiver.issue_attempt()
    _receive(receiver, data)
    # Without the ticket's nonce no stranger gets anything to happen.
    assert receiver.state is ReceiverState.WAITING
    assert not sink.content


def _as_records(data: bytes) -> None:
    """`data` after a true header and commitment; its first byte says after how many records."""
    receiver = ImageReceiver(_announcement(), sink := MemorySink(), limits=LIMITS)
    ticket: Attempt = receiver.issue_attempt()
    header = Header(receiver.announcement, ticket, secrets.token_bytes(32))
    keys = _keys(header)
    true = data[0] % 4 if data else 0
    records = b"".join(honest_records(header, keys)[:true])
    _receive(receiver, header.encode() + keys.commitment + records + data[1:])
    complete = receiver.state is ReceiverState.COMPLETE
    # Three records are the whole image; then only the end itself is an honest continuation.
    assert complete == (true == 3 and len(data) <= 1)
    assert sink.finished == complete
    assert IMAGE.startswith(sink.content)


def _receive(receiver: ImageReceiver, data: bytes) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * SOCKET_LIMIT_BYTES)
        near.sendall(data[:SOCKET_LIMIT_BYTES])
        near.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TransferError):
            receiver.receive(far, read_header(far, 2), _keys)


def _seeds() -> list[bytes]:
    seeds = [b"", b"\x00", b"\x03"]
    for path in sorted(VECTORS.glob("*.json")):
        vector = json.loads(path.read_text())
        stream = vector["header"] + vector["commitment"] + "".join(vector["records"])
        seeds += [bytes.fromhex(part) for part in (vector["header"], vector["receipt"], stream)]
        seeds += [b"\x00" + bytes.fromhex(record) for record in vector["records"]]
    return seeds


def _mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        position = chance.randint(0, len(data))
        match chance.randrange(4):
            case 0 if position < len(data):
                data[position] = chance.randrange(256)
            case 1:
                data[position:position] = chance.randbytes(chance.randint(1, 40))
            case 2:
                del data[position : position + chance.randint(1, 40)]
            case _:
                other = chance.choice(_SEEDS)
                data[position:] = other[chance.randint(0, len(other)) :]
    return bytes(data)


_SEEDS = _seeds()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    if arguments.files:
        for path in arguments.files:
            feed(path.read_bytes())
        return
    try:
        import atheris
    except ImportError:
        _mutate_at_random(arguments.seconds, arguments.seed)
        return
    atheris.Setup([__file__, f"-max_total_time={arguments.seconds:.0f}"], feed)
    atheris.Fuzz()


def _mutate_at_random(seconds: float, seed: int | None) -> None:
    seed = secrets.randbits(32) if seed is None else seed
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < deadline:
        data = _mutated(chance.choice(_SEEDS), chance)
        try:
            feed(data)
        except BaseException:
            finding = Path(f"finding-{seed}-{rounds}")
            finding.write_bytes(data)
            print(f"written to {finding}")
            raise
        rounds += 1
    print(f"{rounds} inputs, seed {seed}: nothing found")


if __name__ == "__main__":
    main()

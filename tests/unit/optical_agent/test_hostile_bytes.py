"""Mutated messages of a controller: whatever comes, the agent lives and tells the truth."""

from __future__ import annotations

import json
import random
import select
import time
from pathlib import Path

import pytest
from agent_bench import AgentBench
from scripted_controller import Peer

VECTORS = Path(__file__).parents[2] / "vectors" / "openflow13"
SECONDS = 2.0


def seeds() -> list[bytes]:
    return [
        bytes.fromhex(row["hex"])
        for path in sorted(VECTORS.glob("*.json"))
        for row in json.loads(path.read_text())["vectors"]
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Overwrite some bytes behind the header, which stays in order nearly always."""
    out = bytearray(data)
    for _ in range(rng.randint(0, 4)):
        if len(out) > 8:
            value = rng.choice((0, 1, 2, 4, 16, 0x80, 0xFD, 0xFF, rng.randrange(256)))
            out[rng.randrange(8, len(out))] = value
    if rng.random() < 0.1:
        out[1] = rng.randrange(32)
    out[0], out[2:4] = 4, len(out).to_bytes(2, "big")
    if rng.random() < 0.005:
        out[rng.randrange(4)] = rng.randrange(256)
    return bytes(out)


def swallow(peer: Peer) -> bool:
    """Read what is there; whether the connection stands."""
    while select.select([peer.socket], [], [], 0)[0]:
        if not peer.socket.recv(1 << 16):
            return False
    return True


@pytest.mark.parametrize("seed", [1, 2])
def test_the_agent_outlives_any_bytes(bench: AgentBench, seed: int) -> None:
    rng = random.Random(seed)
    corpus = seeds()
    peer = bench.controller.accept()
    sent = connections = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            peer.socket.sendall(b"".join(mutate(rng.choice(corpus), rng) for _ in range(20)))
            stands = swallow(peer)
        except ConnectionError:
            stands = False
        sent += 20
        if not stands:
            peer = bench.controller.accept()
            connections += 1
    peer.socket.close()
    last = bench.controller.accept()
    assert last.barrier() == []
    assert {frozenset(p) for p in last.pairs()} == {frozenset(p) for p in bench.table()}
    assert sent > 500

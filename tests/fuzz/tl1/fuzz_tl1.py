"""Fuzz target of the TL1 codec: mutated vectors and random bytes, for as long as asked.

    python tests/fuzz/tl1/fuzz_tl1.py [--seconds 10] [--seed 1]

Anything but blocks, commands or a MalformedAnswer stops it with the offending bytes in hex.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from sdn_client.errors import MalformedAnswer
from sdn_client.tl1 import Answer, BlockReader, Command, CommandReader, patch_table, port_range

VECTORS = Path(__file__).parents[2] / "vectors" / "tl1"
_TELLING = b';:"<>/*\\\r\n ,&M'


def seeds() -> list[bytes]:
    """Every vector's bytes."""
    return [
        row["text"].encode()
        for path in sorted(VECTORS.glob("*.json"))
        for row in json.loads(path.read_text())["vectors"]
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double or splice bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(4):
            case 0 if at < len(out):
                out[at] = rng.choice((*_TELLING, rng.randrange(256)))
            case 1:
                del out[at : at + rng.randint(1, 16)]
            case 2:
                out[at:at] = bytes(rng.choices(_TELLING, k=rng.randint(1, 8)))
            case _:
                out[at:at] = out[: rng.randint(0, 64)]
    return bytes(out)


def check(data: bytes) -> None:
    """Read `data` as a device's and as a client's stream."""
    try:
        table = patch_table(b for b in BlockReader().feed(data) if isinstance(b, Answer))
        ports = [port for pair in table for port in pair]
        assert len(ports) == len(set(ports))
    except MalformedAnswer:
        pass
    try:
        for command in CommandReader().feed(data):
            if isinstance(command, Command):
                assert list(CommandReader().feed(command.encode())) == [command]
                port_range(command.aid)
    except (MalformedAnswer, ValueError):
        pass


def fuzz(seconds: float, seed: int) -> int:
    """Run for `seconds`; how many inputs were tried."""
    rng = random.Random(seed)
    corpus = seeds()
    deadline = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < deadline:
        data = mutate(rng.choice(corpus), rng)
        try:
            check(data)
        except Exception as error:
            raise SystemExit(f"{type(error).__name__}: {error}\n{data.hex()}") from error
        tried += 1
    return tried


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{fuzz(arguments.seconds, arguments.seed)} inputs, no crash")

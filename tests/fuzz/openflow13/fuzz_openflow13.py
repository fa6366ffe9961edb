"""Fuzz target of the OpenFlow 1.3 codec: mutated vectors and random bytes, for as long as asked.

    python tests/fuzz/openflow13/fuzz_openflow13.py [--seconds 10] [--seed 1]

Anything but a message or a MalformedMessage stops it with the offending bytes in hex.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from sdn_client.errors import MalformedMessage
from sdn_client.openflow13.messages import Unsupported, encode
from sdn_client.openflow13.reading import decode
from sdn_client.openflow_framing import FrameReader

VECTORS = Path(__file__).parents[2] / "vectors" / "openflow13"


def seeds() -> list[bytes]:
    """Every vector's bytes."""
    return [
        bytes.fromhex(row["hex"])
        for path in sorted(VECTORS.glob("*.json"))
        for row in json.loads(path.read_text())["vectors"]
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double or splice bytes; half of the time mend the length field."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(4):
            case 0 if at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 1:
                del out[at : at + rng.randint(1, 16)]
            case 2:
                out[at:at] = rng.randbytes(rng.randint(1, 16))
            case _:
                out[at:at] = out[: rng.randint(0, 64)]
    if len(out) >= 4 and rng.random() < 0.5:
        out[2:4] = min(len(out), 0xFFFF).to_bytes(2, "big")
    return bytes(out)


def check(data: bytes) -> None:
    """Read `data` as a stream; what was read can be written and read again."""
    try:
        for frame in FrameReader().feed(data):
            message = decode(frame)
            if not isinstance(message, Unsupported):
                (again,) = FrameReader().feed(encode(message))
                decode(again)
    except MalformedMessage:
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

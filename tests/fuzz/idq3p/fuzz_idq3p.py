"""Throws octets at both sides of IDQ3P: `python tests/fuzz/idq3p/fuzz_idq3p.py SECONDS [SEED]`.

Mutates the golden vectors, half of the time with a corrected CRC, so that the deeper checks are
reached. Anything but an answer, silence or `MalformedDatagramError` is a finding. The seed is
printed, so that a finding can be repeated.
"""

from __future__ import annotations

import json
import random
import secrets
import sys
import time
from pathlib import Path

from idq3p.codec import RESPONSE_LENGTH, KeyRequest, KeyResponse, crc32_bzip2
from idq3p.errors import MalformedDatagramError
from idq3p.key_bytes import KeyBytes
from idq3p.server import KeyServer, MemoryKeyShelf

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "idq3p" / "datagrams.json").read_text()
)
SEEDS = [bytes.fromhex(vector["octets"]) for vector in VECTORS["datagrams"]]


def mutated(dice: random.Random) -> bytes:
    octets = bytearray(dice.choice(SEEDS))
    for _ in range(dice.randrange(6)):
        match dice.randrange(3):
            case 0 if octets:
                octets[dice.randrange(len(octets))] = dice.randrange(256)
            case 1:
                del octets[dice.randrange(len(octets) + 1) :]
            case _:
                octets += dice.randbytes(dice.randrange(40))
    if len(octets) > 4 and dice.random() < 0.5:
        octets[-4:] = crc32_bzip2(octets[:-4])
    return bytes(octets)


def try_once(dice: random.Random) -> None:
    shelf = MemoryKeyShelf()
    shelf.put(7, KeyBytes(b"k" * 32))
    octets = mutated(dice)
    for order in ("little", "big"):
        for kind in (KeyRequest, KeyResponse):
            try:
                assert bytes(kind.decode(octets, order).encode(order)) == octets
            except MalformedDatagramError:
                continue
        answer = KeyServer(shelf, order).answer(octets)
        assert answer is None or len(answer) == RESPONSE_LENGTH
        if answer is not None:
            KeyResponse.decode(answer, order)


def fuzz(seconds: float, seed: int) -> int:
    """How many datagrams were tried."""
    dice = random.Random(seed)
    deadline, tried = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        try_once(dice)
        tried += 1
    return tried


if __name__ == "__main__":
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbits(32)
    print(f"seed {seed}")
    print(f"{fuzz(float(sys.argv[1]), seed)} datagrams, no finding")

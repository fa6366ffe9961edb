"""Writes the vectors beside it, from key_management/relay/RELAY.md alone: `python generate.py`.

Shares no code with the library, so that a misreading in one of the two shows. Poly1305 is spelled
out after RFC 8439, section 2.5.
"""

import hashlib
import json
import struct
from pathlib import Path

HERE = Path(__file__).parent


def poly1305(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        block = int.from_bytes(message[start : start + 16] + b"\1", "little")
        total = (total + block) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def stream(label: str, length: int) -> bytes:
    out, number = b"", 0
    while len(out) < length:
        out += hashlib.sha256(label.encode() + bytes([number])).digest()
        number += 1
    return out[:length]


def vector(
    title: str, relayed: str, nodes: list[str], links: list[str], hop: int, k: int, emulated: bool
) -> dict[str, object]:
    ids = [hashlib.sha256(f"{title}{i}".encode()).digest()[:16] for i in range(2 * k + 3)]
    names = b"".join(bytes([len(name)]) + name.encode() for name in (relayed, *nodes, *links))
    head = b"QNFVRELY" + struct.pack(">BBBBHH", 1, int(emulated), hop, len(links), k, len(names))
    head += ids[0] + ids[1] + names + b"".join(ids[2:])
    keys, pad = stream("keys" + title, 32 * k), stream("pad" + title, 32 * k + 32)
    body = head + bytes(a ^ b for a, b in zip(keys, pad, strict=False))
    return {
        "title": title,
        "nodes": nodes,
        "keys": keys.hex(),
        "pad": pad.hex(),
        "message": (body + poly1305(pad[-32:], body)).hex(),
    }


if __name__ == "__main__":
    vectors = [
        vector("first hop of two, quantum keys", "centre--far", ["centre", "one", "far"],
               ["c--o", "o--f"], 0, 3, False),
        vector("last hop of three, emulated keys", "central--dc-3",
               ["central", "dc-1", "dc-2", "dc-3"],
               ["alice--bob-1", "dc-1--dc-2", "dc-2--dc-3"], 2, 2, True),
        vector("one hop", "a--b", ["a", "b"], ["l"], 0, 2, False),
    ]  # fmt: skip
    (HERE / "message.json").write_text(json.dumps(vectors, indent=1) + "\n")

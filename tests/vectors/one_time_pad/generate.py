"""Writes the vectors beside it, from image_transfer/one_time_pad/FORMAT.md alone.

Shares no code with the library, so that a misreading in one of the two shows. Poly1305 is spelled
out after RFC 8439, section 2.5; BLAKE3 comes from its library.
"""

import hashlib
import json
import struct
from pathlib import Path

from blake3 import blake3

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
        out += hashlib.sha256(label.encode() + number.to_bytes(4, "big")).digest()
        number += 1
    return out[:length]


def vector(
    title: str, size: int, log2: int, image_id: str, sender: str, destination: str, source: int
) -> dict[str, object]:
    image = stream("image" + title, size)
    content = blake3(image).digest() + struct.pack(">H", len(image_id)) + image_id.encode() + image
    chunk, c = 1 << log2, len(content)
    n = max(1, -(-c // chunk))
    blocks = -(-c // 32) + n + 2
    ids = sorted(hashlib.sha256(f"{title}{i}".encode()).digest()[:16] for i in range(blocks))
    pad = stream("pad" + title, 32 * blocks)
    transfer = hashlib.sha256(b"tid" + title.encode()).digest()[:16]
    commitment = hashlib.sha256(b"qnfv one-time pad v1" + b"".join(ids)).digest()
    names = bytes([len(sender)]) + sender.encode()
    names += bytes([len(destination)]) + destination.encode()
    header = b"QNFVOTPS" + bytes([1, log2, source, 0])
    header += struct.pack(">HHQ", 72 + len(names), 0, c) + transfer + commitment + names
    sealed = header + poly1305(pad[:32], header)
    for i in range(n):
        plain = content[i * chunk : (i + 1) * chunk]
        over = pad[32 * (1 + n) + i * chunk :]
        ciphertext = bytes(a ^ b for a, b in zip(plain, over, strict=False))
        bound = transfer + struct.pack(">III", i, n, len(ciphertext)) + ciphertext
        tag = poly1305(pad[32 * (1 + i) : 32 * (2 + i)], bound)
        sealed += struct.pack(">I", len(ciphertext)) + ciphertext + tag
    word = b"QNFVOTPR\1" + transfer + struct.pack(">Q", c) + hashlib.sha256(sealed).digest()
    return {
        "title": title,
        "chunk_log2": log2,
        "image": image.hex(),
        "image_id": image_id,
        "sender": sender,
        "destination": destination,
        "key_source": source,
        "transfer_id": transfer.hex(),
        "block_ids": [each.hex() for each in ids],
        "pad": pad.hex(),
        "sealed": sealed.hex(),
        "receipt": (word + poly1305(pad[-32:], word)).hex(),
    }


if __name__ == "__main__":
    vectors = [
        vector(
            "several chunks, quantum keys", 2500, 10, "sha256:" + "ab" * 32, "central", "dc-1", 1
        ),
        vector("one chunk, emulated keys", 100, 14, "sha256:" + "01" * 32, "central", "dc-3", 2),
        vector("empty image, no id", 0, 10, "", "a", "b", 2),
        vector("content is a whole number of chunks", 2011, 10, "abc", "central", "dc-2", 1),
    ]
    (HERE / "sealed.json").write_text(json.dumps(vectors, indent=1) + "\n")

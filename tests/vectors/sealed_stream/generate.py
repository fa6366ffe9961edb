"""Writes the vectors beside it, from image_transfer/FORMAT.md alone: `python generate.py`.

Shares no code with the library, so that a misreading in one of the two shows. HKDF is spelled out
after RFC 5869; AES-GCM and BLAKE3 come from libraries.
"""

import hashlib
import hmac
import json
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
IKM = bytes(range(0x40, 0x60))
TRANSFER = bytes.fromhex("11111111222243338444555555555555")
KEY_ID = bytes.fromhex("99999999aaaa4bbb8cccdddddddddddd")


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    prk = hmac.new(salt, ikm, "sha256").digest()
    out = block = b""
    counter = 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), "sha256").digest()
        out += block
        counter += 1
    return out[:length]


def pattern(length: int, seed: int) -> bytes:
    return bytes((seed + 7 * i + (i >> 8)) % 255 + 1 for i in range(length))


def vector(
    about: str,
    image: bytes,
    zero_chunks: list[int],
    attempt: int,
    start: int,
    salt: bytes,
    nonce: bytes,
    sender: str,
    destination: str,
    direction: int,
    source: int,
    placed: str,
) -> dict:
    log2 = 10
    chunk = 1 << log2
    count = max(1, (len(image) + chunk - 1) // chunk)
    digest = blake3(image).digest()
    names = b"".join(bytes([len(n)]) + n.encode("ascii") for n in (sender, destination))
    body = (
        number(log2, 1)
        + number(direction, 1)
        + number(source, 1)
        + number(0, 1)
        + number(len(image), 8)
        + number(attempt, 4)
        + number(start, 4)
        + digest
        + KEY_ID
        + TRANSFER
        + salt
        + nonce
        + names
    )
    header = b"QNFVSEAL" + b"\x01" + b"\x01" + number(12 + len(body), 2) + body
    h = hashlib.sha256(header).digest()
    okm = hkdf(IKM, salt, b"qnfv sealed stream v1 records" + h, 71)
    aes_key, prefix, commitment = okm[:32], okm[32:39], okm[39:]
    receipt_key = hkdf(IKM, salt, b"qnfv sealed stream v1 receipt" + h, 32)
    records = []
    for i in range(start, count):
        plain = image[i * chunk : (i + 1) * chunk]
        flags = (1 if i == count - 1 else 0) | (2 if i in zero_chunks else 0)
        data = b"" if i in zero_chunks else plain
        head = bytes([flags]) + number(len(data), 4)
        records.append(
            head + AESGCM(aes_key).encrypt(prefix + number(i, 4) + bytes([flags]), data, head)
        )
    message = (
        b"QNFVRCPT"
        + b"\x01"
        + TRANSFER
        + number(attempt, 4)
        + number(len(image), 8)
        + digest
        + number(len(placed.encode()), 2)
        + placed.encode()
    )
    receipt = message + hmac.new(receipt_key, message, "sha256").digest()
    return {
        "about": about,
        "qkd_key": IKM.hex(),
        "image": image.hex(),
        "announcement": {
            "transfer_id": TRANSFER.hex(),
            "image_digest": digest.hex(),
            "image_size": len(image),
            "key_id": KEY_ID.hex(),
            "key_source": source,
            "sender": sender,
            "destination": destination,
            "suite": 1,
            "direction": direction,
            "chunk_log2": log2,
        },
        "attempt": {"number": attempt, "start_chunk": start, "receiver_nonce": nonce.hex()},
        "salt": salt.hex(),
        "header": header.hex(),
        "aes_key": aes_key.hex(),
        "nonce_prefix": prefix.hex(),
        "commitment": commitment.hex(),
        "receipt_key": receipt_key.hex(),
        "records": [r.hex() for r in records],
        "placed_image_id": placed,
        "receipt": receipt.hex(),
    }


def main() -> None:
    sparse = pattern(1024, 3) + bytes(1024) + pattern(1024, 90) + pattern(300, 17)
    ends = ("orchestrator", "dc-3", 1, 2)
    vectors = {
        "sparse_image": vector(
            "four chunks, the second all zeros, the last short",
            sparse, [1], 1, 0, b"\x51" * 32, b"\xa1" * 32, *ends, "sha256:0123",
        ),
        "resumed_image": vector(
            "the same image, resumed at its third chunk by a second attempt",
            sparse, [1], 2, 2, b"\x52" * 32, b"\xa2" * 32, *ends, "sha256:0123",
        ),
        "zero_tail": vector(
            "two full chunks of zeros: a zero record that is the last",
            bytes(2048), [0, 1], 7, 0, b"\x53" * 32, b"\xa3" * 32, *ends, "bild-ä",
        ),
        "empty_image": vector(
            "no bytes at all, homeward, under a quantum key, longest names",
            b"", [], 1, 0, b"\x54" * 32, b"\xa4" * 32, "s" * 128, "~" * 128, 2, 1, "x",
        ),
    }  # fmt: skip
    for name, content in vectors.items():
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

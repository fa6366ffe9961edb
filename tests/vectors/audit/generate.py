"""Writes chain.json beside it, from docs/audit.md alone: `python generate.py`. Shares no code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

RECORDS = [
    (1_767_225_600_000_000, "local", "administrator", "token-file", "127.0.0.1",
     "POST /api/v1/users", "201", {"user": "ann"}),
    (1_767_225_600_000_001, "ann", "operator", "session", "::1",
     "POST /api/v1/deployments", "202",
     {"operation": "5f0c", "deployment": "7a11", "image": "00ff"}),
    (1_767_225_661_500_000, "orchestrator", "", "inside", "",
     "operation INSTANTIATE", "COMPLETED", {"name": "größe-α", "key": "k1", "Key": "k2"}),
    (-1, "", "", "", "", "", "", {}),
]  # fmt: skip


def text(value: str) -> bytes:
    data = value.encode("utf-8")
    return len(data).to_bytes(4, "big") + data


def main() -> None:
    previous = bytes(32)
    chain = []
    for number, (at_us, *words, subjects) in enumerate(RECORDS, 1):
        data = b"qnfv-audit-record-1\n"
        data += number.to_bytes(8, "big") + at_us.to_bytes(8, "big", signed=True) + previous
        for word in words:
            data += text(word)
        data += len(subjects).to_bytes(4, "big")
        for pair in sorted((text(name), text(value)) for name, value in subjects.items()):
            data += pair[0] + pair[1]
        own = hashlib.sha256(data).digest()
        names = ("who", "role", "via", "source", "action", "outcome")
        chain.append(
            {
                "sequence": number,
                "at_us": at_us,
                **dict(zip(names, words, strict=True)),
                "subjects": subjects,
                "previous": previous.hex(),
                "canonical_bytes": data.hex(),
                "hash": own.hex(),
            }
        )
        previous = own
    target = Path(__file__).with_name("chain.json")
    target.write_text(json.dumps(chain, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

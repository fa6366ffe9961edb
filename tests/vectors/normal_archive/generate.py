"""Writes the vector anew, by hand and not by the code under test: python generate.py"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from blake3 import blake3

HERE = Path(__file__).parent


def member(name: str, content: bytes) -> bytes:
    """A GNU tar header (old GNU magic), the content, and zeros up to 512 bytes."""
    fields = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # uid
        b"0000000\0",  # gid
        b"%011o\0" % len(content),
        b"%011o\0" % 0,  # time
        b" " * 8,  # checksum, filled in below
        b"0",  # a plain file
        bytes(100),
        b"ustar  \0",
        bytes(32),
        bytes(32),
        bytes(183),
    ]
    block = b"".join(fields)
    assert len(block) == 512
    block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block + content + bytes(-len(content) % 512)


def main() -> None:
    layers = [b"one layer\n" * 60, b"another layer\n" * 7]
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in digests]},
        },
        separators=(",", ":"),
    ).encode()
    image = hashlib.sha256(config).hexdigest()
    listed = ",".join(f'"{digest}/layer.tar"' for digest in digests)
    manifest = f'[{{"Config":"{image}.json","RepoTags":null,"Layers":[{listed}]}}]'.encode()
    content = member("manifest.json", manifest) + member(f"{image}.json", config)
    for digest, layer in zip(digests, layers, strict=True):
        content += member(f"{digest}/layer.tar", layer)
    content += bytes(1024)
    content += bytes(-len(content) % 10240)
    (HERE / "two_layers.tar").write_bytes(content)
    (HERE / "two_layers.json").write_text(
        json.dumps(
            {
                "about": "the form in which container images travel, nfv_stack.contract",
                "image_id": f"sha256:{image}",
                "blake3": blake3(content).hexdigest(),
                "layers": [layer.decode() for layer in layers],
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()

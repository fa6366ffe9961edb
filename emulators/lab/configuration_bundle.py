"""A VNF configuration bundle: 64 KiB of configuration in a container that only holds it.

Other containers mount its files (a data container). Its one program waits in `pause(2)`, so that
the bundle can run where every VNF runs. Small enough to travel under a one-time pad.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile
from pathlib import Path
from typing import Any, Final

from nfv_stack.contract import normal_archive

CONFIGURATION_BYTES: Final = 64 * 1024
_ADDRESS: Final = 0x400000
_HEADERS_BYTES: Final = 64 + 56
_PAUSE: Final = bytes.fromhex("b8220000000f05ebf7")
"""x86-64: `mov eax, 34; syscall; jmp` back; system call 34 is pause."""
_NOBODY: Final = "65534:65534"


def build(target: Path, *, seed: str = "qnfv") -> str:
    """Write the bundle's docker-save archive to `target`; returns its image id.

    The same seed gives the same bytes.
    """
    image_id, content = normal_archive.build(_config(), [_layer(seed)])
    target.write_bytes(content)
    return image_id


def configuration(seed: str) -> bytes:
    """64 KiB of JSON as an operator might send it: routes with pre-shared secrets."""
    entries: list[dict[str, str]] = []
    text = b""
    while len(text) < CONFIGURATION_BYTES:
        digest = hashlib.sha256(f"{seed} {len(entries)}".encode()).hexdigest()
        entries.append(
            {"route": f"10.{len(entries) // 256}.{len(entries) % 256}.0/24", "psk": digest}
        )
        text = json.dumps({"routes": entries}).encode()
    return text[:CONFIGURATION_BYTES]


def waiting_program() -> bytes:
    """A static ELF program for x86-64 that waits for ever (System V ABI, ELF-64, one segment)."""
    size = _HEADERS_BYTES + len(_PAUSE)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, _ADDRESS + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return header + segment + _PAUSE


def _layer(seed: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for name, data, mode in (
            ("pause", waiting_program(), 0o755),
            ("configuration.json", configuration(seed), 0o644),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            layer.addfile(info, io.BytesIO(data))
    return content.getvalue()


def _config() -> dict[str, Any]:
    """An image config as the Docker image specification v1.2 has it."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": _NOBODY,
            "Cmd": ["/pause"],
            "StopSignal": "SIGKILL",
            "Labels": {
                "org.opencontainers.image.title": "VNF configuration bundle",
                "qnfv.read-only-root": "true",
            },
        },
        "history": [
            {"created": "1970-01-01T00:00:00Z", "created_by": "qnfv: configuration bundle"}
        ],
    }

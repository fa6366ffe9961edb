"""Capture files made of bare payloads, as classic pcap over raw IP (link type 101)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

_LOOPBACK = b"\x7f\x00\x00\x01"
_RAW_IP = 101


def write_capture(file: Path, packets: Iterable[bytes]) -> None:
    with file.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP))
        for second, packet in enumerate(packets):
            out.write(struct.pack("<IIII", second, 0, len(packet), len(packet)) + packet)


def udp(payload: bytes, *, source: int, target: int) -> bytes:
    return _ip(17, struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload)


def tcp(payload: bytes, *, source: int, target: int, sequence: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", source, target, sequence, 1, 0x50, 0x18, 4096, 0, 0)
    return _ip(6, header + payload)


def _ip(protocol: int, payload: bytes) -> bytes:
    head = (0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0, _LOOPBACK, _LOOPBACK)
    return struct.pack("!BBHHHBBH4s4s", *head) + payload

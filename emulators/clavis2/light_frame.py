"""What Alice's light carries to Bob, and the keys that both make of it.

A frame is light: session (16 octets), number (4), kind (1), QKD seconds of exchange that it stands
for (8, IEEE double), secret (32), all big-endian. Real light carries raw bits of which Bob detects
few; here it carries a secret that both stretch to as many keys as the physics leave. The keys are
as good as the machine's random generator and SHAKE-256, and claim no quantum security.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from idq3p.codec import KEY_LENGTH_OCTETS
from idq3p.key_bytes import KeyBytes

_LAYOUT: Final = struct.Struct(">16sIBd32s")
_LABEL: Final = b"qnfv emulated Clavis2 block v1"
SECRET_OCTETS: Final = 32


class FrameKind(IntEnum):
    PROBE = 0
    BLOCK = 1


@dataclass(frozen=True, slots=True)
class LightFrame:
    session: bytes
    number: int
    kind: FrameKind
    exchange_s: float = 0.0
    secret: KeyBytes = field(default_factory=lambda: KeyBytes(bytes(SECRET_OCTETS)))

    def encode(self) -> bytes:
        return _LAYOUT.pack(
            self.session, self.number, self.kind, self.exchange_s, self.secret.reveal().tobytes()
        )

    @classmethod
    def decode(cls, octets: bytes) -> LightFrame:
        """`ValueError` when `octets` are not such a frame."""
        try:
            session, number, kind, exchange_s, secret = _LAYOUT.unpack(octets)
        except struct.error as error:
            raise ValueError("not a frame of an emulated Alice") from error
        if not 0.0 <= exchange_s < 1e9:
            raise ValueError("a frame stands for an absurd time")
        return cls(session, number, FrameKind(kind), exchange_s, KeyBytes(secret))

    def keys(self, count: int) -> list[KeyBytes]:
        """The first `count` keys of this block."""
        stretched = bytearray(
            hashlib.shake_256(
                _LABEL + self.session + self.number.to_bytes(4, "big") + self.secret.reveal()
            ).digest(count * KEY_LENGTH_OCTETS)
        )
        view = memoryview(stretched)
        keys = [
            KeyBytes(view[start : start + KEY_LENGTH_OCTETS])
            for start in range(0, len(stretched), KEY_LENGTH_OCTETS)
        ]
        stretched[:] = bytes(len(stretched))
        return keys

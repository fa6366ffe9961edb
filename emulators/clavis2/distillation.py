"""The classical channel between an emulated Alice and Bob (TCP, JSON lines).

    both  -> {"hello": {"program": hex, "session": hex}}      session: chosen by Alice
    Alice -> {"phase": "line_length"}                         measure this now
    Bob   -> {"seen": 7}                                      probe number 7 arrived as light
    Bob   -> {"sifted": {"block": 8, "sifted_bit": n, "errors": n}}
    Alice -> {"distilled": {"block": 8, "final_bit": n, "key_ids": [hex, ...]}}
    Bob   -> {"confirmed": {"block": 8, "kept": n}}           the first n keys are on his shelf

Like everything classical in QKD it holds no secret. Unlike the real channel it is not
authenticated: it stays on loopback or in a test network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from problem_details import ProblemError

PORT: Final = 50001
MAX_LINE_OCTETS: Final = 1024 * 1024
MAX_KEYS_A_BLOCK: Final = 32_768
REPLY_TIMEOUT_S: Final = 5.0
_INBOX_MESSAGES: Final = 256

_T = TypeVar("_T")

KeyIdHex = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
SessionHex = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class PeerLostError(ProblemError):
    """The other unit is gone, silent, or breaks the protocol."""

    slug = "clavis2-peer-lost"
    title = "The other QKD unit is gone"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Hello(_Part):
    program: SessionHex
    session: SessionHex


class Sifted(_Part):
    block: int
    sifted_bit: int = Field(ge=0)
    errors: int = Field(ge=0)

    @property
    def qber(self) -> float:
        return self.errors / self.sifted_bit if self.sifted_bit else 0.5


class Distilled(_Part):
    block: int
    final_bit: int = Field(ge=0)
    key_ids: list[KeyIdHex] = Field(max_length=MAX_KEYS_A_BLOCK)


class Confirmed(_Part):
    block: int
    kept: int = Field(ge=0)


class Message(_Part):
    """One line; exactly one member is set."""

    hello: Hello | None = None
    phase: str | None = Field(default=None, max_length=40)
    seen: int | None = None
    sifted: Sifted | None = None
    distilled: Distilled | None = None
    confirmed: Confirmed | None = None


class Peer:
    """The other unit at the far end of an open connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(maxsize=_INBOX_MESSAGES)

    def send(self, message: Message) -> None:
        self._writer.write(message.model_dump_json(exclude_none=True).encode() + b"\n")

    async def receive(self) -> Message:
        """The next message. Raises `PeerLostError` at the end or for a bad line."""
        try:
            line = await self._reader.readuntil(b"\n")
            return Message.model_validate_json(line)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise PeerLostError("the connection to the other unit ended") from error
        except ValidationError as error:
            raise PeerLostError("the other unit sent a line that is none of ours") from error

    async def fill_inbox(self) -> None:
        """Receive for `reply`, until the peer is lost; never returns otherwise."""
        while True:
            await self._inbox.put(await self.receive())

    async def reply(self, wanted: Callable[[Message], _T | None], timeout_s: float) -> _T:
        """The next message that `wanted` accepts. Raises `TimeoutError` when none comes."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = wanted(await self._inbox.get())
                if found is not None:
                    return found

    def close(self) -> None:
        self._writer.close()

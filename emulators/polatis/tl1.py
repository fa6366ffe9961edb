"""The TL1 face (sdn_client/TL1.md): log in, join, part, read the patch table."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from emulators.polatis.device import Device
from emulators.polatis.mirrors import Refusal, Why
from sdn_client.errors import MalformedAnswer
from sdn_client.tl1 import Answer, Command, CommandReader, port_range

log = structlog.get_logger(__name__)

_LINES_PER_BLOCK = 500
_MOST_CONNECTIONS = 32
_IDLE_S = 300.0

# GR-831-CORE's error codes; which one a real Polatis gives for what was not seen.
_CODES = {
    Why.PORT_IN_USE: "SROF",  # requested operation failed
    Why.NOT_JOINED: "SNOS",
    Why.NO_FIT: "IIAC",
    Why.NO_SUCH_PORT: "IIAC",  # invalid access identifier
    Why.TWO_PARTITIONS: "PICC",
}


class _Denied(Exception):
    """A four-letter error code, and why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Tl1Face:
    """Serves TL1 clients on the device's mirrors."""

    def __init__(self, device: Device, username: str, password: str) -> None:
        self._device = device
        self._username, self._password = username, password
        self._open = 0
        self._verbs: dict[str, Callable[[Command], list[str]]] = {
            "ENT-PATCH": self._join,
            "DLT-PATCH": self._part,
            "RTRV-PATCH": self._read,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from login to its end."""
        if self._open >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            await self._converse(reader, writer)
        except (OSError, MalformedAnswer) as error:
            log.info("TL1 connection ended", error=str(error))
        finally:
            self._open -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = CommandReader()
        is_in = False
        while True:
            async with asyncio.timeout(_IDLE_S):
                data = await reader.read(1 << 14)
            if not data:
                return
            for command in commands.feed(data):
                if isinstance(command, MalformedAnswer):
                    self._send(writer, Answer("0", "DENY", ("IICT", f"/* {command.detail} */")))
                    continue
                if command.verb == "ACT-USER":
                    is_in = self._may_enter(command)
                answers = self._answers(command, is_in)
                for answer in answers:
                    self._send(writer, answer)
                if command.verb == "CANC-USER":
                    return
            async with asyncio.timeout(_IDLE_S):
                await writer.drain()

    def _may_enter(self, command: Command) -> bool:
        given = f"{command.aid}\0{command.rest[-1]}".encode()
        return hmac.compare_digest(given, f"{self._username}\0{self._password}".encode())

    def _answers(self, command: Command, is_in: bool) -> list[Answer]:
        try:
            if not is_in:
                raise _Denied("PLNA", "login not active")
            if command.verb in ("ACT-USER", "CANC-USER"):
                return [Answer(command.ctag, "COMPLD")]
            verb = self._verbs.get(command.verb)
            if verb is None:
                raise _Denied("ICNV", "command not valid")
            lines = verb(command)
        except Refusal as refusal:
            return [_denied(command, _CODES[refusal.why], str(refusal))]
        except _Denied as denied:
            return [_denied(command, denied.code, str(denied))]
        except MalformedAnswer as error:
            return [_denied(command, "IIAC", error.detail)]
        parts = [
            tuple(lines[at : at + _LINES_PER_BLOCK])
            for at in range(0, max(1, len(lines)), _LINES_PER_BLOCK)
        ]
        return [
            Answer(
                command.ctag, "COMPLD" if part is parts[-1] else "RTRV", part, part is not parts[-1]
            )
            for part in parts
        ]

    def _join(self, command: Command) -> list[str]:
        a, comma, b = command.aid.partition(",")
        ports = port_range(a), port_range(b) if comma else []
        if len(ports[0]) != len(ports[1]):
            raise _Denied("IIAC", "as many ports on one side as on the other")
        self._device.connect(list(zip(*ports, strict=True)))
        return []

    def _part(self, command: Command) -> list[str]:
        mirrors = self._device.mirrors
        if command.aid.upper() == "ALL":
            self._device.disconnect(mirrors.joined())
            return []
        pairs = {mirrors.pair_at(port) for port in port_range(command.aid)}
        if None in pairs:
            raise _Denied("SNOS", "a port is not joined")
        self._device.disconnect(sorted(pair for pair in pairs if pair))
        return []

    def _read(self, command: Command) -> list[str]:
        # The configured table: a pair whose mirrors still move is in it.
        pairs = self._device.mirrors.joined()
        if command.aid:
            wanted = set(port_range(command.aid))
            pairs = [pair for pair in pairs if wanted & set(pair)]
        return [f'"{a},{b}"' for a, b in pairs]

    def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        stamp = datetime.now(UTC).strftime("%y-%m-%d %H:%M:%S")
        writer.write(answer.encode(self._device.mirrors.chassis.name, stamp))


def _denied(command: Command, code: str, reason: str) -> Answer:
    return Answer(command.ctag, "DENY", (code, f"/* {reason.replace('*/', '')} */"))

"""Reads a patch table over TL1 (TL1.md), one connection a reading."""

from __future__ import annotations

import asyncio

from sdn_client.drivers.openflow.options import Tl1Options
from sdn_client.errors import MalformedAnswer, NotConfirmed, SwitchUnreachable, Unverified
from sdn_client.tl1 import Answer, BlockReader, Command, patch_table


class Tl1Table:
    """The table of one switch; `name` is how errors call it."""

    def __init__(self, options: Tl1Options, name: str) -> None:
        """Raises SwitchUnreachable when the password file cannot be read."""
        self._options = options
        self._name = name
        try:
            self._password = options.password_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SwitchUnreachable(
                f"{name} cannot be read over TL1: {error}.",
                next_step="Check the option tl1.password_file.",
            ) from error

    async def read(self) -> frozenset[tuple[int, int]]:
        """All joined pairs, lower port first.

        Raises SwitchUnreachable, Unverified (the switch denies it) or NotConfirmed (no table).
        """
        where = f"{self._options.host}:{self._options.port}"
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await self._read()
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            raise SwitchUnreachable(
                f"{self._name} did not answer over TL1 at {where}: {str(error) or 'too slow'}.",
                next_step="See whether that is its TL1 port, and free.",
            ) from error
        except (MalformedAnswer, ValueError) as error:
            raise NotConfirmed(
                f"{self._name} sent no table over TL1 at {where}: {error}",
                next_step="This switch cannot be trusted with circuits; see its log.",
            ) from error

    async def _read(self) -> frozenset[tuple[int, int]]:
        reader, writer = await asyncio.open_connection(self._options.host, self._options.port)
        try:
            blocks = BlockReader()
            login = Command("ACT-USER", self._options.username, "1", ("", self._password))
            await self._ask(reader, writer, blocks, login)
            answers = await self._ask(reader, writer, blocks, Command("RTRV-PATCH", ctag="2"))
            writer.write(Command("CANC-USER", self._options.username, "3").encode())
            return patch_table(answers)
        finally:
            writer.close()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        blocks: BlockReader,
        command: Command,
    ) -> list[Answer]:
        """The blocks of the answer, the last of which says COMPLD."""
        writer.write(command.encode())
        answers: list[Answer] = []
        while True:
            data = await reader.read(1 << 16)
            if not data:
                raise EOFError("it hung up")
            for block in blocks.feed(data):
                if not isinstance(block, Answer) or block.ctag != command.ctag:
                    continue  # somebody else's, or an acknowledgement
                answers.append(block)
                if block.code == "DENY":
                    raise self._denied(command, block)
                if not block.more and block.code != "DELAY":
                    return self._completed(answers)

    def _completed(self, answers: list[Answer]) -> list[Answer]:
        if any(a.code not in ("COMPLD", "RTRV") for a in answers) or answers[-1].code != "COMPLD":
            raise MalformedAnswer(
                f"an answer that ends with {answers[-1].code}.", next_step="See the switch's log."
            )
        return answers

    def _denied(self, command: Command, block: Answer) -> Unverified:
        code = block.lines[0][:4] if block.lines else "no code"
        return Unverified(
            f"{self._name} denies {command.verb} over TL1 ({code}), so it cannot be read.",
            next_step="Correct username and password_file of the option tl1.",
        )

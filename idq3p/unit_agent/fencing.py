"""Remembers the newest leader's number, so that a replaced leader's late command does nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

from idq3p.unit_agent.errors import AgentStateError, StaleFencingError


class FencingRegister:
    """One number in one file, which survives `kill -9` and power loss."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.newest: int | None = None
        try:
            number = json.loads(path.read_text("ascii"))["newest_fencing_number"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AgentStateError(
                f"{path} cannot be read as a fencing register: {error}.",
                next_step="Restore the file; remove it only if no other leader can be alive.",
            ) from error
        if not isinstance(number, int):
            raise AgentStateError(f"{path} holds no number.", next_step="Restore the file.")
        self.newest = number

    def admit(self, number: int) -> None:
        """Remember `number`; raises `StaleFencingError` when a newer one was seen."""
        if self.newest is not None and number < self.newest:
            raise StaleFencingError(
                f"Fencing number {number} is older than {self.newest}, which this unit has seen.",
                next_step="Take the lead anew and send the command with the new number.",
                newest=self.newest,
            )
        if number != self.newest:
            self._store(number)
            self.newest = number

    def _store(self, number: int) -> None:
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("w", encoding="ascii") as file:
                json.dump({"newest_fencing_number": number}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise AgentStateError(
                f"The fencing number cannot be stored in {self._path}: {error}.",
                next_step="Give the agent's state directory room and write access.",
            ) from error

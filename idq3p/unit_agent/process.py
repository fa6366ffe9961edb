"""The unit's program as a child that cannot outlive the agent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from idq3p.unit_agent import supervisor
from idq3p.unit_agent.errors import ProgramStartError

_KILL_MARGIN_S = 2.0


class UnitProgram(Protocol):
    """A started program."""

    def exit_status(self) -> int | None:
        """None while it runs; afterwards its status, above 128 for a signal."""
        ...

    def stop(self) -> None:
        """End it and wait for the end. May be called again."""
        ...

    def last_words(self) -> str:
        """The end of what it wrote to its standard output and error."""
        ...


class SupervisedProgram:
    """Runs `command` under `supervisor.py`; what it prints goes into `output`."""

    def __init__(self, command: Sequence[str], output: Path, grace_s: float) -> None:
        self._output = output
        self._grace_s = grace_s
        try:
            with output.open("wb") as sink:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", supervisor.__file__, str(grace_s)),
                        *command,
                    ],
                    stdin=subprocess.PIPE,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise ProgramStartError(
                f"The unit's program cannot be started: {error}.",
                next_step="Check `command` and `state_dir` in the agent's settings.",
            ) from error

    def exit_status(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        assert self._process.stdin is not None
        # The end of this pipe is the order to stop.
        self._process.stdin.close()
        try:
            self._process.wait(self._grace_s + _KILL_MARGIN_S)
        except subprocess.TimeoutExpired:
            # The program dies with its supervisor.
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        try:
            with self._output.open("rb") as file:
                file.seek(max(0, self._output.stat().st_size - 2000))
                words = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return words[-1][:500] if words else ""

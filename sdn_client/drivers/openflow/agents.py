"""Dialects: what an agent at a switch makes of CFLOW_MOD (CFLOW_MOD.md section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol


class Agent(Protocol):
    """How one kind of agent numbers ports, and whether it says No."""

    tells_refusals: bool
    """Whether it answers ERROR to what it does not do. One that does not is asked only for what its
    table, read just before, does not speak against."""

    def wire_port(self, port: int) -> int:
        """The number on the wire of the chassis' `port`. ValueError, with the reason, if none."""
        ...

    def chassis_port(self, wire_port: int) -> int:
        """The other way round."""
        ...


class Addendum:
    """Obeys CFLOW_MOD.md to the letter."""

    tells_refusals = True

    def wire_port(self, port: int) -> int:
        return port

    def chassis_port(self, wire_port: int) -> int:
        return wire_port


class Bristol2014:
    """The Polatis agent of October 2014: ports from 0, one byte each, and no word on failure."""

    tells_refusals = False

    _HIGHEST: Final = 255

    def wire_port(self, port: int) -> int:
        if not 0 <= port - 1 <= self._HIGHEST:
            raise ValueError(
                f"port {port} cannot be named to an agent of 2014: it numbers from 0 and reads one"
                f" byte, so ports 1 to {self._HIGHEST + 1} alone"
            )
        return port - 1

    def chassis_port(self, wire_port: int) -> int:
        return wire_port + 1


AGENTS: Final[Mapping[str, Agent]] = {"addendum": Addendum(), "bristol-2014": Bristol2014()}

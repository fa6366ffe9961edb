"""Blocking peers of the plant's control protocol, for tests and for looking at a running plant."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from timekeeping import Clock, SystemClock


class _ControlConnection:
    """One connection; every wait ends at a deadline with `TimeoutError`."""

    def __init__(self, plant: tuple[str, int], hello: dict[str, str]) -> None:
        self._clock: Clock = SystemClock()
        self._socket = socket.create_connection(plant, timeout=10.0)
        self._unread = b""
        self.send({"hello": hello.pop("kind"), **hello})

    def send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next message. `ConnectionError` at the end, `TimeoutError` when none comes."""
        deadline_s = self._clock.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left_s = deadline_s - self._clock.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"the plant sent nothing for {timeout_s} s")
            self._socket.settimeout(left_s)
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the plant closed the connection")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SwitchStandIn(_ControlConnection):
    """Speaks the switch's side: says which pairs pass light, and nothing more."""

    def __init__(self, plant: tuple[str, int], chassis: str) -> None:
        super().__init__(plant, {"kind": "switch", "chassis": chassis})

    def pass_light(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.send({"cross_connects": [list(pair) for pair in pairs]})


class UnitStandIn(_ControlConnection):
    """Speaks a unit's side."""

    def __init__(self, plant: tuple[str, int], end_point: str) -> None:
        super().__init__(plant, {"kind": "unit", "end_point": end_point})


class Observer(_ControlConnection):
    """Sees all light, cuts and repairs fibres."""

    def __init__(self, plant: tuple[str, int]) -> None:
        super().__init__(plant, {"kind": "observer"})

    def until(
        self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0
    ) -> dict[str, Any]:
        """Read states until one meets `condition`."""
        deadline_s = self._clock.monotonic() + timeout_s
        while True:
            state = self.receive(max(0.001, deadline_s - self._clock.monotonic()))
            if "paths" in state and condition(state):
                return state

    def cut(self, fibre: str) -> None:
        self.send({"cut": fibre})

    def repair(self, fibre: str) -> None:
        self.send({"repair": fibre})

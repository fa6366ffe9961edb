"""What may start when, so that barriers keep their promise. No sockets, no time.

Messages between two barriers may be done in any order (OpenFlow 1.3.5, section 6.2); nothing behind
a barrier may be seen before all in front of it is done. Cross-connects of different ports cannot be
told apart by the order in which their mirrors turn, so a change may start although a barrier lies
before it, as long as no unfinished one touches its ports: what tells the controller, the barrier's
answer, still waits its turn (decision record 0009). A join does not wait for a tear-down that the
device has not begun: both go to it together, which parts first, then joins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

W = TypeVar("W")


class Kind(Enum):
    """What a queued request is, and what it waits for."""

    PART = "waits for earlier changes of the same ports, and for earlier looks"
    JOIN = "as PART, but goes together with tear-downs of the same ports that are not begun yet"
    LOOK = "at the device's table: waits for every earlier change and barrier"
    ANSWER = "from what is known: waits for earlier barriers"
    BARRIER = "waits for everything"

    @property
    def is_change(self) -> bool:
        return self in (Kind.PART, Kind.JOIN)


@dataclass(eq=False)
class Item(Generic[W]):
    """A request in the queue.

    `ports` tells on which ports a change depends, None: any. It is asked each time anew: which
    ports a tear-down frees is known when what came before it is done.
    """

    kind: Kind
    work: W
    ports: Callable[[], frozenset[int] | None] = frozenset
    started: bool = False
    begun: bool = False
    """The device has it: nothing else can go together with it."""


class Ordering(Generic[W]):
    """The unfinished requests of one connection, oldest first."""

    def __init__(self) -> None:
        self._items: list[Item[W]] = []

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item[W]) -> None:
        self._items.append(item)

    def begin(self, *items: Item[W]) -> None:
        """What was started goes to the device, together."""
        for item in items:
            item.begun = True

    def finish(self, *items: Item[W]) -> None:
        """What was started is done."""
        self._items = [i for i in self._items if i not in items]

    def answer(self, item: Item[W], work: W) -> None:
        """What was started is done; `work` tells of it when it is its turn."""
        item.kind, item.work, item.started = Kind.ANSWER, work, False

    def advance(self, start: Callable[[Item[W]], bool]) -> None:
        """Call `start` for all that may start now; it answers whether the item is done at once."""
        before = _Before()
        done = []
        for item in self._items:
            if not item.started and before.lets(item):
                item.started = True
                if start(item):
                    done.append(item)
                    continue
            before.note(item)
        self.finish(*done)


class _Before:
    """The unfinished requests in front of one."""

    def __init__(self) -> None:
        self._ports: set[int] = set()
        self._freed: set[int] = set()
        self._all_ports = False
        self._kinds: set[Kind] = set()

    def lets(self, item: Item[W]) -> bool:
        match item.kind:
            case Kind.PART | Kind.JOIN:
                if Kind.LOOK in self._kinds or self._all_ports:
                    return False
                ports = item.ports()
                if ports is None:
                    return not self._kinds & {Kind.PART, Kind.JOIN}
                taken = self._ports if item.kind is Kind.JOIN else self._ports | self._freed
                return not ports & taken
            case Kind.LOOK:
                return not self._kinds & {Kind.PART, Kind.JOIN, Kind.BARRIER}
            case Kind.ANSWER:
                return Kind.BARRIER not in self._kinds
            case Kind.BARRIER:
                return not self._kinds

    def note(self, item: Item[W]) -> None:
        self._kinds.add(item.kind)
        if item.kind.is_change:
            ports = item.ports()
            self._all_ports |= ports is None
            is_waiting = item.kind is Kind.PART and item.started and not item.begun
            (self._freed if is_waiting else self._ports).update(ports or ())

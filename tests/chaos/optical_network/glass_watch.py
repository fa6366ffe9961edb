"""Looks at the light itself: whatever controller, agent and orchestrator say of it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from emulators.fibre_plant.stand_in import Observer


class GlassWatch:
    """Notes every state of the light that must never be."""

    def __init__(self, plant: tuple[str, int]) -> None:
        self._observer = Observer(plant)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._lit: frozenset[str] = frozenset()
        self.violations: list[str] = []
        self.changes = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def lit(self) -> frozenset[str]:
        """The cross-connects of all paths that are lit from end to end."""
        return self._lit

    def await_lit(self, wanted: frozenset[str], timeout_s: float) -> bool:
        """Whether exactly `wanted` is lit before `timeout_s` have passed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._lit == wanted, timeout_s)

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                state = self._observer.receive(0.5)
            except TimeoutError:
                continue
            except OSError:
                return
            self._judge(state)

    def _judge(self, state: dict[str, Any]) -> None:
        # Light passes both ways, so a path is told in both directions.
        paths = {frozenset((p["from"], p["to"])): p for p in state["paths"]}
        ends = Counter(end for path in paths for end in path)
        crosses = [x for p in paths.values() for x in p["cross_connects"]]
        with self._changed:
            self.violations += state["alarms"]
            self.violations += [f"{end} is lit twice" for end, n in ends.items() if n > 1]
            self.violations += [f"{x} in two paths" for x, n in Counter(crosses).items() if n > 1]
            self._lit = frozenset(_ordered(x) for x in crosses)
            self.changes += 1
            self._changed.notify_all()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)
        self._observer.close()


def _ordered(cross_connect: str) -> str:
    """`chassis:low-high`, however the light went."""
    chassis, _, pair = cross_connect.partition(":")
    low, high = sorted(map(int, pair.split("-")))
    return f"{chassis}:{low}-{high}"

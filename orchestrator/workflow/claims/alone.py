"""One process for one database: it holds whatever it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from uuid import UUID


class Alone:
    """The `Claims` of an orchestrator without replicas."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: dict[UUID, None] = {}
        self._held: set[UUID] = set()

    def start(self, on_lost: Callable[[UUID], None]) -> None:
        """Nothing is ever lost."""

    def offer(self, operation_ids: Collection[UUID]) -> None:
        with self._lock:
            self._offered |= dict.fromkeys(i for i in operation_ids if i not in self._held)

    def offered(self) -> list[UUID]:
        with self._lock:
            return list(self._offered)

    def take(self, operation_id: UUID) -> int | None:
        with self._lock:
            if operation_id in self._held:
                return None
            self._offered.pop(operation_id, None)
            self._held.add(operation_id)
            return 0

    def done(self, operation_id: UUID) -> None:
        with self._lock:
            self._held.discard(operation_id)

    def give_back(self, operation_id: UUID) -> None:
        self.done(operation_id)

    def newest(self, _operation_id: UUID) -> int:
        return 0

    def close(self) -> None:
        with self._lock:
            self._offered.clear()

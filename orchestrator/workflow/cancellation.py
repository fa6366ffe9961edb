"""Tells running steps that somebody wants their operation to end.

The wish itself is in the database (`OperationJournal.request_cancel`); this only wakes the thread
that works on it, in the process that works on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from orchestrator.errors import OperationCancelledError
from problem_details import ProblemError

log = structlog.get_logger(__name__)


class Cancellations:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: dict[UUID, threading.Event] = {}
        self._ends: dict[UUID, list[Callable[[], object]]] = {}

    def ask(self, operation_id: UUID) -> None:
        """End what the operation waits for. Returns at once."""
        with self._lock:
            wish = self._wish(operation_id)
            ends = [] if wish.is_set() else list(self._ends.get(operation_id, ()))
            wish.set()
        for end in ends:
            threading.Thread(target=_call, args=(end,), name="cancel", daemon=True).start()

    def abandon(self, operation_id: UUID) -> None:
        """This process shall work on it no longer: what only waits here ends, and nothing is
        undone anywhere, since another goes on with it."""
        self.wish(operation_id).set()

    def forget(self, operation_id: UUID) -> None:
        """It is over, or nobody works on it yet."""
        with self._lock:
            self._wishes.pop(operation_id, None)

    def wish(self, operation_id: UUID) -> threading.Event:
        """Set once it shall end: what a step waits on beside its own business."""
        with self._lock:
            return self._wish(operation_id)

    def check(self, operation_id: UUID) -> None:
        """Raises OperationCancelledError if it shall end."""
        if self.wish(operation_id).is_set():
            raise cancelled()

    @contextmanager
    def ending(self, operation_id: UUID, end: Callable[[], object]) -> Iterator[None]:
        """While the block waits for somebody else, a wish calls `end`, in a thread of its own, to
        make that fail. Raises OperationCancelledError if the wish was there before."""
        with self._lock:
            if self._wish(operation_id).is_set():
                raise cancelled()
            self._ends.setdefault(operation_id, []).append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends[operation_id].remove(end)
                if not self._ends[operation_id]:
                    del self._ends[operation_id]

    def _wish(self, operation_id: UUID) -> threading.Event:
        return self._wishes.setdefault(operation_id, threading.Event())


def cancelled() -> OperationCancelledError:
    return OperationCancelledError(
        "The operation was cancelled on request.",
        next_step="Ask for it again if it is wanted after all.",
    )


def _call(end: Callable[[], object]) -> None:
    try:
        end()
    except (ProblemError, OSError) as error:
        log.info("what a cancelled step waits for could not be ended", why=str(error))

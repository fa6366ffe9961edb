"""Keeps the stores of relayed links filled, while this process leads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog
from sqlalchemy.exc import SQLAlchemyError

from key_management.errors import NoKeyAvailableError
from key_management.relay.errors import NoRouteError
from key_management.relay.origin import RelayedLink, RelayOrigin
from orchestrator.events.bus import Event, EventBus, KeysChanged
from problem_details import ProblemError
from timekeeping import Clock

log = structlog.get_logger(__name__)

_IDLE_S = 2.0
_AFTER_FAILURE_S = 5.0
_SETTLE_EVERY_S = 5.0
"""So often nodes that were silent are told how a route ended."""
_OVERHEAD_KEYS = 2
"""Of each batch: a key to compare, a block for the tag."""


class RelayService:
    """A thread that relays a batch wherever a relayed link's store is below its target.

    `wanted_keys` tells how many keys a link should have; who waits for more raises it. `need` tells
    the hops' own pools how many keys a relayed link waits for.
    """

    def __init__(
        self,
        origin: RelayOrigin,
        relayed: Mapping[str, RelayedLink],
        bus: EventBus,
        clock: Clock,
        *,
        level: Callable[[str], int],
        wanted_keys: Callable[[str], int],
        need: Callable[[str, str, int], None],
        leads: Callable[[], bool],
    ) -> None:
        self.origin = origin
        self.links = dict(relayed)
        self._bus = bus
        self._clock = clock
        self._level = level
        self._wanted_keys = wanted_keys
        self._need = need
        self._leads = leads
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._last_failure: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin; without a relayed link there is nothing to do."""
        if self.links:
            self._unsubscribe = self._bus.subscribe(self._on_event)
            self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self._closing.set()
        self._wake.set()
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._thread.is_alive():
            self._thread.join(30)

    def why_not(self, link: str) -> str | None:
        """Why the last try to fill this link failed; None if it did not."""
        return self._last_failure.get(link)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, KeysChanged) and event.link not in self.links:
            self._wake.set()

    def _run(self) -> None:
        settle_s = self._clock.monotonic()
        while not self._closing.is_set():
            self._wake.clear()
            if not self._leads():
                self._wake.wait(_IDLE_S)
                continue
            moved: list[bool] = []
            try:
                if self._clock.monotonic() >= settle_s:
                    self.origin.settle(self.links)
                    settle_s = self._clock.monotonic() + _SETTLE_EVERY_S
                moved = [self._fill(relayed) for relayed in self.links.values()]
            except SQLAlchemyError as error:
                log.error("the relay cannot reach its database", why=str(error))
            except Exception as error:  # without this thread no key is ever relayed
                log.error("the relay failed unexpectedly", exc_info=error)
                self._clock.wait(self._closing, _AFTER_FAILURE_S)
            if not any(moved):
                self._wake.wait(_IDLE_S)

    def _fill(self, relayed: RelayedLink) -> bool:
        missing = max(0, self._wanted_keys(relayed.name) - self._level(relayed.name))
        for hop in self.origin.hop_links:
            self._need(hop.name, relayed.name, missing + _OVERHEAD_KEYS if missing else 0)
        if not missing:
            return False
        try:
            kept = self.origin.fill(relayed, missing)
        except (NoRouteError, NoKeyAvailableError) as error:
            self._last_failure[relayed.name] = error.detail  # the hops' own turns will come
            return False
        except ProblemError as error:
            log.warning("keys could not be relayed", link=relayed.name, why=error.detail)
            self._last_failure[relayed.name] = error.detail
            self._clock.wait(self._closing, _AFTER_FAILURE_S)
            return False
        self._last_failure.pop(relayed.name, None)
        self._bus.publish(KeysChanged(relayed.name))
        return bool(kept)

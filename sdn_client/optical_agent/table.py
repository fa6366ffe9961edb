"""The flow table: what the device holds, and what the controller said about it.

The device's own table is the truth; kept here is only what a device cannot know of a flow (cookie,
priority, direction, age). `read` and `run` talk to the device and block.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from sdn_client.drivers.port import CircuitDriver
from sdn_client.errors import NotConfirmed, SwitchRefused
from sdn_client.openflow13.constants import ErrorType, FlowModFailed
from sdn_client.optical_agent.flows import Join, Part
from sdn_client.optical_agent.guard import Guard
from sdn_client.optical_agent.presented import PresentedSwitch
from sdn_client.optical_agent.refusal import Refusal
from sdn_client.topology import CrossConnect
from timekeeping import Clock

log = structlog.get_logger(__name__)

UNKNOWN_PRIORITY = 0x8000


@dataclass(frozen=True)
class Flow:
    """A cross-connect as a flow; `since_s` is monotonic seconds."""

    in_port: int
    out_port: int
    priority: int
    cookie: int
    flags: int
    since_s: float


@dataclass(frozen=True)
class Outcome:
    """What became of one request: refused, or done, and which flows ended."""

    refusal: Refusal | None = None
    ended: tuple[Flow, ...] = ()


Targets = dict[CrossConnect, Flow]


class FlowTable:
    """One per presented switch; one caller at a time."""

    def __init__(
        self, device: CircuitDriver, presented: PresentedSwitch, guard: Guard, clock: Clock
    ) -> None:
        self._device = device
        self._presented = presented
        self._guard = guard
        self._clock = clock
        self._lock = threading.Lock()  # of the two below; the event loop looks at them too
        self._flows: dict[CrossConnect, Flow] = {}
        self._is_fresh = False

    # --- looking

    def read(self) -> list[Flow]:
        """The device's table now. Raises SwitchUnreachable or NotConfirmed."""
        table = self._device.read_cross_connects(self._presented.chassis)
        now_s = self._clock.monotonic()
        with self._lock:
            self._flows = {
                x: self._flows.get(x) or Flow(*self._direction(x), UNKNOWN_PRIORITY, 0, 0, now_s)
                for x in sorted(table)
                if self._touches(x)
            }
            self._is_fresh = True
            return list(self._flows.values())

    def changed_elsewhere(self) -> bool:
        """Read the table; whether it differs from what it was when last seen."""
        with self._lock:
            before = set(self._flows)
        self.read()
        with self._lock:
            return before != set(self._flows)

    def doubt(self) -> None:
        """What the device holds is no longer known."""
        with self._lock:
            self._is_fresh = False

    def partners(self, port: int) -> set[int]:
        """The ports that `port` was last seen joined to."""
        with self._lock:
            return {p.port for x in self._flows for p in x.ports if port in _numbers(x)} - {port}

    def age_s(self, flow: Flow) -> float:
        return max(0.0, self._clock.monotonic() - flow.since_s)

    def _direction(self, cross_connect: CrossConnect) -> tuple[int, int]:
        a, b = _numbers(cross_connect)
        return (a, b) if a in self._presented.ports else (b, a)

    def _touches(self, cross_connect: CrossConnect) -> bool:
        return any(n in self._presented.ports for n in _numbers(cross_connect))

    # --- changing

    def run(self, batch: Sequence[Join | Part]) -> list[Outcome]:
        """Do all of `batch` in one switching time; its requests touch different ports.

        An outcome for each request. What fails together is tried one by one, so that the guilty
        are refused alone. Raises SwitchUnreachable or OutcomeUnknown, after which nothing is known.
        """
        try:
            return self._run(batch)
        except BaseException:
            self.doubt()
            raise

    def _run(self, batch: Sequence[Join | Part]) -> list[Outcome]:
        if not self._is_fresh or any(self._needs_a_look(request) for request in batch):
            self.read()
        outcomes: list[Outcome | None] = [self._refused_at_once(request) for request in batch]
        left = [n for n, outcome in enumerate(outcomes) if outcome is None]
        targets = {n: self._targets(batch[n]) for n in left}
        if left:
            try:
                self._apply(batch, targets, left)
                failed: list[int] = []
            except (SwitchRefused, NotConfirmed) as error:
                if len(left) == 1:
                    outcomes[left[0]] = self._refused(batch[left[0]], error)
                    left = []
                failed = left
            for n in failed:
                try:
                    self._apply(batch, targets, [n])
                except (SwitchRefused, NotConfirmed) as error:
                    outcomes[n] = self._refused(batch[n], error)
        return [outcome or self._note(batch[n], targets[n]) for n, outcome in enumerate(outcomes)]

    def _apply(
        self, batch: Sequence[Join | Part], targets: dict[int, Targets], which: list[int]
    ) -> None:
        connect = {x for n in which if isinstance(batch[n], Join) for x in targets[n]}
        disconnect = {x for n in which if isinstance(batch[n], Part) for x in targets[n]}
        if connect or disconnect:
            self._device.apply(connect=connect, disconnect=disconnect)

    def _needs_a_look(self, request: Join | Part) -> bool:
        """Whether what was seen last is not enough to decide on."""
        return isinstance(request, Part) or self._in_the_way(request) is not None

    def _refused_at_once(self, request: Join | Part) -> Outcome | None:
        if isinstance(request, Part):
            return None
        try:
            self._guard.check(self._cross_connect(request))
        except Refusal as refusal:
            return Outcome(refusal)
        if other := self._in_the_way(request):
            return Outcome(_overlap(other))
        return None

    def _refused(self, request: Join | Part, error: SwitchRefused | NotConfirmed) -> Outcome:
        """The device said no: see whether a port is in use there."""
        self.read()
        if isinstance(request, Join) and (other := self._in_the_way(request)):
            return Outcome(_overlap(other))
        return Outcome(Refusal(ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN, error.detail))

    def _targets(self, request: Join | Part) -> Targets:
        if isinstance(request, Join):
            x = self._cross_connect(request)
            return {x: self._joined(request, x)}
        with self._lock:
            return {
                x: flow
                for x, flow in self._flows.items()
                if request.selection.fits(*_numbers(x), flow.cookie)
            }

    def _joined(self, request: Join, cross_connect: CrossConnect) -> Flow:
        """The flow that `request` makes; the age of a cross-connect that is there stays."""
        with self._lock:
            before = self._flows.get(cross_connect)
        since_s = before.since_s if before else self._clock.monotonic()
        return Flow(
            request.in_port,
            request.out_port,
            request.priority,
            request.cookie,
            request.flags,
            since_s,
        )

    def _note(self, request: Join | Part, targets: Targets) -> Outcome:
        with self._lock:
            if isinstance(request, Join):
                self._flows.update(targets)
                return Outcome()
            for x in targets:
                self._flows.pop(x, None)
        return Outcome(ended=tuple(targets.values()))

    def _in_the_way(self, request: Join) -> CrossConnect | None:
        wanted = self._cross_connect(request)
        with self._lock:
            for x in self._flows:
                if x != wanted and set(x.ports) & set(wanted.ports):
                    return x
        return None

    def _cross_connect(self, request: Join) -> CrossConnect:
        return CrossConnect(self._presented.chassis, request.in_port, request.out_port)


def _numbers(cross_connect: CrossConnect) -> tuple[int, int]:
    return cross_connect.in_port, cross_connect.out_port


def _overlap(other: CrossConnect) -> Refusal:
    return Refusal(ErrorType.FLOW_MOD_FAILED, FlowModFailed.OVERLAP, f"a port is in use by {other}")

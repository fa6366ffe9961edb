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


Flows = dict[CrossConnect, Flow]


@dataclass(frozen=True)
class _Step:
    """A request of a batch, and the flows that it makes or ends, unless it is refused."""

    request: Join | Part
    flows: Flows
    refusal: Refusal | None = None


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
        self._flows: Flows = {}
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
        """Do all of `batch` in one switching time, with the outcome of one after the other.

        Its requests touch different ports, but a join may take ports that parts before it free. An
        outcome for each request. What fails together is tried one by one, so that the guilty are
        refused alone. Raises SwitchUnreachable or OutcomeUnknown, after which nothing is known.
        """
        try:
            return self._run(batch)
        except BaseException:
            self.doubt()
            raise

    def _run(self, batch: Sequence[Join | Part]) -> list[Outcome]:
        if not self._is_fresh or any(self._needs_a_look(request) for request in batch):
            self.read()
        steps = self._plan(batch)
        refusals = [step.refusal for step in steps]
        able = [n for n, refusal in enumerate(refusals) if refusal is None]
        try:
            self._apply([steps[n] for n in able])
        except (SwitchRefused, NotConfirmed) as error:
            for n in able:
                alone = len(able) == 1
                refusals[n] = self._why(steps[n], error) if alone else self._try(steps[n])
        return [self._note(s, refusal) for s, refusal in zip(steps, refusals, strict=True)]

    def _needs_a_look(self, request: Join | Part) -> bool:
        """Whether what was seen last is not enough to decide on."""
        if isinstance(request, Part):
            return True
        return _in_the_way(self._cross_connect(request), self._seen()) is not None

    def _plan(self, batch: Sequence[Join | Part]) -> list[_Step]:
        """What each request means after those before it."""
        table = self._seen()
        steps = []
        for request in batch:
            step = self._step(request, table)
            steps.append(step)
            if isinstance(request, Join):
                table |= step.flows
            else:
                table = {x: flow for x, flow in table.items() if x not in step.flows}
        return steps

    def _step(self, request: Join | Part, table: Flows) -> _Step:
        if isinstance(request, Part):
            fits = request.selection.fits
            return _Step(request, {x: f for x, f in table.items() if fits(*_numbers(x), f.cookie)})
        x = self._cross_connect(request)
        try:
            self._guard.check(x, table)
        except Refusal as refusal:
            return _Step(request, {}, refusal)
        if other := _in_the_way(x, table):
            return _Step(request, {}, _overlap(other))
        return _Step(request, {x: self._joined(request, table.get(x))})

    def _joined(self, request: Join, before: Flow | None) -> Flow:
        """The flow that `request` makes; the age of a cross-connect that is there stays."""
        return Flow(
            request.in_port,
            request.out_port,
            request.priority,
            request.cookie,
            request.flags,
            before.since_s if before else self._clock.monotonic(),
        )

    def _apply(self, steps: Sequence[_Step]) -> None:
        connect = {x for s in steps if isinstance(s.request, Join) for x in s.flows}
        disconnect = {x for s in steps if isinstance(s.request, Part) for x in s.flows}
        if connect or disconnect:
            self._device.apply(connect=connect, disconnect=disconnect)

    def _try(self, step: _Step) -> Refusal | None:
        """Do `step` alone; why it cannot be."""
        try:
            self._apply([step])
        except (SwitchRefused, NotConfirmed) as error:
            return self._why(step, error)
        return None

    def _why(self, step: _Step, error: SwitchRefused | NotConfirmed) -> Refusal:
        """The device said no: see whether a port is in use there."""
        self.read()
        for x in step.flows if isinstance(step.request, Join) else ():
            if other := _in_the_way(x, self._seen()):
                return _overlap(other)
        return Refusal(ErrorType.FLOW_MOD_FAILED, FlowModFailed.UNKNOWN, error.detail)

    def _note(self, step: _Step, refusal: Refusal | None) -> Outcome:
        if refusal is not None:
            return Outcome(refusal)
        with self._lock:
            if isinstance(step.request, Join):
                self._flows.update(step.flows)
                return Outcome()
            for x in step.flows:
                self._flows.pop(x, None)
        return Outcome(ended=tuple(step.flows.values()))

    def _seen(self) -> Flows:
        with self._lock:
            return dict(self._flows)

    def _cross_connect(self, request: Join) -> CrossConnect:
        return CrossConnect(self._presented.chassis, request.in_port, request.out_port)


def _numbers(cross_connect: CrossConnect) -> tuple[int, int]:
    return cross_connect.in_port, cross_connect.out_port


def _in_the_way(wanted: CrossConnect, table: Flows) -> CrossConnect | None:
    """What holds a port of `wanted` otherwise."""
    ports = set(wanted.ports)
    return next((x for x in table if x != wanted and ports & set(x.ports)), None)


def _overlap(other: CrossConnect) -> Refusal:
    return Refusal(ErrorType.FLOW_MOD_FAILED, FlowModFailed.OVERLAP, f"a port is in use by {other}")

"""Journal, engine and runner over one database, with steps that keep a diary."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from database import writing
from orchestrator.events.bus import Event, EventBus
from orchestrator.store.tables import OperationRow
from orchestrator.vnf_lcm.states import OnFailure, OperationKind, OperationState, StepState
from orchestrator.workflow.actions import OperationActions
from orchestrator.workflow.cancellation import Cancellations
from orchestrator.workflow.claims.fences import Fences
from orchestrator.workflow.claims.port import Claims
from orchestrator.workflow.engine import FlowEngine, Patience
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.runner import OperationRunner
from problem_details import ProblemError
from timekeeping import SystemClock


class PassesBy(ProblemError):
    """A fault that goes away."""


class PowerCut(BaseException):
    """Ends a step as `kill -9` would: nothing after it runs, nothing is recorded."""


@dataclass
class Diary:
    """What the steps really did."""

    lines: list[str] = field(default_factory=list)
    faults: dict[str, list[BaseException]] = field(default_factory=dict)
    accidents: dict[str, Callable[[], None]] = field(default_factory=dict)

    def do(self, what: str) -> None:
        if what in self.accidents:
            self.accidents.pop(what)()
        if self.faults.get(what):
            raise self.faults[what].pop(0)
        self.lines.append(what)


@dataclass
class DiaryStep:
    name: str
    diary: Diary

    def do(self, operation_id: UUID) -> dict[str, Any]:
        self.diary.do(self.name)
        return {"did": self.name}

    def undo(self, operation_id: UUID) -> None:
        self.diary.do(f"undo {self.name}")


class Workshop:
    """Journal, engine and runner over one database, with three steps."""

    def __init__(
        self,
        engine: Engine,
        url: str,
        *,
        diary: Diary | None = None,
        fences: Fences | None = None,
        claims: Claims | None = None,
    ) -> None:
        """A second one on the same database is a replica, if it shares `diary` and the board
        behind `claims`."""
        self.engine = engine
        self.url = url
        self.clock = SystemClock()
        self.bus = EventBus()
        self.events: list[Event] = []
        self.bus.subscribe(self._on_event)
        self.journal = OperationJournal(engine, self.clock, self.bus, fences=fences)
        self.claims = claims
        self.leads = True
        self.diary = diary or Diary()
        self.steps = [DiaryStep(name, self.diary) for name in ("one", "two", "three")]
        self.admitted = threading.Event()
        self.admitted.set()
        self.poisoned: set[UUID] = set()
        self.withdrawn: list[UUID] = []
        self.reserved: set[UUID] = set()
        self.ended: list[OperationRow] = []
        self._end = threading.Condition()
        self.open: list[Any] = []
        self.cancellations = Cancellations()

    def flow_engine(self, limit_s: float = 10.0) -> FlowEngine:
        patience = Patience(
            lambda error: isinstance(error, PassesBy),
            self.clock,
            threading.Event(),
            limit_s,
            every_s=0.01,
        )
        engine = FlowEngine(self.url, self.journal, patience, self.cancellations)
        self.open.append(engine)
        return engine

    def runner(self, *, at_once: int | None = None) -> OperationRunner:
        runner = OperationRunner(
            self.journal,
            self.flow_engine(),
            {step.name: step for step in self.steps},
            self._admit,
            self._note_end,
            self.bus,
            self.clock,
            withdraw=self._withdraw,
            kept=lambda _, steps: {step.name for step in steps if step.state == StepState.DONE},
            cancellations=self.cancellations,
            workers=4,
            claims=self.claims,
            leads=lambda: self.leads,
            at_once=at_once,
        )
        self.open.append(runner)
        return runner

    def actions(self, runner: OperationRunner) -> OperationActions:
        return OperationActions(self.journal, runner, self._withdraw, self.clock)

    def close(self) -> None:
        for part in reversed(self.open):
            part.close()

    def record(
        self,
        state: OperationState | None = None,
        on_failure: OnFailure = OnFailure.ROLLBACK,
    ) -> UUID:
        operation_id = uuid4()
        with writing(self.engine) as session:
            self.journal.add(
                session,
                operation_id,
                uuid4(),
                OperationKind.INSTANTIATE,
                [step.name for step in self.steps],
                wait_until=None,
                on_failure=on_failure,
                parameters={"wait_s": 60.0},
            )
        if state is not None:
            self.journal.move(operation_id, state, allowed=tuple(OperationState))
        return operation_id

    def states(self, operation_id: UUID) -> list[str]:
        return [row.state for row in self.journal.steps(operation_id)]

    def await_end(self, operation_id: UUID, timeout_s: float = 30.0) -> OperationRow:
        def found() -> OperationRow | None:
            return next((o for o in self.ended if o.operation_id == operation_id), None)

        with self._end:
            assert self._end.wait_for(lambda: found() is not None, timeout_s), self.diary.lines
        row = found()
        assert row is not None
        return row

    def _withdraw(self, operation: OperationRow) -> None:
        self.withdrawn.append(operation.operation_id)
        self.reserved.discard(operation.operation_id)

    def _admit(self, operation: OperationRow) -> bool:
        if operation.operation_id in self.poisoned:
            raise ZeroDivisionError("a bug in admission")
        if "admit" in self.diary.accidents:
            self.diary.accidents.pop("admit")()
        self.reserved.add(operation.operation_id)
        return self.admitted.is_set()

    def await_state(
        self, operation_id: UUID, state: OperationState, timeout_s: float = 30.0
    ) -> OperationRow:
        """The operation once it is in this state; every change is an event."""
        with self._end:
            assert self._end.wait_for(
                lambda: self.journal.get(operation_id).state == state, timeout_s
            ), (self.journal.get(operation_id).state, self.diary.lines)
        return self.journal.get(operation_id)

    def await_running(self, operation_id: UUID, step: str, timeout_s: float = 30.0) -> None:
        with self._end:
            assert self._end.wait_for(
                lambda: self.journal.step(operation_id, step).state == StepState.RUNNING, timeout_s
            )

    def _on_event(self, event: Event) -> None:
        with self._end:
            self.events.append(event)
            self._end.notify_all()

    def _note_end(self, row: OperationRow) -> None:
        with self._end:
            self.ended.append(row)
            self._end.notify_all()

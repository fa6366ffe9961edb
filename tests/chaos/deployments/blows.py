"""One blow in the life of operations: `kill -9` of a process, a replica that is frozen for a while,
or a cut of the line to a VIM."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

from chaos_house import DATA_CENTRES, ON_DOCKER, ChaosHouse
from sqlalchemy import select
from story import Story

from database import reading
from emulators.lab.processes import LabProcess
from orchestrator.store.tables import DeploymentRow, OperationRow, StepRow, TransferRow
from orchestrator.vnf_lcm.states import UNDER_WAY, StepState
from orchestrator.vnf_lcm.steps import INSTANTIATE

_READY_S = 120.0
_GO_ON_S = 90.0
_AIM_S, _ANY_S = 4.0, 12.0
_LOOK_S = 0.02
_STEPS = (*INSTANTIATE, "stop", "start", "recreate", "remove", "undoing")
_AT_WORK = (StepState.RUNNING, StepState.UNDOING, StepState.UNDO_PENDING)

LINE = "line to Docker"
FROZEN = "frozen "
"""Before the name of a replica that is stopped instead of killed."""
_SHORTEST_FREEZE_S, _LONGEST_FREEZE_S = 2.0, 16.0
"""From less than a claim lives to more than the schedule's lease lives."""


@dataclass(frozen=True)
class UnderWay:
    """One operation in a moment, enough to see that it moved since."""

    operation_id: UUID
    data_centre: str
    at: str
    """The step that was done or undone."""
    fingerprint: tuple[Any, ...]


@dataclass(frozen=True)
class Blow:
    """What was hit, where the operations were, and how long it took."""

    victim: str
    fell_on: tuple[str, ...]
    away_s: float
    went_on_s: float
    """From the blow until every operation that was under way had moved or ended."""


class Blows:
    """Strikes one after the other; keeps count."""

    def __init__(self, house: ChaosHouse, story: Story) -> None:
        self._house = house
        self._story = story
        self._random = Random(story.seed)
        self._pause = threading.Event()
        # One that works alone and is stopped does nothing meanwhile, and then goes on.
        freezes = [FROZEN + name for name in house.orchestrators if house.replicas > 1]
        self._victims = [*house.orchestrators * 2, *freezes, *DATA_CENTRES, LINE]
        self.struck: list[Blow] = []

    def strike(self) -> None:
        victim = self._random.choice(self._victims)
        aimed_at = self._random.choice([None, *_STEPS])
        away_s = self._random.choice([0.0, self._random.uniform(0.0, 6.0)])
        if victim.startswith(FROZEN):
            away_s = self._random.uniform(_SHORTEST_FREEZE_S, _LONGEST_FREEZE_S)
        self._await_moment(victim, aimed_at)
        self._pause.wait(self._random.uniform(0.0, 0.15))  # any moment: time is the input
        began_s = time.monotonic()
        self._hit(victim)
        caught = self.under_way()
        self._story.note(
            f"blow {len(self.struck) + 1}: {victim}, aimed at {aimed_at}, fell on "
            + ", ".join(f"{each.operation_id} {each.at}@{each.data_centre}" for each in caught)
        )
        with ThreadPoolExecutor(1) as other:
            back = other.submit(self._restore, victim, away_s)
            self._await_going_on(caught)
            went_on_s = time.monotonic() - began_s
            back_s = back.result() - began_s
        self._story.note(f"{victim} back after {back_s:.2f} s, all on after {went_on_s:.2f} s")
        self.struck.append(Blow(victim, tuple(each.at for each in caught), back_s, went_on_s))

    # --- the blow

    def _hit(self, victim: str) -> None:
        if victim == LINE:
            ended = self._house.line.cut()
            self._story.note(f"{ended} connections to Docker ended")
        elif victim.startswith(FROZEN):
            self._process(victim).freeze()
        else:
            self._house.lab.processes[victim].kill()

    def _process(self, victim: str) -> LabProcess:
        """Of a replica that is frozen, or about to be."""
        process = self._house.lab.processes[victim.removeprefix(FROZEN)]
        assert process.pid is not None
        return process

    def _restore(self, victim: str, away_s: float) -> float:
        """Bring it back once it was away so long; when it was ready, by the monotonic clock."""
        self._pause.wait(away_s)
        if victim == LINE:
            self._house.line.mend()
        elif victim.startswith(FROZEN):
            self._process(victim).thaw()
        else:
            process = self._house.lab.processes[victim]
            process.start()
            process.wait_ready(_READY_S)
        return time.monotonic()

    def _await_moment(self, victim: str, aimed_at: str | None) -> None:
        """Until an operation that the blow can hit is at that step; for long, at any."""
        place = ON_DOCKER if victim == LINE else victim
        began_s = time.monotonic()
        while (waited_s := time.monotonic() - began_s) < _ANY_S:
            here = [
                each.at
                for each in self.under_way()
                if victim.removeprefix(FROZEN) in self._house.orchestrators
                or each.data_centre == place
            ]
            if here and (aimed_at in (None, *here) or waited_s > _AIM_S):
                return
            self._pause.wait(_LOOK_S)

    def _await_going_on(self, caught: list[UnderWay]) -> None:
        deadline_s = time.monotonic() + _GO_ON_S
        left = {each.operation_id: each for each in caught}
        while left:
            now = {each.operation_id: each.fingerprint for each in self.under_way()}
            left = {
                operation_id: each
                for operation_id, each in left.items()
                if now.get(operation_id) == each.fingerprint
            }
            if left and time.monotonic() > deadline_s:
                for each in left.values():
                    self._story.fault(
                        f"operation {each.operation_id} ({each.at}) did not go on within "
                        f"{_GO_ON_S:g} s"
                    )
                return
            self._pause.wait(5 * _LOOK_S)

    # --- looking

    def under_way(self) -> list[UnderWay]:
        """Operations that are worked on, as the database has them now."""
        with reading(self._house.books["main"]) as session:
            operations = session.execute(
                select(OperationRow, DeploymentRow.data_centre, TransferRow.bytes_sent)
                .join(DeploymentRow, DeploymentRow.deployment_id == OperationRow.deployment_id)
                .outerjoin(TransferRow, TransferRow.transfer_id == OperationRow.transfer_id)
                .where(OperationRow.state.in_([state.value for state in UNDER_WAY]))
            ).all()
            steps: dict[UUID, list[StepRow]] = {row[0].operation_id: [] for row in operations}
            for step in session.scalars(
                select(StepRow)
                .where(StepRow.operation_id.in_(list(steps)))
                .order_by(StepRow.position)
            ):
                steps[step.operation_id].append(step)
            return [
                UnderWay(
                    row.operation_id,
                    data_centre,
                    _at(steps[row.operation_id]),
                    (
                        row.state,
                        row.tries,
                        bytes_sent,
                        *((step.state, step.runs) for step in steps[row.operation_id]),
                    ),
                )
                for row, data_centre, bytes_sent in operations
            ]

    def report(self) -> str:
        kinds = Counter(blow.victim for blow in self.struck)
        steps = Counter(step for blow in self.struck for step in blow.fell_on)
        lines = [
            f"{len(self.struck)} blows: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
            "operations were at: " + ", ".join(f"{step} {n}" for step, n in steps.most_common()),
        ]
        for kind in kinds:
            mine = [blow for blow in self.struck if blow.victim == kind]
            away, on = [b.away_s for b in mine], [b.went_on_s for b in mine if b.fell_on]
            on = on or [0.0]
            lines.append(
                f"{kind}: away p50 {median(away):.1f} s, max {max(away):.1f} s; "
                f"from the blow until all went on p50 {median(on):.1f} s, max {max(on):.1f} s"
            )
        return "\n".join(lines)


def _at(steps: list[StepRow]) -> str:
    for step in steps:
        if step.state in _AT_WORK:
            return step.name if step.state == StepState.RUNNING else "undoing"
    return "between steps"

"""QKD units as the schedule sees them: Alice's through her agent, a Bob's through his gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from idq3p.unit_agent.client import UnitAgentClient
from idq3p.unit_agent.contract import Phase, StartRequest, StopRequest, UnitView
from idq3p.unit_agent.errors import UnitAgentUnreachableError
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from nfv_stack.contract.schemas import UnitStart, UnitStop
from qkd_scheduler.errors import UnitSilentError
from qkd_scheduler.measurements import UnitReading

log = structlog.get_logger(__name__)

_UP = (Phase.STARTING, Phase.INITIALISING, Phase.GENERATING)


def reading_of(view: UnitView) -> UnitReading:
    """What the schedule needs of an agent's answer."""
    return UnitReading(
        standing_by=view.phase in _UP,
        generating=view.phase is Phase.GENERATING,
        failed=view.phase is Phase.FAILED,
        detail=f"{view.name} is {view.phase.value}"
        + (f" ({view.step.value})" if view.step else "")
        + (f": {view.failure}" if view.failure else ""),
        secret_key_rate_bps=view.secret_key_rate_bps,
        qber=view.qber,
        last_block_at=view.last_block_at,
    )


@contextmanager
def _answering() -> Iterator[None]:
    """Whoever cannot be reached is silent, whatever the wire was."""
    try:
        yield
    except (UnitAgentUnreachableError, SlaveUnreachableError) as error:
        raise UnitSilentError(error.detail, next_step=error.next_step) from error
    except SlaveRefusedError as error:
        if error.problem.slug != UnitAgentUnreachableError.slug:
            raise
        # The gateway answers, the agent behind it does not.
        raise UnitSilentError(error.detail, next_step=error.next_step) from error


def _end_other_turn(view: UnitView, turn_id: UUID, stop: Callable[[UUID], None]) -> None:
    """Stop what an earlier turn left running because nobody could reach the unit at its end.

    Only the leader starts turns, one at a time, so what runs is over; to a leader that was replaced
    the unit's agent refuses this order by its fencing number.
    """
    if view.is_running and view.turn_id is not None and view.turn_id != turn_id:
        log.warning("a unit still ran for an earlier turn", unit=view.name, turn=str(view.turn_id))
        stop(view.turn_id)


class AliceUnit:
    """Alice, pointed at one Bob."""

    def __init__(self, agent: UnitAgentClient, bob_address: str) -> None:
        self._agent = agent
        self._bob_address = bob_address

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:  # noqa: ARG002
        with _answering():
            _end_other_turn(self._agent.unit(), turn_id, lambda other: self.stop(other, fencing))
            self._agent.start(
                StartRequest.model_validate(
                    {"turn_id": turn_id, "fencing": fencing, "bob_address": self._bob_address}
                )
            )

    def read(self) -> UnitReading:
        with _answering():
            return reading_of(self._agent.unit())

    def stop(self, turn_id: UUID, fencing: int) -> None:
        with _answering():
            self._agent.stop(StopRequest(turn_id=turn_id, fencing=fencing))


class BobUnit:
    """A Bob, through the gateway of his data centre."""

    def __init__(self, slave: SlaveClient, link: str) -> None:
        self._slave = slave
        self._link = link

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:
        with _answering():
            running = self._slave.unit(self._link)
            _end_other_turn(running, turn_id, lambda other: self.stop(other, fencing))
            self._slave.start_unit(
                self._link,
                UnitStart(turn_id=turn_id, fencing=fencing, line_attenuation_db=round(loss_db, 3)),
            )

    def read(self) -> UnitReading:
        with _answering():
            return reading_of(self._slave.unit(self._link))

    def stop(self, turn_id: UUID, fencing: int) -> None:
        with _answering():
            self._slave.stop_unit(self._link, UnitStop(turn_id=turn_id, fencing=fencing))

"""One QKD unit under an agent's care: turns, phase, measurements. No web framework here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from idq3p.unit_agent.contract import Phase, StartRequest, StopRequest, UnitRole, UnitView
from idq3p.unit_agent.errors import (
    AgentStateError,
    ProgramStartError,
    UnfitRequestError,
    UnitBusyError,
)
from idq3p.unit_agent.fencing import FencingRegister
from idq3p.unit_agent.log_follower import LogFollower
from idq3p.unit_agent.phase import Reading
from idq3p.unit_agent.process import SupervisedProgram, UnitProgram
from idq3p.unit_agent.settings import UnitAgentSettings
from timekeeping import Clock, SystemClock

log = logging.getLogger(__name__)

DEFAULT_LINE_ATTENUATION_DB: Final = 3.0
"""What the vendor's driver passes when it is told 0."""

StartProgram = Callable[[Sequence[str], Path, float], UnitProgram]


class QkdUnit:
    """Starts, stops and watches the unit's program. Thread-safe.

    Commands are taken one at a time; `view` never waits for one of them.
    """

    def __init__(
        self,
        settings: UnitAgentSettings,
        *,
        clock: Clock | None = None,
        start_program: StartProgram = SupervisedProgram,
    ) -> None:
        self._settings = settings
        self._clock: Clock = clock or SystemClock()
        self._start_program = start_program
        self._commands = threading.Lock()
        self._state = threading.Lock()
        self._closing = threading.Event()
        try:
            settings.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AgentStateError(
                f"The state directory {settings.state_dir} cannot be made: {error}.",
                next_step="Name a directory that the agent may write.",
            ) from error
        self._fencing = FencingRegister(settings.state_dir / "fencing.json")
        self._program: UnitProgram | None = None
        self._follower: LogFollower | None = None
        self._turn_id: UUID | None = None
        self._reading = Reading(Phase.STOPPED)
        self._since = self._clock.now()
        self._last_block_at: datetime | None = None
        self._failure: str | None = None
        self._watch = threading.Thread(target=self._watch_log, name="unit-log", daemon=True)
        self._watch.start()

    def start(self, request: StartRequest) -> UnitView:
        """Start the program for a turn; nothing happens when it runs for this turn already.

        Raises `StaleFencingError`, `UnitBusyError` (another turn runs; stop it first),
        `UnfitRequestError`, `ProgramStartError`.
        """
        with self._commands:
            arguments = self._vendor_arguments(request)
            self._fencing.admit(request.fencing)
            running = self.view()
            if running.is_running and running.turn_id == request.turn_id:
                return running
            if running.is_running:
                raise self._busy(running)
            self._begin(request.turn_id, [*self._settings.command, *arguments])
            return self.view()

    def stop(self, request: StopRequest) -> UnitView:
        """Stop the program if it runs for this turn. Its keys are gone with it.

        Raises `StaleFencingError`, and `UnitBusyError` when another turn runs.
        """
        with self._commands:
            self._fencing.admit(request.fencing)
            running = self.view()
            if running.is_running and running.turn_id != request.turn_id:
                raise self._busy(running)
            self._end()
            return self.view()

    def view(self) -> UnitView:
        """The unit as it is at this moment."""
        with self._state:
            self._catch_up()
            reading, settings = self._reading, self._settings
            return UnitView(
                name=settings.name,
                role=settings.role,
                emulated=settings.emulated,
                phase=reading.phase,
                step=reading.step,
                since=self._since,
                turn_id=self._turn_id,
                fencing=self._fencing.newest,
                idq3p_address=settings.idq3p_address,
                idq3p_port=settings.idq3p_port,
                line_length_m=reading.line_length_m,
                visibility_percent=reading.visibility_percent,
                qber=reading.qber,
                secret_key_rate_bps=reading.secret_key_rate_bps,
                last_block_at=self._last_block_at,
                failure=self._failure,
            )

    def close(self) -> None:
        """Stop the program and the watching."""
        with self._commands:
            self._end()
        self._closing.set()
        self._watch.join()

    def _vendor_arguments(self, request: StartRequest) -> list[str]:
        if self._settings.role is UnitRole.BOB:
            if request.bob_address is not None:
                raise self._unfit("is a Bob and takes no `bob_address`")
            attenuation_db = request.line_attenuation_db or DEFAULT_LINE_ATTENUATION_DB
            return ["--bob", "--line_attenuation", f"{attenuation_db:g}"]
        if request.bob_address is None:
            raise self._unfit("is an Alice and needs `bob_address`")
        if request.line_attenuation_db is not None:
            raise self._unfit("is an Alice and takes no `line_attenuation_db`")
        return ["--alice", "--ip_bob", str(request.bob_address)]

    def _unfit(self, what: str) -> UnfitRequestError:
        return UnfitRequestError(
            f"The unit {self._settings.name} {what}.",
            next_step="Send `bob_address` to an Alice, `line_attenuation_db` to a Bob.",
        )

    def _busy(self, running: UnitView) -> UnitBusyError:
        return UnitBusyError(
            f"The unit {running.name} is {running.phase.value} for turn {running.turn_id}.",
            next_step="Stop that turn first.",
            turn_id=str(running.turn_id),
        )

    def _begin(self, turn_id: UUID, command: Sequence[str]) -> None:
        self._end()
        # Before the program, so that none of its lines is missed and no older line is read.
        follower = LogFollower(self._settings.log_file)
        try:
            program = self._start_program(
                command, self._settings.state_dir / "program.out", self._settings.stop_grace_s
            )
        except ProgramStartError:
            follower.close()
            raise
        with self._state:
            self._program, self._follower, self._turn_id = program, follower, turn_id
            self._failure = None
            self._become(Reading(Phase.STARTING))
        log.info("unit %s started for turn %s", self._settings.name, turn_id)

    def _end(self) -> None:
        with self._state:
            program, follower = self._program, self._follower
            self._program = self._follower = None
        if program is not None:
            program.stop()
        if follower is not None:
            follower.close()
        with self._state:
            self._failure = self._turn_id = self._last_block_at = None
            if self._reading.phase is not Phase.STOPPED:
                self._become(Reading(Phase.STOPPED))
                log.info("unit %s stopped", self._settings.name)

    def _watch_log(self) -> None:
        """Keeps `since` and `last_block_at` near the truth when nobody asks."""
        while not self._clock.wait(self._closing, self._settings.log_poll_s):
            with self._state:
                self._catch_up()

    def _catch_up(self) -> None:
        if self._program is None or self._follower is None:
            return
        # The status first: lines written before the end are then read, not lost.
        status = self._program.exit_status()
        try:
            lines = self._follower.new_lines()
        except OSError as error:
            log.error("the log of unit %s cannot be read: %s", self._settings.name, error)
            lines = []
        for line in lines:
            reading = self._reading.after(line, self._settings.qber_unit)
            if reading.blocks != self._reading.blocks:
                self._last_block_at = self._clock.now()
            self._become(reading)
        if status is not None:
            self._mark_failed(status)

    def _mark_failed(self, status: int) -> None:
        assert self._program is not None
        assert self._follower is not None
        said = self._reading.last_error or self._program.last_words()
        self._failure = f"The program ended with status {status}." + (f" {said}" if said else "")
        log.error("unit %s failed: %s", self._settings.name, self._failure)
        self._program.stop()
        self._follower.close()
        self._program = self._follower = None
        self._become(Reading(Phase.FAILED))

    def _become(self, reading: Reading) -> None:
        if (reading.phase, reading.step) != (self._reading.phase, self._reading.step):
            self._since = self._clock.now()
        if reading.phase in (Phase.STARTING, Phase.FAILED, Phase.STOPPED):
            self._last_block_at = None
        self._reading = reading

"""The time-shared test-bed: one Alice, a Bob at every spool, the switch, and keys at both ends.

Units, their agents, the switch and the fibre plant are processes with real sockets; this process
takes the orchestrator's place. It runs turns with the scheduler's own turn runner: cross-connect
through the SDN driver, Bob's unit before Alice's, both stand by, initialise, generate, and the same
key ids are extracted at both ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

from database import open_engine
from emulators.lab.errors import ProcessFailedError
from emulators.lab.lab import Lab, LabOptions
from emulators.lab.plans import CENTRE, LabPlan, Site
from experiments.errors import ImpossibleRunError
from experiments.fig2.report import Turn
from experiments.fig2.unit_history import LogWatch
from idq3p.unit_agent.client import UnitAgentClient
from idq3p.unit_agent.contract import StartRequest, StopRequest
from idq3p.unit_agent.settings import UnitAgentSettings
from key_management.extraction import AliceEnd, BobEnd, Extraction, discard_remains
from key_management.ledger import KeyLedger
from key_management.sources.idq3p import Idq3pSource, open_source
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from orchestrator.network.circuits import QuantumCircuits
from orchestrator.schedule.units import AliceUnit, reading_of
from qkd_scheduler.faults import Fault
from qkd_scheduler.measurements import Measured, UnitReading
from qkd_scheduler.ports import Pair
from qkd_scheduler.states import TurnState
from qkd_scheduler.turn import TurnLimits, TurnRunner
from sdn_client.circuits import CircuitService
from sdn_client.drivers import open_driver
from sdn_client.drivers.port import wait_connected
from sdn_client.ledger import MemoryCircuitLedger, Purpose
from sdn_client.topology import load_topology
from timekeeping import QkdClock, SystemClock
from trust import Credentials, Identity, Role

DISTANCES_KM: Final = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
_ALICE: Final = "alice"
PLAN: Final = LabPlan(
    "fig2",
    "the test-bed of the paper's Fig. 2: one Alice, Bobs at 0 to 25 km",
    Path(__file__).parent / "topology.toml",
    tuple(Site(f"dc-{n}", f"bob-{n}", _ALICE) for n in range(1, len(DISTANCES_KM) + 1)),
)
_READY_S: Final = 60.0
_LOOK_EVERY_REAL_S: Final = 0.1
_PROGRAM_START_REAL_S: Final = 20.0
_FENCING: Final = 1
"""Of the only leader that these units will ever have."""
_KEYS_EACH_TIME: Final = 32
"""Keys that a turn extracts while it runs, and again at its end: enough to prove both ends."""


@dataclass(frozen=True)
class Bob:
    """A Bob at the end of his spool."""

    name: str
    link: str
    km: float


class TestBed:
    """Up within a `with` block of `running`."""

    __test__ = False  # no test, whatever its name says

    def __init__(
        self,
        folder: Path,
        distances_km: Sequence[float] = DISTANCES_KM,
        *,
        time_scale: float,
        seed: int,
    ) -> None:
        unknown = set(distances_km) - set(DISTANCES_KM)
        if unknown:
            raise ImpossibleRunError(
                f"The test-bed has no spool of {sorted(unknown)[0]:g} km.",
                next_step=f"Its spools: {', '.join(f'{km:g}' for km in DISTANCES_KM)} km.",
            )
        self.clock = QkdClock(time_scale)
        options = LabOptions(
            time_scale=time_scale,
            schedule_enabled=False,
            seed=seed,
            # No slave stack stands between: this process commands the Bobs itself.
            overrides=tuple((f"agent-{bob}", "callers", []) for bob in PLAN.bobs),
        )
        self._lab = Lab(folder, options, PLAN)
        self._bobs = [
            Bob(site.bob, site.link, km)
            for site, km in zip(PLAN.sites, DISTANCES_KM, strict=True)
            if km in distances_km
        ]
        units = [_ALICE, *(bob.name for bob in self._bobs)]
        self._names = ["fibre-plant", "polatis", *(f"agent-{unit}" for unit in units)]

    @property
    def bobs(self) -> list[Bob]:
        """By distance."""
        return list(self._bobs)

    @contextmanager
    def running(self) -> Iterator[AliceTurns]:
        """Start every process, and stop them at the end. Raises ProcessFailedError."""
        self._lab.prepare()
        with ExitStack() as at_end:
            topology = load_topology(self._lab.topology_file)
            driver = open_driver(
                "openflow", {"listen_port": self._lab.layout.ports["controller"]}, topology
            )
            at_end.callback(driver.close)
            at_end.callback(self._stop_processes)
            for name in self._names:
                self._lab.processes[name].start()
            self._await_processes()
            if not wait_connected(driver, [topology.chassis[0].name], _READY_S):
                raise ProcessFailedError(
                    f"The switch did not connect within {_READY_S:g} s. The end of its log:\n"
                    f"{self._lab.processes['polatis'].log_tail()}",
                    next_step=f"Read {self._lab.processes['polatis'].log_file}.",
                )
            circuits = CircuitService(driver, topology, MemoryCircuitLedger(), SystemClock())
            circuits.start()
            at_end.callback(circuits.close)
            yield AliceTurns(self._lab, circuits, self._bobs, self.clock, at_end)

    def _await_processes(self) -> None:
        for name in self._names:
            # The lab asks its orchestrator about the switch; here that is this process.
            if name != "polatis":
                self._lab.processes[name].wait_ready(_READY_S)

    def _stop_processes(self) -> None:
        for name in self._names:
            self._lab.processes[name].terminate()
        for name in self._names:
            self._lab.processes[name].await_end()


class AliceTurns:
    """Alice's turns on a test-bed that is up."""

    def __init__(
        self,
        lab: Lab,
        circuits: CircuitService,
        bobs: Sequence[Bob],
        clock: QkdClock,
        at_end: ExitStack,
    ) -> None:
        self._lab = lab
        self._clock = clock
        self._circuits = circuits
        self._log_file = UnitAgentSettings.load(lab.layout.settings(f"agent-{_ALICE}")).log_file
        alice = at_end.enter_context(self._agent(_ALICE))
        self._pairs = {
            bob.link: Pair(
                bob.link,
                AliceUnit(alice, lab.layout.unit_address(bob.name)),
                _BobUnit(at_end.enter_context(self._agent(bob.name))),
            )
            for bob in bobs
        }
        self._names = {bob.link: bob.name for bob in bobs}
        self._keys = _KeyStores(lab, bobs, at_end)
        self._limits = TurnLimits(
            initialisation_s=3600.0 + _PROGRAM_START_REAL_S * clock.scale,
            look_every_s=_LOOK_EVERY_REAL_S * clock.scale,
        )

    def run(self, bob: Bob, *, repetition: int, dwell_s: float) -> Turn:
        """One turn: Alice is with this Bob until `dwell_s` of QKD time after the first keys.

        Raises TurnFailedError, or ImpossibleRunError when the unit's log lacks what is measured.
        """
        journal = _Journal(self._clock)
        path = QuantumCircuits(self._circuits, lambda link: (_ALICE, self._names[link]))
        runner = TurnRunner(path, self._keys, journal, self._clock, self._limits)
        began_s = self._clock.monotonic()
        with LogWatch(self._log_file, self._clock) as watch:
            keys = runner.run(
                uuid4(),
                self._pairs[bob.link],
                fencing=_FENCING,
                dwell_s=dwell_s,
                stop=threading.Event(),
            )
        history = watch.history
        if history.measuring_at_s is None or history.attenuation_db is None:
            raise ImpossibleRunError(
                f"The log of Alice's unit says nothing of the line to {bob.name}.",
                next_step=f"Read {self._log_file}.",
            )
        plan = self._circuits.plan(_ALICE, bob.name, Purpose.QUANTUM_TURN)
        return Turn.of(
            history,
            repetition=repetition,
            bob=bob.name,
            km=bob.km,
            planned_loss_db=plan.loss_db,
            start_up_real_s=self._clock.real_s(history.measuring_at_s - began_s),
            states_real_s=journal.real_s(),
            keys=keys,
        )

    def _agent(self, unit: str) -> UnitAgentClient:
        layout = self._lab.layout
        return UnitAgentClient.open(
            unit,
            f"https://127.0.0.1:{layout.ports[f'agent-{unit}']}",
            Credentials.in_folder(layout.pki, Identity(Role.ORCHESTRATOR, CENTRE)),
        )


class _BobUnit:
    """A Bob through his agent, without a gateway before it."""

    def __init__(self, agent: UnitAgentClient) -> None:
        self._agent = agent

    def start(self, turn_id: UUID, fencing: int, *, loss_db: float) -> None:
        self._agent.start(
            StartRequest(turn_id=turn_id, fencing=fencing, line_attenuation_db=round(loss_db, 3))
        )

    def read(self) -> UnitReading:
        return reading_of(self._agent.unit())

    def stop(self, turn_id: UUID, fencing: int) -> None:
        self._agent.stop(StopRequest(turn_id=turn_id, fencing=fencing))


class _KeyStores:
    """The `Keys` port of a turn: a ledger at Alice's end and one at the Bobs'."""

    def __init__(self, lab: Lab, bobs: Sequence[Bob], at_end: ExitStack) -> None:
        alice, theirs = (_ledger(lab.layout.folder / end, at_end) for end in ("keys-a", "keys-b"))

        def source_at(unit: str) -> Callable[[], Idq3pSource]:
            options = {"address": lab.layout.unit_address(unit), "emulated": True}
            return lambda: open_source(options)

        self._alice = AliceEnd(alice, source_at(_ALICE))
        self._bobs = {}
        for bob in bobs:
            source = source_at(bob.name)()
            at_end.callback(source.close)
            self._bobs[bob.link] = BobEnd(theirs, source)

    def serve_waiting(self, link: str, turn_id: UUID) -> int:  # noqa: ARG002
        return 0

    def drain(self, link: str, turn_id: UUID, *, at_most: int) -> int:
        extraction = Extraction(self._alice, self._bobs[link])
        limit = min(_KEYS_EACH_TIME, at_most)
        return len(extraction.extract(link, limit=limit, turn=turn_id))

    def quarantine(self, link: str, turn_id: UUID, reason: str) -> int:
        self._bobs[link].quarantine(link, turn_id, reason)
        return self._alice.quarantine(link, turn_id, reason)

    def settle(self, link: str) -> None:
        discard_remains(self._alice, self._bobs[link], link)


def _ledger(folder: Path, at_end: ExitStack) -> KeyLedger:
    engine = open_engine(f"sqlite:///{folder / 'keys.sqlite'}")
    at_end.callback(engine.dispose)
    migrate_keys(engine)
    return KeyLedger(engine, WrappingKeys(folder / "wrapping"), SystemClock())


class _Journal:
    """The `TurnJournal` port: when each state was entered. What is measured comes from the log."""

    def __init__(self, clock: QkdClock) -> None:
        self._clock = clock
        self._entered: list[tuple[TurnState, float]] = []

    def enter(
        self,
        turn_id: UUID,  # noqa: ARG002
        state: TurnState,
        detail: str = "",  # noqa: ARG002
        *,
        fault: Fault | None = None,  # noqa: ARG002
    ) -> None:
        self._entered.append((state, self._clock.monotonic()))

    def measured(self, turn_id: UUID, measured: Measured) -> None: ...

    def gained(self, turn_id: UUID, keys: int) -> None: ...

    def real_s(self) -> dict[str, float]:
        """How many real seconds each state lasted."""
        return {
            state.value: self._clock.real_s(until_s - since_s)
            for (state, since_s), (_, until_s) in zip(
                self._entered, self._entered[1:], strict=False
            )
        }

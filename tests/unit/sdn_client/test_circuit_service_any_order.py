"""Whatever happens in whatever order: no leaked, doubled or mixed light."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sdn_client.circuits import CircuitService, Reservation
from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.errors import SdnError
from sdn_client.ledger import CircuitState, MemoryCircuitLedger, Purpose
from sdn_client.topology import CrossConnect, LightKind, load_topology
from timekeeping import FakeClock

LAB = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")
OWNERS = st.sampled_from([f"owner-{n}" for n in range(6)])
WISHES = st.sampled_from(
    [("alice", f"bob-{n}", Purpose.QUANTUM_TURN) for n in (1, 2, 3)]
    + [("node-1", f"dc-{n}", Purpose.IMAGE_TRANSFER) for n in (1, 2, 3)]
    + [("co-2", "dc-1", Purpose.IMAGE_TRANSFER)]
)


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.driver = FakeCircuitDriver(LAB)
        self.ledger = MemoryCircuitLedger()
        self.connected = True
        self.service = self.new_service()

    def new_service(self) -> CircuitService:
        service = CircuitService(self.driver, LAB, self.ledger, self.clock, reconnect_wait_s=0.001)
        service.start()
        return service

    @rule(owner=OWNERS, wish=WISHES)
    def reserve(self, owner: str, wish: tuple[str, str, Purpose]) -> None:
        self.clock.advance(1)
        try:
            answer = self.service.reserve(owner, *wish)
        except SdnError:
            return
        held = self.ledger.circuit_of(owner)
        assert isinstance(answer, Reservation) is (held is not None)

    @rule(owner=OWNERS)
    def establish(self, owner: str) -> None:
        try:
            circuit = self.service.establish(owner)
        except SdnError:
            self.connected = self.driver.chassis_states()["polatis-1"].connected
            return
        assert set(circuit.cross_connects) <= self.driver.table
        assert circuit.state is CircuitState.UP

    @rule(owner=OWNERS)
    def release(self, owner: str) -> None:
        self.service.release(owner)
        self.connected = self.driver.chassis_states()["polatis-1"].connected
        assert self.ledger.circuit_of(owner) is None
        assert owner not in [w.owner for w in self.service.waiting()]

    @rule(fault=st.sampled_from(Fault))
    def trouble_ahead(self, fault: Fault) -> None:
        self.driver.fail_next(fault)

    @rule(forget=st.booleans())
    def switch_goes(self, forget: bool) -> None:
        self.driver.lose("polatis-1", forget=forget)
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule()
    def switch_comes(self) -> None:
        self.driver.come_back("polatis-1")
        self.connected = self.driver.chassis_states()["polatis-1"].connected

    @rule()
    def orchestrator_is_restarted(self) -> None:
        self.service.close()
        self.service = self.new_service()
        self.connected = self.driver.chassis_states()["polatis-1"].connected

    @rule(pair=st.sampled_from([(5, 7), (10, 11), (17, 18), (1, 3), (27, 28)]))
    def somebody_meddles(self, pair: tuple[int, int]) -> None:
        used = {port for x in self.driver.table for port in x.ports}
        stray = CrossConnect("polatis-1", *pair)
        if not used & set(stray.ports):
            self.driver.table.add(stray)

    @invariant()
    def a_port_serves_one_circuit(self) -> None:
        ports = [port for c in self.ledger.circuits() for port in c.ports]
        assert len(ports) == len(set(ports))
        lit = [port for x in self.driver.table for port in x.ports]
        assert len(lit) == len(set(lit))

    @invariant()
    def kinds_never_mix(self) -> None:
        for circuit in self.ledger.circuits():
            kinds = {LAB.kind_of_port(port) for port in circuit.ports}
            assert kinds == {circuit.purpose.kind}
        for x in self.driver.table:
            kinds = {LAB.kind_of_port(port) for port in x.ports}
            assert not {LightKind.QUANTUM, LightKind.CLASSICAL} <= kinds

    @invariant()
    def what_is_released_has_no_owner(self) -> None:
        for circuit in self.ledger.circuits():
            assert bool(circuit.owners) is (circuit.state is not CircuitState.RELEASING)

    def teardown(self) -> None:
        """At the end everything can be cleared: nothing is stuck, nothing stays lit."""
        self.driver.clear_faults()
        self.driver.come_back("polatis-1")
        self.service.reconcile("polatis-1")
        up = {
            x
            for c in self.ledger.circuits()
            if c.state is CircuitState.UP
            for x in c.cross_connects
        }
        assert self.driver.table == up
        for n in range(6):
            assert self.service.release(f"owner-{n}")
        assert self.driver.table == set()
        assert self.service.circuits() == []
        assert self.service.waiting() == []
        self.service.close()
        self.driver.close()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

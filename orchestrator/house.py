"""The rooms of the orchestrator and what each is given: wired here, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, cast
from uuid import uuid4

from sqlalchemy.orm import Session

from database import open_engine
from idq3p.unit_agent.client import UnitAgentClient
from key_management.extraction import AliceEnd, LocalEnd
from key_management.ledger import KeyLedger
from key_management.relay.node import RelayNode
from key_management.relay.origin import RelayedLink, RelayOrigin
from key_management.relay.routes import HopLink
from key_management.relay.tables import migrate_relay
from key_management.sources.port import KeySource
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveUnreachableError
from orchestrator.accounts.service import Accounts
from orchestrator.accounts.tables import migrate_accounts
from orchestrator.audit.custody import Custody
from orchestrator.audit.log import AuditLog
from orchestrator.audit.tables import migrate_audit
from orchestrator.audit.witnesses import Witnesses
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentre, DataCentres
from orchestrator.datacentres.revocation_alarms import RevocationAlarms
from orchestrator.events.bus import CircuitReleased, EventBus
from orchestrator.keys.pools import KeyPool, RemoteCounts, UnitPool
from orchestrator.keys.relay import RelayService
from orchestrator.keys.remote_ends import (
    RemoteAliceEnd,
    RemoteBobEnd,
    RemoteEnd,
    RemoteRelayNode,
)
from orchestrator.keys.service import KeyService
from orchestrator.keys.trace import KeyTracer
from orchestrator.keys.upkeep import KeyUpkeep
from orchestrator.network.circuits import QuantumCircuits, TransferCircuits
from orchestrator.network.etsi015 import QkdLink
from orchestrator.network.ledger import SqlCircuitLedger
from orchestrator.network.owner_names import OwnerNames
from orchestrator.network.tables import migrate_network
from orchestrator.projects.ownership import Ownership
from orchestrator.projects.projects import Projects
from orchestrator.projects.tables import migrate_projects
from orchestrator.replicas import Replicas
from orchestrator.schedule.alarms import Alarms
from orchestrator.schedule.assignment import Assignments
from orchestrator.schedule.books import Books
from orchestrator.schedule.desk import TurnDesk
from orchestrator.schedule.feeds import Feeds
from orchestrator.schedule.leadership import Leadership
from orchestrator.schedule.lease import Lease
from orchestrator.schedule.orders import OrderBook
from orchestrator.schedule.outlook import Outlook, Retries
from orchestrator.schedule.promises import PromiseBook
from orchestrator.schedule.qkd_links import qkd_links
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from orchestrator.schedule.units import AliceUnit, BobUnit
from orchestrator.schedule.ways import Way, Ways, find_ways
from orchestrator.settings import DataCentreTable, HopLinkTable, OrchestratorSettings
from orchestrator.sol003.members.conductor import Conductor
from orchestrator.sol003.members.occurrences import Occurrences
from orchestrator.sol003.members.settling import occurrence_follows
from orchestrator.sol003.notifications.callbacks import Callbacks
from orchestrator.sol003.notifications.courier import NotificationCourier
from orchestrator.sol003.notifications.outbox import operation_changed
from orchestrator.sol003.notifications.subscriptions import Subscriptions
from orchestrator.sol003.onboarding.intake import PackageIntake
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.sol003.tables import migrate_sol003
from orchestrator.store.tables import OperationRow, migrate_orchestrator
from orchestrator.uploads.service import Uploads
from orchestrator.uploads.tables import migrate_uploads
from orchestrator.uploads.upkeep import UploadUpkeep
from orchestrator.vnf_lcm.admission import Admission
from orchestrator.vnf_lcm.ciphers.one_time_pad import OneTimePadCipher
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.ciphers.sealed_stream import SealedStreamCipher
from orchestrator.vnf_lcm.holding import Holding
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.outcome import deployment_follows
from orchestrator.vnf_lcm.progress import ProgressNotes
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.steps.instance import AcknowledgeStep, BootStep, RemoveStep
from orchestrator.vnf_lcm.steps.power import RecreateStep, StartStep, StopStep
from orchestrator.vnf_lcm.steps.reservation import CircuitStep, KeyStep
from orchestrator.vnf_lcm.steps.transfer import (
    AnnounceStep,
    NotifyStep,
    PlaceStep,
    StreamLimits,
    StreamStep,
    TransferEnds,
)
from orchestrator.vnf_lcm.watch import InstanceWatch
from orchestrator.workflow.actions import OperationActions
from orchestrator.workflow.cancellation import Cancellations
from orchestrator.workflow.claims.fences import Fences, migrate_claims
from orchestrator.workflow.engine import FlowEngine, Patience
from orchestrator.workflow.journal import OperationJournal
from orchestrator.workflow.runner import OperationRunner
from orchestrator.workflow.step import Step
from qkd_scheduler.policies.catalogue import named as named_policy
from qkd_scheduler.ports import Pair
from qkd_scheduler.turn import TurnLimits, TurnRunner
from sdn_client.circuits import CircuitService
from sdn_client.drivers import open_driver
from sdn_client.errors import SwitchUnreachable
from sdn_client.paths import PathFinder
from sdn_client.topology import LightKind, load_topology
from sdn_client.upkeep import CircuitUpkeep
from service_settings import find_driver
from timekeeping import QkdClock, Rounds, SystemClock
from trust import Identity, Role
from trust.client import open_client
from trust.delivery import RevocationCourier

_GIVE_BACK_EVERY_S: Final = 5.0

_MIGRATIONS = (
    migrate_orchestrator,
    migrate_claims,
    migrate_keys,
    migrate_relay,
    migrate_network,
    migrate_accounts,
    migrate_projects,
    migrate_audit,
    migrate_uploads,
    migrate_sol003,
)


def _operation_follows(session: Session, operation: OperationRow, now: datetime) -> None:
    """What is true, and told, together with an operation's state."""
    deployment_follows(session, operation, now)
    if not occurrence_follows(session, operation, now):
        operation_changed(session, operation, now)


class House:
    """Every part of one orchestrator, made in the order in which they need each other."""

    def __init__(self, settings: OrchestratorSettings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.qkd_clock = QkdClock(settings.time_scale)
        self.bus = EventBus()
        self.closing = threading.Event()
        self.replicas = Replicas(settings.replicas, self.clock)
        self.engine = open_engine(
            settings.database_url,
            pool_size=settings.workers + 8,
            idle_limit_s=self.replicas.idle_limit_s,
        )
        with self.replicas.in_turn(self.engine, "migrations"):
            for migrate in _MIGRATIONS:
                migrate(self.engine)
        self.fences = Fences(self.engine)
        self.ownership = Ownership(self.engine)
        self.accounts = Accounts(
            self.engine,
            self.clock,
            settings.accounts,
            settings.state_dir,
            on_user_added=self.ownership.welcome,
        )
        self.projects = Projects(self.engine, self.clock, self.accounts.users, self.ownership)
        self.audit = AuditLog(self.engine, self.clock, ownership=self.ownership)
        self.custody = Custody(self.engine, self.audit)
        self.data_centres = DataCentres([self._data_centre(t) for t in settings.data_centres])
        self.records = LcmRecords(
            self.engine, self.clock, ownership=self.ownership, fences=self.fences
        )
        self.journal = OperationJournal(
            self.engine,
            self.clock,
            self.bus,
            follows=_operation_follows,
            ownership=self.ownership,
            fences=self.fences,
        )
        self.cancellations = Cancellations()
        self.catalogue = Catalogue(
            self.engine,
            settings.state_dir / "catalogue",
            self.clock,
            max_image_bytes=settings.max_image_bytes,
            ownership=self.ownership,
            one_at_a_time=self.replicas.turns(self.engine, "catalogue"),
        )
        self.uploads = Uploads(
            self.engine,
            settings.state_dir / "catalogue" / "uploads",
            self.clock,
            self.catalogue,
            settings.uploads,
            max_image_bytes=settings.max_image_bytes,
        )
        self.package_store = PackageStore(self.engine, self.clock, self.ownership)
        self.package_intake = PackageIntake(
            self.package_store,
            self.catalogue,
            settings.state_dir / "catalogue" / "packages",
            self.clock,
            deployments=self.records.image_users,
            max_bytes=settings.max_image_bytes,
        )
        self.upload_upkeep = UploadUpkeep(self.uploads, self.clock)
        self.keys = self._keys()
        self.ledger.must_open()
        self.topology = load_topology(settings.topology_file)
        self.driver = open_driver(
            settings.controller.driver, settings.controller.options, self.topology
        )
        circuit_ledger = SqlCircuitLedger(self.engine)
        self.circuits = CircuitService(
            self.driver,
            self.topology,
            circuit_ledger,
            self.clock,
            one_at_a_time=self.replicas.turns(self.engine, "circuits"),
        )
        self.circuit_upkeep = CircuitUpkeep(
            self.circuits,
            self.driver,
            self.topology,
            circuit_ledger,
            self.clock,
            look_every_s=settings.network.look_every_s,
            repair=settings.network.repair_drift,
            leads=self._leads,
        )
        self.circuits.on_release(lambda: self.bus.publish(CircuitReleased()))
        self.transfer_circuits = TransferCircuits(self.circuits, self.data_centres, settings.node)
        self.timetable = Timetable(self.engine, self.clock, self.bus)
        self.alarms = Alarms(self.engine, self.clock, self.bus, ownership=self.ownership)
        self.callbacks = Callbacks(
            settings.notifications.allowed_callbacks,
            self.clock,
            ca_file=settings.notifications.ca_file,
        )
        self.subscriptions = Subscriptions(
            self.engine,
            self.clock,
            self.callbacks,
            WrappingKeys(settings.state_dir / "subscriptions"),
        )
        self.notification_courier = NotificationCourier(
            self.engine,
            self.clock,
            self.bus,
            self.subscriptions,
            self.callbacks,
            keep_s=settings.notifications.keep_s,
            raise_alarm=self.alarms.raise_,
            leads=self._leads,
        )
        self.watch = InstanceWatch(
            self.data_centres,
            self.records,
            self.alarms,
            self.clock,
            look_every_s=settings.instance_look_every_s,
        )
        self.schedule = self._schedule()
        neighbours = {dc.name: dc.slave.take_revocations for dc in self.data_centres.all()}
        neighbours |= {name: agent.take_revocations for name, agent in self.alices.items()}
        self.revocations = RevocationCourier(
            settings.credentials, neighbours, tell=RevocationAlarms(self.alarms).note
        )
        self.witnesses = Witnesses(
            settings.name,
            self.audit,
            {dc.name: dc.slave for dc in self.data_centres.all()},
            settings.credentials,
            self.clock,
            every_s=settings.audit.witness_every_s,
        )
        self.relay = self._relay()
        self.key_tracer = KeyTracer(
            self.ledger,
            self.timetable,
            self.relay.origin,
            self.data_centres,
            sees_transfer=self.records.sees_transfer,
        )
        self.owner_names = OwnerNames(self.records.operations_seen)
        self.upkeep = KeyUpkeep(
            self.keys,
            self.qkd_clock,
            lifetime_s=settings.key_lifetime_s,
            leads=lambda: self.schedule.leads,
        )
        self.ciphers = self._ciphers()
        self.admission = Admission(
            self.journal,
            self.records,
            self.keys,
            self.ciphers,
            self.transfer_circuits,
            self.data_centres,
            self.clock,
            promises=self.schedule,
            wake_schedule=self.schedule.wake,
        )
        self.giving_back = Rounds(
            "giving-back",
            self.admission.give_back_of_ended,
            self.clock,
            _GIVE_BACK_EVERY_S,
            pauses_first=True,
        )
        patience = Patience(
            lambda error: isinstance(error, SlaveUnreachableError | SwitchUnreachable),
            self.clock,
            self.closing,
            settings.neighbour_patience_s,
        )
        with self.replicas.in_turn(self.engine, "migrations"):
            self.flow_engine = FlowEngine(
                self._workflow_url(),
                self.journal,
                patience,
                self.cancellations,
                idle_limit_s=self.replicas.idle_limit_s,
            )
        self.lifecycle = Lifecycle(
            self.engine,
            self.clock,
            self.records,
            self.journal,
            self.catalogue,
            self.keys,
            self.ciphers,
            self.transfer_circuits,
            self.data_centres,
            promises=self.schedule,
            wake=lambda: self.runner.wake(),
            sighting=self.watch.sighting,
        )
        self.runner: OperationRunner = OperationRunner(
            self.journal,
            self.flow_engine,
            self._steps(),
            self.admission.admit,
            self.custody.on_end,
            self.bus,
            self.clock,
            withdraw=self.admission.withdraw,
            kept=Holding(self.transfer_circuits, self.admission.withdraw).kept,
            cancellations=self.cancellations,
            workers=settings.workers,
            claims=self.replicas.claims(self.fences),
            leads=self._leads,
            at_once=None if self.replicas.is_alone else settings.workers,
        )
        self.shared_events = self.replicas.shared_events(self.bus)
        self.operation_actions = OperationActions(
            self.journal, self.runner, self.admission.withdraw, self.clock
        )
        self.occurrences = Occurrences(self.engine, self.clock, self.ownership)
        self.conductor = Conductor(
            self.occurrences,
            self.operation_actions,
            self.lifecycle.changes,
            self.records,
            self.bus,
            self.clock,
            leads=self._leads,
        )

    def start(self) -> None:
        self.accounts.start()
        self.ledger.burn_unreadable()
        self.lifecycle.settle()
        self.operation_actions.settle()
        self.flow_engine.settle()
        self.custody.settle()
        self.circuits.start()
        self.circuit_upkeep.start()
        self.catalogue.settle()
        self.upload_upkeep.start()
        self.package_intake.settle()
        self.subscriptions.settle()
        self.notification_courier.start()
        self.revocations.start()
        self.witnesses.start()
        if self.settings.schedule.enabled:
            self.schedule.start()
            self.relay.start()
            self.upkeep.start()
        if self.shared_events is not None:
            self.shared_events.start()
        self.runner.start()
        self.giving_back.start()
        self.conductor.start()
        self.watch.start()

    def close(self) -> None:
        """Admit nothing more and end Alice's turn in order.

        Operations under way are not waited for: to them this end is a crash, after which they go
        on (docs/decisions/0004-crash-only.md). So what they use stays open until the process ends.
        """
        self.watch.close()
        self.conductor.close()
        self.giving_back.close()
        self.runner.close()
        self.revocations.close()
        self.witnesses.close()
        self.upkeep.close()
        self.upload_upkeep.close()
        self.package_intake.close()
        self.notification_courier.close()
        self.relay.close()
        self.schedule.close()
        if self.shared_events is not None:
            self.shared_events.close()
        if self.runner.is_busy:
            return
        self.closing.set()
        self.circuit_upkeep.close()
        self.circuits.close()
        self.driver.close()
        for alice in self.alices.values():
            alice.close()
        self.data_centres.close()
        self.flow_engine.close()
        self.engine.dispose()

    def _leads(self) -> bool:
        """Whether this process does what one of all replicas does."""
        return self.replicas.is_alone or self.schedule.leads

    # --- parts ----------------------------------------------------------------------------------

    def _data_centre(self, table: DataCentreTable) -> DataCentre:
        http = open_client(
            table.gateway_url,
            credentials=self.settings.credentials,
            peer=Identity(Role.SLAVE, table.name),
        )
        hop = next(
            (hop.name for hop in self.settings.hop_links if hop.to_data_centre == table.name), None
        )
        return DataCentre(
            table.name,
            table.link,
            table.end_point,
            SlaveClient(table.name, http),
            bob_link=hop if table.bob_end_point is None else None,
        )

    def _keys(self) -> KeyService:
        settings = self.settings
        ledger = KeyLedger(
            self.engine,
            WrappingKeys(settings.state_dir / "wrapping"),
            self.clock,
            capacity=settings.key_capacity,
        )

        tables = {table.name: table for table in settings.all_alices}

        def open_source(link: str) -> KeySource:
            """The key server of the Alice who serves this link now."""
            table = tables[self.schedule.alice_of(link)]
            driver = find_driver("key_management.sources", table.source)
            return cast("KeySource", driver(table.source_options))

        self.ledger = ledger
        pools = [
            *(self._pool_of(table, open_source) for table in settings.data_centres),
            *(self._pool_of_hop(table) for table in settings.hop_links),
        ]
        return KeyService(
            ledger,
            {pool.link: pool for pool in pools},
            self.bus,
            pool_target_keys=settings.schedule.pool_target_keys,
            taken_by_relay=lambda link, since: self.relay.origin.blocks_taken(link, since),
        )

    def _pool_of(self, table: DataCentreTable, open_source: Callable[[str], KeySource]) -> KeyPool:
        """Keys with a data centre: from its Bob, or relayed."""
        slave = self.data_centres.named(table.name).slave
        counts = partial(self.ledger.counts, table.link)
        capacity = self.ledger.capacity
        if table.bob_end_point is None:
            here = LocalEnd(self.ledger)
            return KeyPool(table.link, here, RemoteEnd(slave), counts, capacity)
        alice = AliceEnd(self.ledger, partial(open_source, table.link))
        return UnitPool(table.link, alice, RemoteBobEnd(slave), counts, capacity)

    def _pool_of_hop(self, table: HopLinkTable) -> KeyPool:
        """Keys between two data centres; this process only looks after them."""
        alice = RemoteAliceEnd(self.data_centres.named(table.from_data_centre).slave)
        bob = RemoteBobEnd(self.data_centres.named(table.to_data_centre).slave)
        counts = RemoteCounts(partial(alice.counts, table.name))
        return UnitPool(table.name, alice, bob, counts, self.ledger.capacity, is_here=False)

    def _relay(self) -> RelayService:
        settings = self.settings
        hops = [
            HopLink(table.link, settings.name, table.name)
            for table in settings.data_centres
            if table.bob_end_point is not None
        ]
        hops += [
            HopLink(table.name, table.from_data_centre, table.to_data_centre)
            for table in settings.hop_links
        ]
        node = RelayNode(
            settings.name,
            self.ledger,
            self.engine,
            self.clock,
            floor_keys=settings.relay_floor_keys,
        )
        origin = RelayOrigin(
            node,
            {dc.name: RemoteRelayNode(dc.slave) for dc in self.data_centres.all()},
            hops,
            self.ledger,
            self.engine,
            self.clock,
            residual_keys=lambda hop: self.keys.level(hop.name),
        )
        relayed = {
            table.link: RelayedLink(
                table.link, table.name, RemoteEnd(self.data_centres.named(table.name).slave)
            )
            for table in settings.data_centres
            if table.bob_end_point is None
        }
        return RelayService(
            origin,
            relayed,
            self.bus,
            self.clock,
            level=self.keys.level,
            wanted_keys=self.keys.wanted_keys,
            need=self.keys.need,
            leads=lambda: self.schedule.leads,
        )

    def _schedule(self) -> ScheduleService:
        settings, table, scale = self.settings, self.settings.schedule, self.settings.time_scale
        ways = self._ways()
        assignments = Assignments(self.engine, self.clock, ways)
        self.bob_ends = bob_ends = {
            **{dc.link: dc.bob_end_point for dc in settings.data_centres if dc.bob_end_point},
            **{hop.name: hop.bob_end_point for hop in settings.hop_links},
        }
        path = QuantumCircuits(
            self.circuits, lambda link: (assignments.alice_of(link), bob_ends[link])
        )
        limits = TurnLimits(
            initialisation_s=table.initialisation_limit_s + table.program_start_limit_s * scale,
            look_every_s=table.look_every_s,
            qber_threshold=table.qber_threshold,
            silence_s=table.silence_limit_s,
        )
        books = Books(
            self.timetable,
            OrderBook(self.engine, self.clock),
            PromiseBook(self.engine, self.clock, ownership=self.ownership),
            self.alarms,
        )
        outlook = Outlook(
            ways,
            assignments,
            Feeds(
                self.timetable,
                self.keys,
                self.qkd_clock,
                demand_window_s=table.demand_window_s,
                expected_demand_bps=table.expected_demand_bps,
            ),
            self.keys,
            books,
            named_policy(table.policy, slot_s=table.slot_s),
            self.qkd_clock,
            Retries(table.retry_after_s, table.retry_at_most_s),
            waiting_for_keys=lambda link: self.admission.waiting_for_keys(link),
        )
        leadership = Leadership(
            Lease(self.engine, "schedule", uuid4(), life_s=table.lease_s),
            self.clock,
            lambda fencing: self.schedule.on_leadership(fencing),
        )
        desk = TurnDesk(
            ways,
            assignments,
            TurnRunner(path, self.keys, self.timetable, self.qkd_clock, limits),
            books,
            self.clock,
            fencing=lambda: leadership.fencing,
            exclude_untrusted=table.exclude_untrusted,
        )
        return ScheduleService(
            ways,
            assignments,
            outlook,
            desk,
            books,
            leadership,
            self.qkd_clock,
            switch_of_is_there=self._switch_of_is_there,
        )

    def _switch_of_is_there(self, end_point: str) -> bool:
        chassis = self.topology.port_of(end_point).chassis
        return self.driver.chassis_states()[chassis].connected

    def _ways(self) -> Ways:
        """Every Alice's way to every Bob. Raises NoWayError."""
        finder = PathFinder(self.topology)
        self.alices = {
            table.name: UnitAgentClient.open(
                table.unit_agent_name, table.unit_agent_url, self.settings.credentials
            )
            for table in self.settings.all_alices
        }
        ways: list[Way] = []
        for dc in self.settings.data_centres:
            if dc.bob_end_point is None or dc.bob_address is None:
                continue
            bob = BobUnit(self.data_centres.named(dc.name).slave, dc.link)
            pairs = {
                name: Pair(dc.link, AliceUnit(agent, dc.bob_address), bob)
                for name, agent in self.alices.items()
            }
            path_of = partial(finder.find, to=dc.bob_end_point, kind=LightKind.QUANTUM)
            ways += find_ways(dc.link, pairs, path_of)
        for hop in self.settings.hop_links:
            # The gateways of both data centres know which unit stands at their end.
            ends = [
                BobUnit(self.data_centres.named(name).slave, hop.name)
                for name in (hop.from_data_centre, hop.to_data_centre)
            ]
            path_of = partial(finder.find, to=hop.bob_end_point, kind=LightKind.QUANTUM)
            ways += find_ways(hop.name, {hop.alice_end_point: Pair(hop.name, *ends)}, path_of)
        return Ways(ways)

    def _ciphers(self) -> dict[str, Cipher]:
        ciphers: list[Cipher] = [
            SealedStreamCipher(
                self.records, self.keys, self.catalogue, sender_name=self.settings.name
            ),
            OneTimePadCipher(
                self.records,
                self.keys,
                self.catalogue,
                self.settings.state_dir / "pads",
                sender_name=self.settings.name,
                limit_bytes=self.settings.pad_limit_bytes,
            ),
        ]
        return {cipher.name: cipher for cipher in ciphers}

    def _steps(self) -> dict[str, Step]:
        settings, cancellations = self.settings, self.cancellations
        ends = TransferEnds(self.records, self.ciphers, self.data_centres)
        limits = StreamLimits(
            patience_s=settings.stream_patience_s, place_s=settings.place_timeout_s
        )
        notes = ProgressNotes(self.records, self.bus, self.clock)
        steps: list[Step] = [
            KeyStep(self.records, self.keys, self.ciphers, self.data_centres),
            CircuitStep(self.transfer_circuits),
            AnnounceStep(ends),
            StreamStep(ends, notes, self.clock, cancellations, limits),
            PlaceStep(
                ends, cancellations, place_timeout_s=settings.place_timeout_s, clock=self.clock
            ),
            NotifyStep(ends),
            BootStep(ends, cancellations, boot_timeout_s=settings.boot_timeout_s),
            AcknowledgeStep(ends, self.transfer_circuits),
            RemoveStep(self.records, ends),
            StopStep(ends),
            StartStep(ends, boot_timeout_s=settings.boot_timeout_s),
            RecreateStep(ends, boot_timeout_s=settings.boot_timeout_s),
        ]
        return {step.name: step for step in steps}

    def qkd_links(self) -> list[QkdLink]:
        """Every link of an Alice and a Bob, as ETSI GS QKD 015 asks for it."""
        return qkd_links(self.schedule, self.timetable, self.circuits, self.bob_ends)

    def _workflow_url(self) -> str:
        own = self.settings.workflow_database_url
        return own or f"sqlite:///{self.settings.state_dir / 'workflow.sqlite'}"

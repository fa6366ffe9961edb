"""What the pages need of the house."""

from __future__ import annotations

from typing import Protocol

from key_management.ledger import KeyLedger
from orchestrator.accounts.service import Accounts
from orchestrator.audit.custody import Custody
from orchestrator.audit.log import AuditLog
from orchestrator.audit.witnesses import Witnesses
from orchestrator.catalogue.catalogue import Catalogue
from orchestrator.datacentres.registry import DataCentres
from orchestrator.events.bus import EventBus
from orchestrator.keys.relay import RelayService
from orchestrator.keys.service import KeyService
from orchestrator.keys.trace import KeyTracer
from orchestrator.network.owner_names import OwnerNames
from orchestrator.projects.projects import Projects
from orchestrator.schedule.service import ScheduleService
from orchestrator.schedule.timetable import Timetable
from orchestrator.settings import OrchestratorSettings
from orchestrator.sol003.onboarding.store import PackageStore
from orchestrator.uploads.service import Uploads
from orchestrator.vnf_lcm.lifecycle import Lifecycle
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.workflow.journal import OperationJournal
from sdn_client.circuits import CircuitService
from sdn_client.drivers.port import CircuitDriver
from sdn_client.topology import Topology
from sdn_client.upkeep import CircuitUpkeep
from timekeeping import SystemClock


class Rooms(Protocol):
    settings: OrchestratorSettings
    clock: SystemClock
    bus: EventBus
    accounts: Accounts
    projects: Projects
    audit: AuditLog
    custody: Custody
    witnesses: Witnesses
    data_centres: DataCentres
    records: LcmRecords
    catalogue: Catalogue
    uploads: Uploads
    package_store: PackageStore
    ledger: KeyLedger
    keys: KeyService
    key_tracer: KeyTracer
    owner_names: OwnerNames
    relay: RelayService
    schedule: ScheduleService
    timetable: Timetable
    lifecycle: Lifecycle
    journal: OperationJournal
    topology: Topology
    driver: CircuitDriver
    circuits: CircuitService
    circuit_upkeep: CircuitUpkeep

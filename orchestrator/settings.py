"""Settings of the orchestrator (`qnfv serve orchestrator --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from nfv_stack.contract.schemas import LinkName, Name
from service_settings import ServiceSettings
from trust import Credentials


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AliceTable(Table):
    """Alice: her unit agent, and her key source."""

    name: Name
    unit_agent_url: str
    unit_agent_name: Name
    source: str = "idq3p"
    source_options: dict[str, Any] = Field(default_factory=dict)


class DataCentreTable(Table):
    """One remote data centre, as seen from here."""

    name: Name
    gateway_url: str
    end_point: str
    """Its classical end point in the topology."""
    link: LinkName
    bob_end_point: str
    """Its Bob's quantum end point in the topology."""
    bob_address: str
    """The address that Alice's program is given as `--ip_bob`."""


class ControllerTable(Table):
    """The optical network's controller: a driver by name, and its own options."""

    driver: str = "openflow"
    options: dict[str, Any] = Field(default_factory=dict)


class ScheduleTable(Table):
    """Durations are seconds of QKD time where nothing else is said."""

    enabled: bool = True
    slot_s: float = Field(default=600.0, gt=0)
    pool_target_keys: int = Field(default=256, ge=0)
    initialisation_limit_s: float = Field(default=3600.0, gt=0)
    program_start_limit_s: float = Field(default=20.0, gt=0)
    """Real seconds that the units' programs may take to start, on top of the initialisation."""
    look_every_s: float = Field(default=20.0, gt=0)
    lease_s: float = Field(default=10.0, gt=0)
    """Real seconds."""


class OrchestratorSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="QNFV_ORCHESTRATOR_")

    name: Name = "central"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names under which people reach REST; any other Host header is refused."""
    token_file: Path
    credentials: Credentials
    database_url: str
    workflow_database_url: str | None = None
    """TaskFlow's own tables; beside the state by default."""
    state_dir: Path
    topology_file: Path
    node: str
    """Our own node in the topology."""
    controller: ControllerTable = ControllerTable()
    alice: AliceTable
    data_centres: tuple[DataCentreTable, ...]
    schedule: ScheduleTable = ScheduleTable()
    key_capacity: int = Field(default=4096, gt=0)
    max_image_bytes: int = Field(default=64 * 1024**3, gt=0)
    boot_timeout_s: float = Field(default=60.0, gt=0)
    place_timeout_s: float = Field(default=600.0, gt=0)
    stream_patience_s: float = Field(default=120.0, gt=0)
    """How long a broken stream may stand still before its operation rolls back."""
    neighbour_patience_s: float = Field(default=30.0, ge=0)
    """How long a step waits for a slave stack or switch that is away, before it rolls back."""
    workers: int = Field(default=16, ge=1, le=256)
    time_scale: float = Field(default=1.0, gt=0)
    """For laboratories: seconds of QKD time in one real second."""
    log_form: Literal["json", "readable"] = "json"

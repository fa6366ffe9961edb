"""Settings of the orchestrator (`qnfv serve orchestrator --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from nfv_stack.contract.schemas import LinkName, Name
from service_settings import ServiceSettings
from trust import Credentials

HttpOrigin = Annotated[
    str, StringConstraints(pattern=r"^https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$")
]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AliceTable(Table):
    """Alice: her unit agent, and her key source. Her name is that of her quantum end point."""

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
    """Under which link we have keys with it: its Bob's, or one that is fed by relay."""
    bob_end_point: str | None = None
    """Its Bob's quantum end point in the topology; none where keys are relayed to it."""
    bob_address: str | None = None
    """The address that Alice's program is given as `--ip_bob`; none where keys are relayed."""

    @model_validator(mode="after")
    def _has_a_whole_bob_or_none(self) -> Self:
        if (self.bob_end_point is None) != (self.bob_address is None):
            raise ValueError("give both bob_end_point and bob_address, or neither (relayed keys)")
        return self


class HopLinkTable(Table):
    """A QKD link that leads onward from a data centre, which so is a trusted node."""

    name: LinkName
    alice_end_point: Name
    """The quantum end point of the Alice who stands in the trusted node."""
    from_data_centre: Name
    to_data_centre: Name
    bob_end_point: str


class ControllerTable(Table):
    """The optical network's controller: a driver by name, and its own options."""

    driver: str = "openflow"
    options: dict[str, Any] = Field(default_factory=dict)


class NetworkTable(Table):
    """How the optical network is looked after."""

    look_every_s: float = Field(default=5.0, gt=0, le=3600)
    """What the devices hold is compared with what is owned so often, and at every event."""
    repair_drift: Literal["show", "devices"] = "show"
    """`devices`: what differs is put right on the devices by itself."""


class ScheduleTable(Table):
    """Durations are seconds of QKD time where nothing else is said."""

    enabled: bool = True
    policy: Literal["lot_sizing", "proportional", "run_out", "sequential"] = "lot_sizing"
    slot_s: float = Field(default=600.0, gt=0)
    """Of the policy `sequential` alone."""
    pool_target_keys: int = Field(default=256, ge=0)
    demand_window_s: float = Field(default=86_400.0, gt=0, le=366 * 86_400.0)
    """Keys taken within this time say how many will be."""
    expected_demand_bps: float = Field(default=0.5, gt=0, le=1e6)
    """What a link uses, as long as little is known of it."""
    initialisation_limit_s: float = Field(default=3600.0, gt=0)
    program_start_limit_s: float = Field(default=20.0, gt=0)
    """Real seconds that the units' programs may take to start, on top of the initialisation."""
    look_every_s: float = Field(default=20.0, gt=0)
    qber_threshold: float = Field(default=0.08, gt=0, lt=0.5)
    """Above it a turn ends and its keys are quarantined."""
    silence_limit_s: float = Field(default=3600.0, gt=0)
    """A unit that tells no block for so long is taken for dark."""
    exclude_untrusted: bool = False
    """After a bad QBER, or keys that disagree, a link is not served until somebody includes it."""
    retry_after_s: float = Field(default=300.0, gt=0)
    """A link whose turn failed rests so long, then twice as long, up to `retry_at_most_s`."""
    retry_at_most_s: float = Field(default=21_600.0, gt=0)
    lease_s: float = Field(default=10.0, gt=0)
    """Real seconds."""

    @model_validator(mode="after")
    def _retries_grow(self) -> Self:
        if self.retry_at_most_s < self.retry_after_s:
            raise ValueError("retry_at_most_s must not be below retry_after_s")
        return self


class AccountsTable(Table):
    """Signing in, and how long it lasts."""

    session_life_s: float = Field(default=43_200.0, gt=0, le=30 * 86_400.0)
    """A session ends so long after signing in."""
    session_idle_s: float = Field(default=3600.0, gt=0, le=30 * 86_400.0)
    """It ends sooner where no request comes for so long."""
    sign_in_tries: int = Field(default=5, ge=1)
    """Tries for one user within `sign_in_window_s`; one that succeeds does not count."""
    sign_in_tries_per_address: int = Field(default=30, ge=1)
    sign_in_window_s: float = Field(default=300.0, gt=0)


class UploadsTable(Table):
    """Uploads of images that may break off and go on."""

    keep_s: float = Field(default=86_400.0, gt=0, le=366 * 86_400.0)
    """One with which nobody goes on is thrown away after so long."""
    most_per_person: int = Field(default=8, ge=1)
    most_bytes_per_person: int = Field(default=128 * 1024**3, gt=0)
    """Of all that one person has open, as announced."""


class PackagesTable(Table):
    """What one project may hold of VNF packages."""

    most_per_project: int = Field(default=200, ge=1)
    most_bytes_per_project: int = Field(default=512 * 1024**3, gt=0)
    """Of their content, as it was uploaded or announced."""


class NotificationsTable(Table):
    """Notifications to SOL003 clients that subscribed."""

    allowed_callbacks: tuple[HttpOrigin, ...] = ()
    """Where they may go: origins as `https://host:port`; without a port every one of that host."""
    ca_file: Path | None = None
    """Who certifies subscribers; the system's authorities by default."""
    keep_s: float = Field(default=86_400.0, gt=0, le=30 * 86_400.0)
    """One that nobody took for so long is dropped, with an alarm."""


class ReplicasTable(Table):
    """Several orchestrators on one database, that share a jobboard."""

    name: Name
    """This one's, among them."""
    board: Literal["redis", "etcd", "zookeeper"] = "redis"
    options: dict[str, Any] = Field(default_factory=dict)
    """What the board's client is told: `host`, `port`, and for Redis `db`, `ssl`, `ssl_ca_certs`
    and whatever else redis-py knows."""
    password_file: Path | None = None
    """The board's password."""
    claim_life_s: float = Field(default=5.0, ge=1, le=300)
    """An operation of a replica that says nothing for so long is taken over."""

    @property
    def all_options(self) -> dict[str, Any]:
        """With the password, read from its file, and a `namespace`."""
        options = {"namespace": "qnfv"} | self.options
        if self.password_file is not None:
            options["password"] = self.password_file.read_text().strip()
        return options


class AuditTable(Table):
    witness_every_s: float = Field(default=60.0, gt=0, le=86_400.0)
    """The audit's newest head is left at every data centre so often, if it moved."""


class OrchestratorSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="QNFV_ORCHESTRATOR_")

    name: Name = "central"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names under which people reach REST; any other Host header is refused."""
    token_file: Path
    """The token of this machine's owner, who is administrator without an account."""
    accounts: AccountsTable = AccountsTable()
    audit: AuditTable = AuditTable()
    replicas: ReplicasTable | None = None
    notifications: NotificationsTable = NotificationsTable()
    max_document_bytes: int = Field(default=1024**2, ge=1024)
    """The largest body of a request; uploads of images have `max_image_bytes`."""
    credentials: Credentials
    database_url: str
    workflow_database_url: str | None = None
    """TaskFlow's own tables; beside the state by default."""
    state_dir: Path
    topology_file: Path
    node: str
    """Our own node in the topology."""
    controller: ControllerTable = ControllerTable()
    network: NetworkTable = NetworkTable()
    alice: AliceTable | None = None
    """The only Alice; where there are several, `alices` lists them instead."""
    alices: tuple[AliceTable, ...] = ()
    data_centres: tuple[DataCentreTable, ...]
    hop_links: tuple[HopLinkTable, ...] = ()
    """Links between data centres, over which keys are relayed."""
    relay_floor_keys: int = Field(default=0, ge=0)
    """Keys of each of our links that relaying leaves for others."""
    key_lifetime_s: float = Field(default=0.0, ge=0)
    """QKD seconds after which a key that nobody took is erased; 0: never."""
    schedule: ScheduleTable = ScheduleTable()
    key_capacity: int = Field(default=4096, gt=0)
    pad_limit_bytes: int = Field(default=1024**2, ge=0)
    """The largest image that a one-time pad is spent on; 0 for none."""
    max_image_bytes: int = Field(default=64 * 1024**3, gt=0)
    uploads: UploadsTable = UploadsTable()
    packages: PackagesTable = PackagesTable()
    boot_timeout_s: float = Field(default=60.0, gt=0)
    place_timeout_s: float = Field(default=600.0, gt=0)
    stream_patience_s: float = Field(default=120.0, gt=0)
    """How long a broken stream may stand still before its operation rolls back."""
    neighbour_patience_s: float = Field(default=30.0, ge=0)
    """How long a step waits for a slave stack or switch that is away, before it rolls back."""
    instance_look_every_s: float = Field(default=10.0, gt=0, le=3600)
    """How often every data centre is asked how its instances are."""
    workers: int = Field(default=16, ge=1, le=256)
    time_scale: float = Field(default=1.0, gt=0)
    """For laboratories: seconds of QKD time in one real second."""
    log_form: Literal["json", "readable"] = "json"

    @model_validator(mode="after")
    def _has_alices(self) -> Self:
        if (self.alice is None) == (not self.alices):
            raise ValueError("give either the table `alice` or the tables `alices`")
        names = [table.name for table in self.all_alices]
        names += [table.alice_end_point for table in self.hop_links]
        if len(set(names)) < len(names):
            raise ValueError("two Alices have the same name")
        return self

    @model_validator(mode="after")
    def _hops_join_data_centres(self) -> Self:
        known = {table.name for table in self.data_centres}
        for hop in self.hop_links:
            for name in (hop.from_data_centre, hop.to_data_centre):
                if name not in known:
                    raise ValueError(
                        f"the hop link {hop.name} names no data centre of ours: {name}"
                    )
        ends = {hop.to_data_centre for hop in self.hop_links}
        for table in self.data_centres:
            if table.bob_end_point is None and table.name not in ends:
                raise ValueError(f"{table.name} has no Bob, and no hop link ends there")
        return self

    @model_validator(mode="after")
    def _replicas_share_what_they_must(self) -> Self:
        if self.replicas is None:
            return self
        for name, url in (
            ("database_url", self.database_url),
            ("workflow_database_url", self.workflow_database_url),
        ):
            if url is None or url.startswith("sqlite"):
                raise ValueError(f"replicas need one MySQL or MariaDB: give it as {name}")
        if not self.schedule.enabled:
            raise ValueError("replicas need the schedule, whose lease says which of them leads")
        if self.controller.driver == "openflow":
            raise ValueError(
                "replicas need a controller that serves all of them: the driver `openflow` listens "
                "for the switch itself; use `opendaylight`"
            )
        return self

    @property
    def all_alices(self) -> tuple[AliceTable, ...]:
        return self.alices if self.alice is None else (self.alice,)

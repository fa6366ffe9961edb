"""Settings of a slave stack (`qnfv serve slave --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from nfv_stack.contract.schemas import LinkName, Name
from service_settings import ServiceSettings
from trust import Credentials


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IntakeTable(Table):
    """Where sealed images come in. `advertised_*` is what the sender is told to connect to."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    advertised_host: str | None = None
    advertised_port: int | None = None
    quota_bytes: int = Field(default=64 * 1024**3, gt=0)
    stall_timeout_s: float = Field(default=120.0, gt=0)
    max_connections: int = Field(default=32, gt=0)


class VimTable(Table):
    """The VIM's driver by name, and its own options."""

    driver: str = "docker"
    options: dict[str, Any] = Field(default_factory=dict)


class LinkTable(Table):
    """One QKD link that ends here: the unit's agent, and the key source beside the unit."""

    name: LinkName
    role: Literal["bob", "alice"] = "bob"
    """`alice`: this data centre is a trusted node, and this link leads onward from it."""
    bob_address: str | None = None
    """With `alice`: the address that her program is given as `--ip_bob`."""
    unit_agent_url: str
    unit_agent_name: Name
    source: str = "idq3p"
    source_options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _alice_knows_her_bob(self) -> LinkTable:
        if (self.role == "alice") != (self.bob_address is not None):
            raise ValueError('bob_address belongs to a link with role = "alice", and only there')
        return self


class SlaveSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="QNFV_SLAVE_")

    name: Name
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    credentials: Credentials
    database_url: str
    state_dir: Path
    intake: IntakeTable
    vim: VimTable = VimTable()
    links: tuple[LinkTable, ...] = ()
    relayed_links: tuple[LinkName, ...] = ()
    """Links over trusted nodes that end here."""
    relay_floor_keys: int = Field(default=0, ge=0)
    """Keys of each onward link that relaying leaves for others."""
    key_capacity: int = Field(default=4096, gt=0)
    accept_emulated_keys: bool = False
    """A production profile leaves this off: keys that no photon made are then refused."""
    log_form: str = "json"

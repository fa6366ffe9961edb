"""Settings of a slave stack (`qnfv serve slave --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
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
    """One QKD link that ends here: Bob's unit agent, and the key source beside his unit."""

    name: LinkName
    unit_agent_url: str
    unit_agent_name: Name
    source: str = "idq3p"
    source_options: dict[str, Any] = Field(default_factory=dict)


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
    key_capacity: int = Field(default=4096, gt=0)
    accept_emulated_keys: bool = False
    """A production profile leaves this off: keys that no photon made are then refused."""
    log_form: str = "json"

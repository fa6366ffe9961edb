"""Settings of an optical agent (`qnfv serve optical-agent --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from service_settings import ServiceSettings
from trust import Credentials


class ControllerTls(BaseModel):
    """TLS towards the controller, with certificates of both sides; `server_name` is the name that
    its certificate must bear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    credentials: Credentials
    server_name: str = Field(min_length=1)


class ControllerTable(BaseModel):
    """Where the OpenFlow controller listens. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=6653, ge=1, le=65535)
    tls: ControllerTls | None = None
    reconnect_s: float = Field(default=1.0, gt=0, le=600)
    handshake_timeout_s: float = Field(default=5.0, gt=0, le=600)
    idle_s: float = Field(default=5.0, gt=0, le=600)
    """Silence before the controller is probed by an echo; a second one ends the connection."""


class DeviceTable(BaseModel):
    """The device: a driver of the group `sdn_client.optical_agent.devices` by name, and its own
    options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver: str = "cflow_mod"
    options: dict[str, Any] = Field(default_factory=dict)


class OpticalAgentSettings(ServiceSettings):
    """One agent presents one chassis, or one virtual switch of it, as one OpenFlow switch.

    `quiet_ms` is how long no further FLOW_MOD has to come before a batch is switched. OpenDaylight
    spreads what it was asked at once over some milliseconds; with 3 ms most of it is one batch.
    """

    model_config = SettingsConfigDict(env_prefix="QNFV_OPTICAL_AGENT_")

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    topology_file: Path
    chassis: str
    virtual_switch: str | None = None
    controller: ControllerTable = Field(default_factory=ControllerTable)
    device: DeviceTable = Field(default_factory=DeviceTable)
    quiet_ms: float = Field(default=3.0, ge=0, le=100)
    log_form: Literal["json", "readable"] = "json"

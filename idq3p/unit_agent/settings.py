"""Settings of a unit agent (`qnfv serve unit-agent --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from idq3p.codec import PORT
from idq3p.unit_agent.contract import UnitRole
from service_settings import ServiceSettings
from trust import Credentials, Role

_CALLER = rf"^({'|'.join(role.value for role in Role)}):[a-z0-9-]+$"


class UnitAgentSettings(ServiceSettings):
    """One agent serves one unit.

    `command` is the program and what goes before the vendor's own flags; the agent adds
    `--bob --line_attenuation X` or `--alice --ip_bob A`. `log_file` is the log that it writes.
    `callers` names who may command, as `role:name`; empty: the orchestrator for Alice, any slave
    stack or the orchestrator for Bob.
    """

    model_config = SettingsConfigDict(env_prefix="QNFV_UNIT_AGENT_")

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    role: UnitRole
    emulated: bool
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    credentials: Credentials
    callers: list[Annotated[str, StringConstraints(pattern=_CALLER)]] = Field(default_factory=list)
    state_dir: Path
    command: Annotated[list[str], Field(min_length=1)]
    log_file: Path
    idq3p_address: str
    idq3p_port: int = Field(default=PORT, ge=1, le=65535)
    qber_unit: Literal["fraction", "percent"] = "fraction"
    stop_grace_s: float = Field(default=5.0, gt=0, le=60)
    log_poll_s: float = Field(default=0.1, gt=0, le=10)
    log_form: Literal["json", "readable"] = "json"

"""What can be set of the driver `openflow`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Tl1Options(BaseModel):
    """Where one chassis is read over TL1 (TL1.md). The password travels in the clear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=3082, ge=1, le=65535)
    username: str = Field(default="admin", min_length=1, max_length=64)
    password_file: Path
    timeout_s: float = Field(default=2.0, gt=0)
    """For one reading: connect, log in, read."""


class OpenFlowOptions(BaseModel):
    """Options of the driver `openflow`. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen_host: str = "127.0.0.1"
    listen_port: int = Field(default=6653, ge=0, le=65535)
    agent: Literal["addendum", "bristol-2014"] = "addendum"
    """What the agents at the switches make of CFLOW_MOD (CFLOW_MOD.md section 6)."""
    reader: Literal["flow-stats", "tl1"] = "flow-stats"
    """How their tables are read. A switch that cannot be read is not used."""
    tl1: Mapping[str, Tl1Options] = {}
    """By chassis, for the reader `tl1`."""
    confirm_timeout_s: float = Field(default=2.0, gt=0)
    handshake_timeout_s: float = Field(default=5.0, gt=0)
    idle_s: float = Field(default=2.0, gt=0)
    """Silence before a switch is probed by an echo; a second such silence ends the connection."""
    most_connections: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _tl1_has_an_address(self) -> Self:
        if (self.reader == "tl1") != bool(self.tl1):
            raise ValueError("reader = 'tl1' and a table tl1 for each chassis belong together")
        return self

"""Options of the driver `opendaylight`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class OpenDaylightOptions(BaseModel):
    """Where OpenDaylight is and who we are there. Times in seconds.

    `ca_file` is the authority that OpenDaylight's certificate must come from (without it, those of
    the system); `server_name` the name that the certificate must bear when it is not the URL's
    host. `certificate_file` and `key_file` are ours, where OpenDaylight asks for one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "https://127.0.0.1:8443"
    username: str = Field(min_length=1)
    password_file: Path
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    tls_key_log: Path | None = None
    """For a laboratory's capture mode alone: where the session keys of connections are written."""
    connect_timeout_s: float = Field(default=2.0, gt=0, le=60)
    confirm_timeout_s: float = Field(default=5.0, gt=0, le=600)
    """How long one call may take, mirrors included."""
    poll_interval_s: float = Field(default=0.25, gt=0, le=60)
    """How often connectivity and ports are looked at."""
    config_check_s: float = Field(default=5.0, gt=0, le=3600)
    """How often the config datastore is searched for flows that somebody left there."""
    priority: int = Field(default=100, ge=1, le=65535)
    both_directions: bool = False
    """Two flows a cross-connect: for packet switches in the place of mirrors."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no URL like https://controller.example:8443")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("passwords cross a network under TLS alone: use https")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

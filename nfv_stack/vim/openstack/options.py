"""Options of the driver `openstack`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class OpenStackOptions(BaseModel):
    """Which project of which cloud, and how long each phase may take (seconds, real time)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_centre: str = Field(min_length=1)
    folder: Path
    """Where the ids of what is ours are journaled; never to be lost while anything of ours runs."""
    cloud: str = Field(default="qnfv", min_length=1)
    """The cloud's name in clouds.yaml."""
    clouds_file: Path | None = None
    """clouds.yaml; without it, the places in which openstacksdk looks."""
    flavor: str | None = None
    """Name or id of the flavor of all servers; without it, the smallest that holds each."""
    network: str | None = None
    """Name or id of the network of all servers; without it they have none."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """Of one request, and of a pause while an upload is sent."""
    upload_answer_timeout_s: float = Field(default=300.0, gt=0, le=86_400)
    """From the last byte of an image to Glance's answer."""
    active_timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """From that answer until the image is active."""
    settle_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Until a server that was asked to stop, or to go, has done so."""
    emulated: bool = False
    """The cloud's hypervisor runs nothing (Nova's fake driver), and this data centre says so."""

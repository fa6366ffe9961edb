"""Settings of a KME (`qnfv kme serve --settings FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from service_settings import ServiceSettings
from trust import Credentials, Identity, Role

KmeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
SaeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,64}$")]
LinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SaeTable(Table):
    """An application attached to this KME. Its certificate has role `sae` and this name."""

    id: SaeId
    certificate: KmeName | None = None
    """The id itself, where nothing else is said."""

    @property
    def identity(self) -> Identity:
        return Identity(Role.SAE, self.certificate or self.id)

    @model_validator(mode="after")
    def _has_a_certificate(self) -> Self:
        _ = self.identity  # raises where the id can be no name in a certificate
        return self


class RemoteSaeTable(Table):
    """An application attached to the KME at the other end of a link."""

    id: SaeId
    kme: KmeName


class KmeLinkTable(Table):
    """One QKD link that ends here. All its keys are allocated at the end with role `alice`."""

    name: LinkName
    role: Literal["alice", "bob"]
    peer: KmeName
    peer_url: str
    filled_by: Literal["stack", "source"] = "stack"
    """`stack`: an orchestrator or a slave stack fills the same store; `source`: this KME does."""
    source: str = "idq3p"
    source_options: dict[str, Any] = Field(default_factory=dict)
    target_keys: int = Field(default=1024, gt=0)
    fill_interval_s: float = Field(default=5.0, gt=0)


class LimitTable(Table):
    """What applications may ask for. A block is one key of the QKD link, 256 bits."""

    key_size_bit: int = Field(default=256, gt=0, multiple_of=8)
    min_key_size_bit: int = Field(default=64, gt=0, multiple_of=8)
    max_key_size_bit: int = Field(default=4096, gt=0, multiple_of=8)
    max_key_per_request: int = Field(default=128, gt=0, le=1024)
    max_sae_id_count: int = Field(default=8, ge=0, le=64)
    floor_keys: int = Field(default=0, ge=0)
    """Blocks that applications leave in the pool, for images and relay."""
    max_keys_per_minute: int | None = Field(default=None, gt=0)
    """For one master SAE and one slave SAE."""
    key_lifetime_s: float | None = Field(default=None, gt=0)
    """Free keys older than this are erased, of links that this KME fills."""
    expiry_grace_s: float = Field(default=300.0, ge=0)
    """So much longer keys live at the end that does not allocate."""
    delivery_lifetime_s: float = Field(default=3600.0, gt=0)
    """A delivered key that not every named SAE fetched in this time is erased."""
    allocation_timeout_s: float = Field(default=60.0, gt=0)
    """An allocation that is unfinished for so long is given up at both ends."""

    @model_validator(mode="after")
    def _sizes_in_order(self) -> Self:
        if not self.min_key_size_bit <= self.key_size_bit <= self.max_key_size_bit:
            raise ValueError("min_key_size_bit <= key_size_bit <= max_key_size_bit must hold")
        return self


class KmeSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="QNFV_KME_")

    name: KmeName
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    credentials: Credentials
    database_url: str
    """That of the orchestrator or slave stack, for links that it fills."""
    state_dir: Path
    """Its folder `wrapping` opens the store; that of the stack, for links that it fills."""
    saes: tuple[SaeTable, ...] = ()
    remote_saes: tuple[RemoteSaeTable, ...] = ()
    links: tuple[KmeLinkTable, ...] = ()
    limits: LimitTable = LimitTable()
    key_capacity: int = Field(default=4096, gt=0)
    settle_interval_s: float = Field(default=5.0, gt=0)
    """How often it looks for what was interrupted or not fetched in time."""
    accept_emulated_keys: bool = False
    """A production profile leaves this off: keys that no photon made are not delivered."""
    log_form: str = "json"

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        ids = [sae.id for sae in self.saes] + [sae.id for sae in self.remote_saes]
        certificates = [sae.identity.name for sae in self.saes]
        links = [link.name for link in self.links]
        for what, names in (("SAE", ids), ("certificate", certificates), ("link", links)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"a {what} is named twice: {', '.join(twice)}")
        peers = {link.peer for link in self.links}
        lost = sorted({sae.kme for sae in self.remote_saes} - peers)
        if lost:
            raise ValueError(f"remote_saes name a KME that no link leads to: {', '.join(lost)}")
        return self

"""VNF packages that came by `/vnfpkgm/v1`; the images of the catalogue have no rows here."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime
from orchestrator.sol003.tables import Base, VduName

_DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")
_NAME = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql")


class VnfPackageRow(Base):
    __tablename__ = "sol003_vnf_package"
    __table_args__ = (
        UniqueConstraint("project", "vnfd_id", name="uq_sol003_vnf_package_vnfd"),
        {"mysql_engine": "InnoDB"},
    )

    package_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    project: Mapped[str] = mapped_column(_NAME)
    onboarding_state: Mapped[str] = mapped_column(String(16))
    is_enabled: Mapped[bool]
    user_data: Mapped[dict[str, Any]] = mapped_column(JSON)
    """SOL003's `userDefinedData`."""
    tries: Mapped[int]
    """How often its content was begun to be processed since it came."""
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """Why it was not onboarded: a problem document."""
    content_bytes: Mapped[int | None] = mapped_column(BigInteger)
    content_sha256: Mapped[bytes | None] = mapped_column(_DIGEST)
    vnfd_id: Mapped[UUID | None] = mapped_column(BinaryUuid)
    vnfd: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """`onboarding.vnfd.Vnfd`, as the rest once it is ONBOARDED."""
    vnfd_files: Mapped[list[str] | None] = mapped_column(JSON)
    """Of an archive; a bare image has none."""
    artifacts: Mapped[list[dict[str, str]] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    arrived_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    """When its content was here."""


class PackageImageRow(Base):
    """The image of one VDU of an ONBOARDED package."""

    __tablename__ = "sol003_package_image"
    __table_args__ = (
        Index("ix_sol003_package_image_digest", "image_digest"),
        {"mysql_engine": "InnoDB"},
    )

    package_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    vdu_id: Mapped[str] = mapped_column(VduName, primary_key=True)
    image_digest: Mapped[bytes] = mapped_column(_DIGEST)
    is_brought: Mapped[bool]
    """Its project had no such image before."""

"""Tables of the relay: each node's part in a route, and the origin's record of whole routes."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Engine, Index, LargeBinary, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime, migrate
from key_management.tables import Name

MIGRATIONS = Path(__file__).parent / "migrations"
_INNODB = {"mysql_engine": "InnoDB"}


class HopState(StrEnum):
    RESERVED = "RESERVED"
    CARRYING = "CARRYING"
    CARRIED = "CARRIED"
    DONE = "DONE"
    RELEASED = "RELEASED"
    BURNED = "BURNED"


class RouteState(StrEnum):
    RESERVING = "RESERVING"
    CARRYING = "CARRYING"
    DONE = "DONE"
    FAILED = "FAILED"


class Base(DeclarativeBase):
    pass


class RelayHopRow(Base):
    """One node's part in one route."""

    __tablename__ = "relay_hop"
    __table_args__ = (_INNODB,)

    route_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    relayed_link: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    incoming_link: Mapped[str | None] = mapped_column(Name)
    """None at the origin."""
    outgoing_link: Mapped[str | None] = mapped_column(Name)
    """None at the destination."""
    key_count: Mapped[int]
    """Keys in the batch; on each link it costs as many pad blocks, and one for the tag."""
    received_digest: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    """SHA-256 of the message that came in: asked again, the answer is the same one."""
    answer: Mapped[bytes | None] = mapped_column(
        LargeBinary(131072).with_variant(mysql.MEDIUMBLOB(), "mysql")
    )
    """The sealed message for the next hop until the route is finished."""
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    reason: Mapped[str | None] = mapped_column(String(255))


class RelayRouteRow(Base):
    """One batch of relayed keys, as its origin knows it."""

    __tablename__ = "relay_route"
    __table_args__ = (Index("ix_relay_route_link", "relayed_link", "state"), _INNODB)

    route_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    relayed_link: Mapped[str] = mapped_column(Name)
    state: Mapped[str] = mapped_column(String(16))
    epoch: Mapped[UUID] = mapped_column(BinaryUuid)
    nodes: Mapped[list[Any]] = mapped_column(JSON)
    links: Mapped[list[Any]] = mapped_column(JSON)
    key_count: Mapped[int]
    delivered_keys: Mapped[int]
    settled: Mapped[bool]
    """Every node was told how it ended."""
    started_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    ended_at: Mapped[datetime | None] = mapped_column(MicrosecondTime)
    detail: Mapped[str | None] = mapped_column(String(255))


def migrate_relay(engine: Engine) -> None:
    """Bring the relay's tables on `engine` to their newest form."""
    migrate(engine, MIGRATIONS, room="relay")

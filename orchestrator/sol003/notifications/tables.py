"""Subscriptions, and notifications that were not delivered yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from database import BinaryUuid, MicrosecondTime
from orchestrator.sol003.tables import Base

_INNODB = {"mysql_engine": "InnoDB"}


class SubscriptionRow(Base):
    __tablename__ = "sol003_subscription"
    __table_args__ = (UniqueConstraint("likeness", name="uq_sol003_subscription_like"), _INNODB)

    subscription_id: Mapped[UUID] = mapped_column(BinaryUuid, primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(BinaryUuid)
    """Whose it is; None for the machine's owner."""
    sees_all: Mapped[bool]
    """Who subscribed saw what every project owns."""
    callback_uri: Mapped[str] = mapped_column(String(1024))
    filter: Mapped[dict[str, Any]] = mapped_column(JSON)
    likeness: Mapped[bytes] = mapped_column(LargeBinary(32).with_variant(mysql.BINARY(32), "mysql"))
    """Digest of subscriber, callback and filter: what is the same is one subscription."""
    authentication: Mapped[bytes | None] = mapped_column(LargeBinary(8192))
    """How we show who we are, wrapped."""
    root: Mapped[str] = mapped_column(String(255))
    """What the links of its notifications begin with: as the subscriber reached us."""
    tries: Mapped[int]
    """How often the oldest notification could not be delivered."""
    next_try_at: Mapped[datetime] = mapped_column(MicrosecondTime)
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)

    def __repr__(self) -> str:
        return f"SubscriptionRow(subscription_id={self.subscription_id})"


class NotificationRow(Base):
    """One for each subscription that wants it; gone once it was taken."""

    __tablename__ = "sol003_notification"
    __table_args__ = (
        Index("ix_sol003_notification_subscription", "subscription_id", "sequence"),
        _INNODB,
    )

    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Each subscription gets its own in this order."""
    subscription_id: Mapped[UUID] = mapped_column(BinaryUuid)
    """No foreign key: an operation must not fail for a subscription that goes at this moment."""
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(MicrosecondTime)

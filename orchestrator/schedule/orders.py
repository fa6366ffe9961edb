"""What people order about single Bobs: pins, exclusions, keys now. They outlive a restart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.schedule.errors import AbsurdWishError, OrderRefusedError
from orchestrator.store.tables import BobOrderRow
from timekeeping import Clock

LONGEST_S: Final = 366 * 86_400.0
_WHY_CHARACTERS: Final = 255


class PinKind(StrEnum):
    NEXT = "next"
    """One turn, before all others."""
    HOLD = "hold"
    """Alice stays with him until he is unpinned, or the time is over."""


@dataclass(frozen=True)
class BobOrders:
    """What is in force for one link now. Moments are wall time."""

    link: str
    pin: PinKind | None = None
    pinned_at: datetime | None = None
    pinned_until: datetime | None = None
    excluded_at: datetime | None = None
    excluded_until: datetime | None = None
    excluded_why: str = ""
    keys_asked_at: datetime | None = None
    forgiven_at: datetime | None = None

    @property
    def excluded(self) -> bool:
        return self.excluded_at is not None


class OrderBook:
    """Thread-safe; every method is one transaction. Durations are real seconds."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def all(self) -> dict[str, BobOrders]:
        """The orders in force, by link."""
        now = self._clock.now()
        with reading(self._engine) as session:
            rows = session.scalars(select(BobOrderRow)).all()
            return {row.link: _in_force(row, now) for row in rows}

    def of(self, link: str) -> BobOrders:
        return self.all().get(link, BobOrders(link))

    def pin(self, link: str, kind: PinKind, duration_s: float | None, rivals: list[str]) -> None:
        """Pin this Bob. `rivals` are the others whom the same Alice serves.

        Raises OrderRefusedError for an excluded Bob, or while she is held on a rival.
        """
        until = self._until(duration_s)

        def change(row: BobOrderRow, session: Session, now: datetime) -> None:
            if _in_force(row, now).excluded:
                raise OrderRefusedError(
                    f"{link} is excluded, so he cannot be pinned.",
                    next_step=f"Include him first: `qnfv schedule include {link}`.",
                )
            if kind is PinKind.HOLD:
                self._refuse_second_hold(session, rivals, now)
            row.pin, row.pinned_at, row.pinned_until = kind.value, now, until
            row.forgiven_at = now

        self._change(link, change)

    def unpin(self, link: str) -> None:
        """Nothing pinned is fine."""

        def change(row: BobOrderRow, _: Session, __: datetime) -> None:
            row.pin = row.pinned_at = row.pinned_until = None

        self._change(link, change)

    def exclude(self, link: str, duration_s: float | None, why: str) -> None:
        """Serve him no more, until he is included again or the time is over; a pin goes."""
        until = self._until(duration_s)

        def change(row: BobOrderRow, _: Session, now: datetime) -> None:
            row.excluded_at, row.excluded_until = now, until
            row.excluded_why = why[:_WHY_CHARACTERS]
            row.pin = row.pinned_at = row.pinned_until = row.keys_asked_at = None

        self._change(link, change)

    def include(self, link: str) -> None:
        """Serve him again; what went wrong before is forgotten."""

        def change(row: BobOrderRow, _: Session, now: datetime) -> None:
            row.excluded_at = row.excluded_until = None
            row.excluded_why = ""
            row.forgiven_at = now

        self._change(link, change)

    def ask_keys(self, link: str) -> None:
        """Somebody wants keys now. Raises OrderRefusedError for an excluded Bob."""

        def change(row: BobOrderRow, _: Session, now: datetime) -> None:
            if _in_force(row, now).excluded:
                raise OrderRefusedError(
                    f"{link} is excluded, so no keys are made for him.",
                    next_step=f"Include him first: `qnfv schedule include {link}`.",
                )
            row.keys_asked_at = row.forgiven_at = now

        self._change(link, change)

    def served(self, link: str, started_at: datetime) -> None:
        """A turn that began then brought keys: what was asked before is done."""

        def change(row: BobOrderRow, _: Session, now: datetime) -> None:
            if row.keys_asked_at is not None and row.keys_asked_at <= now:
                row.keys_asked_at = None
            once = row.pin == PinKind.NEXT
            if once and row.pinned_at is not None and row.pinned_at <= started_at:
                row.pin = row.pinned_at = row.pinned_until = None

        if link in self.all():
            self._change(link, change)

    def _change(self, link: str, change: Callable[[BobOrderRow, Session, datetime], None]) -> None:
        def work(session: Session) -> None:
            row = session.get(BobOrderRow, link, with_for_update=True)
            if row is None:
                row = BobOrderRow(link=link, excluded_why="")
                session.add(row)
            change(row, session, self._clock.now())

        in_transaction(self._engine, work)

    def _until(self, duration_s: float | None) -> datetime | None:
        if duration_s is None:
            return None
        if not (math.isfinite(duration_s) and 0 < duration_s <= LONGEST_S):
            raise AbsurdWishError(
                f"A duration of {duration_s:g} s makes no sense.",
                next_step=f"Give more than 0 s and at most {LONGEST_S:.0f} s (a year), or none.",
            )
        return self._clock.now() + timedelta(seconds=duration_s)

    def _refuse_second_hold(self, session: Session, rivals: list[str], now: datetime) -> None:
        for rival in session.scalars(select(BobOrderRow).where(BobOrderRow.link.in_(rivals))).all():
            if _in_force(rival, now).pin is PinKind.HOLD:
                raise OrderRefusedError(
                    f"Alice is held on {rival.link}.",
                    next_step=f"Unpin him first: `qnfv schedule unpin {rival.link}`.",
                )


def _in_force(row: BobOrderRow, now: datetime) -> BobOrders:
    """A row without what is over."""
    pinned = row.pin is not None and (row.pinned_until is None or now < row.pinned_until)
    excluded = row.excluded_at is not None and (
        row.excluded_until is None or now < row.excluded_until
    )
    return BobOrders(
        row.link,
        PinKind(row.pin) if pinned and row.pin is not None else None,
        row.pinned_at if pinned else None,
        row.pinned_until if pinned else None,
        row.excluded_at if excluded else None,
        row.excluded_until if excluded else None,
        row.excluded_why if excluded else "",
        row.keys_asked_at,
        row.forgiven_at,
    )

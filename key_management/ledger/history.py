"""What came into a pool and what left it, by intervals of time: for people to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Engine, func, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session

from database import reading
from key_management.states import KeyState
from key_management.tables import KeyRow

_USED = (KeyState.RESERVED, KeyState.ARMED, KeyState.CONSUMED)
_FREE = (KeyState.PENDING, KeyState.AVAILABLE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Interval:
    """One interval of a link's history, and how many free keys there were at its end."""

    begins_at: datetime
    made_keys: int
    used_keys: int
    """Taken for use, whether or not that is over."""
    lost_keys: int
    """Burned, expired, or in quarantine."""
    level_keys: int


def history(
    engine: Engine, link: str, *, until: datetime, interval_s: float, intervals: int
) -> list[Interval]:
    """The last `intervals` intervals before `until`, oldest first.

    A key's row tells when it was made and when it last changed, so that a key that was reserved
    and went back counts as never taken.
    """
    length = max(1, int(interval_s * 1e6))
    begin = until - intervals * length * _MICROSECOND
    with reading(engine) as session:
        made = _by_interval(session, KeyRow.made_at, link, begin, until, length)
        used = _by_interval(session, KeyRow.changed_at, link, begin, until, length, _USED)
        lost_states = tuple(set(KeyState) - set(_USED) - set(_FREE))
        lost = _by_interval(session, KeyRow.changed_at, link, begin, until, length, lost_states)
        level = session.scalar(
            select(func.count()).where(KeyRow.link == link, KeyRow.state.in_(_FREE))
        )
    found: list[Interval] = []
    level = level or 0
    for at in reversed(range(intervals)):  # from now back, as only the present level is known
        gained, taken, gone = made.get(at, 0), used.get(at, 0), lost.get(at, 0)
        begins_at = begin + at * length * _MICROSECOND
        found.append(Interval(begins_at, gained, taken, gone, level))
        level = max(0, level - gained + taken + gone)
    return found[::-1]


def _by_interval(
    session: Session,
    moment: InstrumentedAttribute[datetime],
    link: str,
    begin: datetime,
    until: datetime,
    length: int,
    states: tuple[KeyState, ...] = tuple(KeyState),
) -> dict[int, int]:
    """How many keys have `moment` in each interval, by its number."""
    since = type_coerce(moment, BigInteger) - (begin - _EPOCH) // _MICROSECOND
    number = (since - since % length) // length
    rows = session.execute(
        select(number, func.count())
        .where(KeyRow.link == link, moment >= begin, moment < until, KeyRow.state.in_(states))
        .group_by(number)
    )
    return {int(at): count for at, count in rows}

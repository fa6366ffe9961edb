"""The audit chain in the database: append, look, verify."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from database import in_transaction, reading
from orchestrator.audit.chain import Verdict, walk
from orchestrator.audit.record import Entry, Head, Record, record_hash
from orchestrator.audit.sight import seen_by_asker
from orchestrator.audit.tables import AuditHeadRow, AuditOnceRow, AuditRow
from orchestrator.projects.ownership import NoProjects, Ownership
from timekeeping import Clock

_WORD_CHARS = 191
_SUBJECTS = 16
_AT_ONCE = 1000


@dataclass(frozen=True)
class Filter:
    """What somebody looks for; None asks for nothing. `before` is a sequence number, for paging."""

    who: str | None = None
    action: str | None = None
    """The beginning of the action."""
    subject: str | None = None
    """A whole id of a subject, of whatever kind."""
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None


class AuditLog:
    """Thread-safe; several processes may append. The head's row puts them in line."""

    def __init__(self, engine: Engine, clock: Clock, *, ownership: Ownership | None = None) -> None:
        """`engine` with the tables of `migrate_audit`."""
        self._engine = engine
        self._clock = clock
        self._ownership = ownership or NoProjects()

    def append(self, entry: Entry, *, once: str | None = None) -> Head | None:
        """Add a record and return the new head.

        `once` names an event that is told a single time, however often it is appended; None is
        returned where it was told before.
        """
        kept = _fitting(entry)

        def add(session: Session) -> Head | None:
            head = session.get_one(AuditHeadRow, 1, with_for_update=True)
            if once is not None and session.get(AuditOnceRow, once) is not None:
                return None
            sequence, previous = head.sequence + 1, bytes(head.hash)
            at = self._clock.now()
            own = record_hash(sequence, at, kept, previous)
            session.add(_row(sequence, at, kept, previous, own))
            if once is not None:
                session.add(AuditOnceRow(event=once, sequence=sequence))
            head.sequence, head.hash = sequence, own
            return Head(sequence, own)

        return in_transaction(self._engine, add)

    def head(self) -> Head:
        with reading(self._engine) as session:
            return _head(session)

    def told(self, events: list[str]) -> set[str]:
        """Those of `events` that have their record already."""
        with reading(self._engine) as session:
            found: set[str] = set()
            for start in range(0, len(events), _AT_ONCE):
                some = AuditOnceRow.event.in_(events[start : start + _AT_ONCE])
                found.update(session.scalars(select(AuditOnceRow.event).where(some)))
            return found

    def records(self, wanted: Filter, limit: int) -> list[Record]:
        """Newest first; those alone that who asks may see."""
        newest = _filtered(select(AuditRow), wanted).order_by(AuditRow.sequence.desc())
        at_once = limit if self._ownership.visible() is None else _AT_ONCE
        found: list[Record] = []
        older = newest
        while len(found) < limit:
            with reading(self._engine) as session:
                some = [_record(row) for row in session.scalars(older.limit(at_once))]
            found += seen_by_asker(some, self._ownership, self._engine)
            if len(some) < at_once:
                break
            older = newest.where(AuditRow.sequence < some[-1].sequence)
        return found[:limit]

    def verify(self, anchors: Collection[Head] = ()) -> Verdict:
        """Walk the whole chain up to the head; what is appended meanwhile is not looked at.

        `anchors` must be no newer than the chain is at the time of the call.
        """
        with reading(self._engine) as session:
            # In this order: whoever appends moves the head with the record.
            last = session.scalar(select(func.max(AuditRow.sequence))) or 0
            head = _head(session)
        verdict = walk(self._in_order(head.sequence), head, anchors)
        if verdict.is_whole and last > head.sequence:
            fault = f"there are records up to {last}, the chain's head says {head.sequence}"
            return Verdict(verdict.records, verdict.head, fault)
        return verdict

    def _in_order(self, up_to: int) -> Iterator[Record]:
        after = -(2**63)
        while True:
            with reading(self._engine) as session:
                rows = session.scalars(
                    select(AuditRow)
                    .where(AuditRow.sequence > after, AuditRow.sequence <= up_to)
                    .order_by(AuditRow.sequence)
                    .limit(_AT_ONCE)
                ).all()
                records = [_record(row) for row in rows]
            if not records:
                return
            yield from records
            after = records[-1].sequence


def _head(session: Session) -> Head:
    row = session.get_one(AuditHeadRow, 1)
    return Head(row.sequence, bytes(row.hash))


def _filtered(query: Select[AuditRow], wanted: Filter) -> Select[AuditRow]:
    if wanted.who is not None:
        query = query.where(AuditRow.who == wanted.who)
    if wanted.action is not None:
        query = query.where(AuditRow.action.startswith(wanted.action, autoescape=True))
    if wanted.subject is not None:
        # The text of the JSON object holds each value in its quotation marks.
        value = _json(wanted.subject)
        query = query.where(AuditRow.subjects.contains(f":{value}", autoescape=True))
    if wanted.since is not None:
        query = query.where(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditRow.at < wanted.until)
    if wanted.before is not None:
        query = query.where(AuditRow.sequence < wanted.before)
    return query


def _row(sequence: int, at: datetime, entry: Entry, previous: bytes, own: bytes) -> AuditRow:
    return AuditRow(
        sequence=sequence,
        at=at,
        who=entry.who,
        role=entry.role,
        via=entry.via,
        source=entry.source,
        action=entry.action,
        outcome=entry.outcome,
        subjects=_json(dict(entry.subjects)),
        previous_hash=previous,
        own_hash=own,
    )


def _record(row: AuditRow) -> Record:
    entry = Entry(
        who=row.who,
        role=row.role,
        via=row.via,
        source=row.source,
        action=row.action,
        outcome=row.outcome,
        subjects=_subjects(row.subjects),
    )
    return Record(row.sequence, row.at, entry, bytes(row.previous_hash), bytes(row.own_hash))


def _subjects(text: str) -> Mapping[str, str]:
    """What the row holds. Text that we never wrote is shown as it is; its hash cannot hold."""
    try:
        found = json.loads(text)
    except ValueError:
        return {"unreadable": text}
    is_ours = (
        isinstance(found, dict)
        and all(isinstance(value, str) for value in found.values())
        # Otherwise a row could be rewritten in another notation of the same object.
        and _json(found) == text
        and all(_word(word) == word for pair in found.items() for word in pair)
    )
    return found if is_ours else {"unreadable": text}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def _fitting(entry: Entry) -> Entry:
    """What the columns can hold: whole Unicode characters, not longer than they are."""
    named = sorted(entry.subjects.items())[:_SUBJECTS]
    return Entry(
        who=_word(entry.who),
        role=_word(entry.role),
        via=_word(entry.via),
        source=_word(entry.source),
        action=_word(entry.action),
        outcome=_word(entry.outcome),
        subjects={_word(name): _word(value) for name, value in named},
    )


def _word(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:_WORD_CHARS]

"""`/api/v1/audit`: the records, and whether their chain is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from orchestrator.audit.log import AuditLog, Filter
from orchestrator.audit.record import Head, Record
from orchestrator.audit.witnesses import Testimony, Witnesses

Sequence = Annotated[int | None, Query(ge=1, lt=2**63)]
HexHash = Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str | None, Query(max_length=191)]


class RecordView(BaseModel):
    sequence: int
    at: datetime
    who: str
    role: str
    via: str
    source: str
    action: str
    outcome: str
    subjects: dict[str, str]
    previous_hash: str
    hash: str


class RecordsView(BaseModel):
    records: list[RecordView]
    """Newest first."""
    next_before: int | None
    """`before` of the next page; null on the last one."""


class WitnessView(BaseModel):
    data_centre: str
    heads: int
    newest_sequence: int
    newest_at: datetime | None
    fault: str


class VerdictView(BaseModel):
    whole: bool
    records: int
    """Records that hold, from the first on."""
    head_sequence: int
    head_hash: str
    fault: str
    witnesses: list[WitnessView]
    """What the data centres were told of the chain earlier; it was compared with that."""


def audit_router(audit: AuditLog, witnesses: Witnesses) -> APIRouter:
    router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

    @router.get("")
    def records(
        who: Text = None,
        action: Text = None,
        subject: Text = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        before: Sequence = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> RecordsView:
        """`action` is the beginning of one, `subject` a whole id of whatever kind."""
        wanted = Filter(who, action, subject, since, until, before)
        found = audit.records(wanted, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return RecordsView(
            records=[_view(record) for record in page],
            next_before=page[-1].sequence if more else None,
        )

    @router.get("/verify")
    def verify(sequence: Sequence = None, hash: HexHash = None) -> VerdictView:
        """Whether the chain is whole, and leads through every head that was left at a data centre;
        with both parameters also through that head, noted earlier."""
        testimonies = witnesses.testimonies()
        anchors = [head for testimony in testimonies for head in testimony.heads]
        if sequence and hash:
            anchors.append(Head(sequence, bytes.fromhex(hash)))
        verdict = audit.verify(anchors)
        return VerdictView(
            whole=verdict.is_whole,
            records=verdict.records,
            head_sequence=verdict.head.sequence,
            head_hash=verdict.head.hash.hex(),
            fault=verdict.fault,
            witnesses=[_witness(testimony) for testimony in testimonies],
        )

    return router


def _witness(testimony: Testimony) -> WitnessView:
    return WitnessView(
        data_centre=testimony.data_centre,
        heads=len(testimony.heads),
        newest_sequence=testimony.heads[0].sequence if testimony.heads else 0,
        newest_at=testimony.newest_at,
        fault=testimony.fault,
    )


def _view(record: Record) -> RecordView:
    entry = record.entry
    return RecordView(
        sequence=record.sequence,
        at=record.at,
        who=entry.who,
        role=entry.role,
        via=entry.via,
        source=entry.source,
        action=entry.action,
        outcome=entry.outcome,
        subjects=dict(entry.subjects),
        previous_hash=record.previous.hex(),
        hash=record.hash.hex(),
    )

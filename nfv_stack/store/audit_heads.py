"""A data centre is witness to the orchestrator's audit chain: it keeps the heads it was told."""

from __future__ import annotations

from pathlib import Path

import structlog
from sqlalchemy import Engine, Select, delete, select
from sqlalchemy.orm import Session

from database import in_transaction, reading
from nfv_stack.contract.audit_heads import SignedHead, check_head
from nfv_stack.errors import ChainWentBackError
from nfv_stack.store.tables import AuditHeadRow
from timekeeping import Clock

log = structlog.get_logger(__name__)

_KEPT = 1000
"""Each head stands for all records before it, so older ones go, but for the first of each day:
whoever holds an orchestrator must not push out of here what it said before he came."""


class AuditHeads:
    """Thread-safe. A chain only grows: what was said once is never replaced.

    Days are counted by `clock`, ours: the moment in a head is whatever its signer claims.
    """

    def __init__(self, engine: Engine, authority: Path, clock: Clock) -> None:
        self._engine = engine
        self._authority = authority
        self._clock = clock

    def keep(self, signed: SignedHead) -> None:
        """Raises HeadRefusedError for a bad signature, ChainWentBackError for a head that cannot
        follow those that are here."""
        check_head(signed, self._authority.read_bytes())

        def add(session: Session) -> None:
            newest = session.scalars(
                self._of(signed.orchestrator).limit(1).with_for_update()
            ).first()
            if newest is not None and signed.sequence <= newest.sequence:
                _check_repeated(session, signed, newest)
                return
            today = self._clock.now().date()
            has_today = session.scalars(
                self._of(signed.orchestrator).where(AuditHeadRow.first_of_day == today).limit(1)
            ).first()
            session.add(
                AuditHeadRow(
                    orchestrator=signed.orchestrator,
                    sequence=signed.sequence,
                    hash=bytes.fromhex(signed.hash),
                    at=signed.at,
                    signature=signed.signature,
                    certificate=signed.certificate,
                    first_of_day=None if has_today else today,
                )
            )
            self._forget_oldest(session, signed.orchestrator)

        in_transaction(self._engine, add)

    def heads(self, orchestrator: str, limit: int) -> list[SignedHead]:
        """Newest first."""
        with reading(self._engine) as session:
            return [
                SignedHead(
                    orchestrator=row.orchestrator,
                    sequence=row.sequence,
                    hash=bytes(row.hash).hex(),
                    at=row.at,
                    signature=row.signature,
                    certificate=row.certificate,
                )
                for row in session.scalars(self._of(orchestrator).limit(limit))
            ]

    @staticmethod
    def _of(orchestrator: str) -> Select[AuditHeadRow]:
        return (
            select(AuditHeadRow)
            .where(AuditHeadRow.orchestrator == orchestrator)
            .order_by(AuditHeadRow.sequence.desc())
        )

    def _forget_oldest(self, session: Session, orchestrator: str) -> None:
        session.flush()
        oldest_kept = session.scalars(self._of(orchestrator).offset(_KEPT - 1).limit(1)).first()
        if oldest_kept is not None:
            session.execute(
                delete(AuditHeadRow).where(
                    AuditHeadRow.orchestrator == orchestrator,
                    AuditHeadRow.sequence < oldest_kept.sequence,
                    AuditHeadRow.first_of_day.is_(None),
                )
            )


def _check_repeated(session: Session, signed: SignedHead, newest: AuditHeadRow) -> None:
    """A head that is told again, after an answer was lost, is no fault."""
    known = session.get(AuditHeadRow, (signed.orchestrator, signed.sequence))
    if known is not None and bytes(known.hash).hex() == signed.hash:
        return
    what = (
        f"record {signed.sequence} had another hash"
        if known is not None
        else f"it reached record {newest.sequence} already"
    )
    log.error(
        "the audit chain of an orchestrator was cut or written anew",
        orchestrator=signed.orchestrator,
        told=signed.sequence,
        kept=newest.sequence,
    )
    raise ChainWentBackError(
        f"The audit chain of {signed.orchestrator} does not follow what was said at"
        f" {newest.at:%Y-%m-%d %H:%M:%S} UTC: {what}.",
        next_step="Its database was set back or changed: find out by whom"
        " (`qnfv audit verify` tells where).",
    )

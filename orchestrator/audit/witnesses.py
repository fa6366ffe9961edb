"""Data centres as witnesses: heads of our chain are left there, signed, and asked for again.

A chain alone can be cut at its end or written anew by whoever writes to its database. What was
said of it at other places cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from nfv_stack.contract.audit_heads import MOST_HEADS, SignedHead, check_head, sign_head
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import HeadRefusedError, SlaveError
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import Head
from timekeeping import Clock, Rounds
from trust import Credentials

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Testimony:
    """What one data centre says of our chain."""

    data_centre: str
    heads: tuple[Head, ...] = ()
    """Newest first; only those that we signed."""
    newest_at: datetime | None = None
    fault: str = ""
    """Why it could not be asked, or which of its heads we never signed."""


class Witnesses:
    """Leaves our newest head at every data centre, every `every_s`, if it moved. Thread-safe."""

    def __init__(
        self,
        name: str,
        audit: AuditLog,
        data_centres: Mapping[str, SlaveClient],
        credentials: Credentials,
        clock: Clock,
        *,
        every_s: float,
    ) -> None:
        self._name = name
        self._audit = audit
        self._data_centres = dict(data_centres)
        self._credentials = credentials
        self._clock = clock
        self._told: dict[str, int] = {}
        self._refusals: dict[str, str] = {}
        self._rounds = Rounds("audit-witnesses", self._tell_again, clock, every_s)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        self._rounds.close()

    @property
    def refusals(self) -> Mapping[str, str]:
        """Data centres that did not take our newest head, and why."""
        return dict(self._refusals)

    def tell(self) -> None:
        """Leave the newest head wherever it is not known yet."""
        head = self._audit.head()
        behind = [name for name in self._data_centres if self._told.get(name, 0) < head.sequence]
        if not behind:
            return
        signed = sign_head(
            self._name, head.sequence, head.hash, self._clock.now(), self._credentials
        )
        for name in behind:
            try:
                self._data_centres[name].keep_audit_head(signed)
            except SlaveError as error:
                if self._refusals.get(name) != error.detail:
                    log.warning("head of the audit not left", at=name, why=error.detail)
                self._refusals[name] = error.detail
            else:
                self._told[name] = head.sequence
                self._refusals.pop(name, None)

    def testimonies(self) -> list[Testimony]:
        """What each data centre was told, by name; one that does not answer says so."""
        return [self._ask(name) for name in sorted(self._data_centres)]

    def _ask(self, name: str) -> Testimony:
        try:
            heads = self._data_centres[name].audit_heads(self._name, MOST_HEADS)
        except SlaveError as error:
            return Testimony(name, fault=error.detail)
        authority = self._credentials.authority.read_bytes()
        of_us = [head for head in heads if head.orchestrator == self._name]
        ours = [head for head in of_us if _is_signed(head, authority)]
        faults = [
            f"{count} {what}"
            for count, what in (
                (len(heads) - len(of_us), "heads are another orchestrator's"),
                (len(of_us) - len(ours), "heads are not signed"),
            )
            if count
        ]
        return Testimony(
            name,
            tuple(Head(head.sequence, bytes.fromhex(head.hash)) for head in ours),
            ours[0].at if ours else None,
            "; ".join(faults),
        )

    def _tell_again(self) -> None:
        try:
            self.tell()
        except (SQLAlchemyError, OSError, ValueError) as error:
            log.error("head of the audit not signed", why=str(error))


def _is_signed(head: SignedHead, authority: bytes) -> bool:
    try:
        check_head(head, authority)
    except HeadRefusedError:
        return False
    return True

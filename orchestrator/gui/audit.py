"""`/audit`: who did what, whether the chain is whole, and where an image's key went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from orchestrator.audit.chain import Verdict
from orchestrator.audit.log import AuditLog, Filter
from orchestrator.audit.record import Record
from orchestrator.audit.witnesses import Testimony
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms

_PAGE = 50
_CUSTODY_RECORDS = 200
_CUSTODY_SUBJECTS = ("key", "image", "instance", "data_centre")
Text = Annotated[str, Query(max_length=191)]


@dataclass(frozen=True)
class CustodyLink:
    """How one operation ended: under which key which image came to which instance, and where."""

    record: Record

    @property
    def parts(self) -> dict[str, str]:
        subjects = self.record.entry.subjects
        return {name: subjects[name] for name in _CUSTODY_SUBJECTS if name in subjects}

    @property
    def emulated_key(self) -> bool:
        return self.record.entry.subjects.get("emulated_key") == "yes"


def custody_of(audit: AuditLog, subject: str) -> list[CustodyLink]:
    """The ended operations that a subject took part in, oldest first."""
    found = audit.records(Filter(action="operation ", subject=subject), _CUSTODY_RECORDS)
    return [CustodyLink(record) for record in reversed(found)]


class Audit:
    """Each part is worked out when the page asks for it."""

    def __init__(
        self, rooms: Rooms, chosen: dict[str, str], before: int | None, *, is_asked: bool
    ) -> None:
        self._rooms = rooms
        self.is_asked = is_asked
        """Whether somebody asked for the chain to be verified."""
        self.chosen = chosen
        self._before = before

    @cached_property
    def _found(self) -> list[Record]:
        chosen = self.chosen
        wanted = Filter(
            who=chosen["who"] or None,
            action=chosen["action"] or None,
            subject=chosen["subject"] or None,
            since=_moment(chosen["since"]),
            until=_moment(chosen["until"]),
            before=self._before,
        )
        return self._rooms.audit.records(wanted, _PAGE + 1)

    @property
    def records(self) -> list[Record]:
        """Newest first."""
        return self._found[:_PAGE]

    @property
    def older(self) -> str | None:
        """The address of the next page, if there is one."""
        if len(self._found) <= _PAGE:
            return None
        return self._address(before=str(self.records[-1].sequence))

    @property
    def newest(self) -> str | None:
        """The address of the first page, where this is not it."""
        return None if self._before is None else self._address()

    def _address(self, **more: str) -> str:
        return "/audit?" + urlencode({k: v for k, v in {**self.chosen, **more}.items() if v})

    @cached_property
    def custody(self) -> list[CustodyLink]:
        subject = self.chosen["subject"]
        return custody_of(self._rooms.audit, subject) if subject else []

    @cached_property
    def testimonies(self) -> list[Testimony]:
        return self._rooms.witnesses.testimonies()

    @cached_property
    def verdict(self) -> Verdict:
        """Walks the whole chain, and asks the data centres for what they were told of it."""
        heads = [head for testimony in self.testimonies for head in testimony.heads]
        return self._rooms.audit.verify(heads)


def audit_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/audit")
    def audit(
        request: Request,
        who: Text = "",
        action: Text = "",
        subject: Text = "",
        since: Text = "",
        until: Text = "",
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    ) -> HTMLResponse:
        chosen = {
            "who": who.strip(),
            "action": action.strip(),
            "subject": subject.strip(),
            "since": since,
            "until": until,
        }
        is_asked = request.headers.get("hx-target") == "verdict"
        view = Audit(rooms, chosen, before, is_asked=is_asked)
        return pages.answer(request, "audit.html", view)

    return router


def _moment(text: str) -> datetime | None:
    """A time in UTC as a browser's field sends it; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found

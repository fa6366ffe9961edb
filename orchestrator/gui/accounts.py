"""`/accounts`: one's own tokens and password; for administrators, everybody's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from orchestrator.accounts.identity import ROLE_MEANING, Identity, Role, asking
from orchestrator.accounts.tables import TokenRow, UserRow
from orchestrator.gui.pages import Pages
from orchestrator.gui.rooms import Rooms
from orchestrator.projects.projects import Project
from orchestrator.projects.tables import DEFAULT


@dataclass(frozen=True)
class ListedToken:
    row: TokenRow
    user: str


class AccountsView:
    """Each part is worked out when the page asks for it."""

    roles = tuple(Role)
    meaning = ROLE_MEANING
    default_project = DEFAULT

    def __init__(self, rooms: Rooms, who: Identity) -> None:
        self._rooms = rooms
        self.who = who

    @property
    def is_administrator(self) -> bool:
        return self.who.role is Role.ADMINISTRATOR

    @property
    def own_roles(self) -> list[Role]:
        """Those that a token of one's own may have, the highest first."""
        return [role for role in reversed(Role) if self.who.role.covers(role)]

    @cached_property
    def users(self) -> list[UserRow]:
        return self._rooms.accounts.users.all() if self.is_administrator else []

    @cached_property
    def projects(self) -> list[Project]:
        """One's own; for administrators, all."""
        return self._rooms.projects.all()

    @cached_property
    def tokens(self) -> list[ListedToken]:
        """One's own; for administrators, everybody's."""
        if not self.is_administrator and self.who.user_id is None:
            return []
        of = None if self.is_administrator else self.who.user_id
        return [ListedToken(row, user) for row, user in self._rooms.accounts.tokens.all(of)]


def accounts_page_router(pages: Pages, rooms: Rooms) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/accounts")
    def accounts(request: Request) -> HTMLResponse:
        who = asking()
        assert who is not None  # the rules let nobody else in
        return pages.answer(request, "accounts.html", AccountsView(rooms, who))

    return router

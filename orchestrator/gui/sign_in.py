"""`/sign-in` and `/password`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from orchestrator.accounts.first import FILE_NAME, FIRST_NAME
from orchestrator.accounts.passwords import MIN_CHARS
from orchestrator.gui.pages import Pages
from orchestrator.gui.return_path import return_path

Next = Annotated[str, Query(alias="next", max_length=2048)]


def sign_in_router(pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    def sign_in(request: Request, wish: Next = "/") -> HTMLResponse:
        return pages.answer(
            request,
            "sign_in.html",
            then=return_path(wish),
            first_name=FIRST_NAME,
            first_file=FILE_NAME,
        )

    @router.get("/password")
    def password(request: Request, wish: Next = "/") -> HTMLResponse:
        """One's own; also for those who must set one before anything else."""
        return pages.answer(
            request, "password.html", then=return_path(wish), shortest_chars=MIN_CHARS
        )

    return router

"""From template and view to an HTML answer: a whole page, or the one block that a page asks for.

A *live block* of a page is a block of its template that holds one element with the block's name as
its id and the attributes of `live(...)`. When something of its topics changes, the page asks for
itself with that name, gets the block alone, and morphs it in place. A view that works out its
parts when they are asked for (`functools.cached_property`) so costs what is shown, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import Headers

from orchestrator.accounts.identity import Role, Via, asking
from orchestrator.accounts.recognition import cookie_in
from orchestrator.accounts.sessions import csrf_token_of
from orchestrator.gui.assets import Assets
from orchestrator.gui.formats import FILTERS, ago
from orchestrator.gui.navigation import entries_for, is_here
from timekeeping import Clock

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_MACRO_FILES = ("icons.html", "parts.html", "lifecycle_parts.html")


class Pages:
    """Renders the templates. Thread-safe."""

    def __init__(self, assets: Assets, clock: Clock, *, notices: Sequence[str] = ()) -> None:
        """`notices` stand on every page."""
        self._clock = clock
        self._environment = Environment(
            loader=PackageLoader("orchestrator.gui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(asset=assets.url, is_here=is_here, notices=notices)
        # Imports of a template do not reach into a block that is rendered alone: so for all.
        for name in _MACRO_FILES:
            macros = self._environment.get_template(name).module
            self._environment.globals.update(
                {macro: getattr(macros, macro) for macro in dir(macros) if macro[0] != "_"}
            )

    def answer(
        self,
        request: Request,
        template: str,
        view: Any = None,
        *,
        status: int = 200,
        **more: Any,
    ) -> HTMLResponse:
        """`template` with `view`; of a request for a live block, that block alone."""
        context = self._context(request, view, more)
        found = self._environment.get_template(template)
        block = request.headers.get("hx-target") if "hx-request" in request.headers else None
        if block in found.blocks:
            html = "".join(found.blocks[block](found.new_context(context)))
        else:
            html = found.render(context)
        return HTMLResponse(
            html,
            status_code=status,
            headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Vary": "HX-Request"},
        )

    def _context(self, request: Request, view: Any, more: Mapping[str, Any]) -> dict[str, Any]:
        now, who = self._clock.now(), asking()
        cookie = cookie_in(Headers(scope=request.scope))
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return {
            "view": view,
            "path": request.url.path,
            "here": here,
            "now": now,
            "ago": lambda at: ago(at, now),
            "live": lambda name, topics: _live(name, topics, here),
            "who": who,
            "may": lambda role: who is not None and who.role.covers(Role(role)),
            "entries": entries_for(who),
            "csrf_token": csrf_token_of(cookie)
            if cookie and who is not None and who.via is Via.SESSION
            else "",
            **more,
        }


def _live(name: str, topics: str, here: str) -> Markup:
    triggers = ", ".join(f"live-{topic} from:body" for topic in ("all", *topics.split()))
    return Markup(
        'id="{}" data-live="{}" hx-get="{}" hx-trigger="{}" hx-target="this" '
        'hx-swap="morph:outerHTML" hx-sync="this:queue last"'
    ).format(name, topics, here, triggers)

"""Where somebody who signed in goes on: a path of ours, never another site."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_OURS = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
_NOT_THERE = ("/sign-in", "/password", "/gui/", "/static/", "/api/")


def return_path(wish: str) -> str:
    """`wish` if it is a page of ours, else the first page."""
    if not _OURS.fullmatch(wish) or wish.startswith(_NOT_THERE):
        return "/"
    return wish


def path_of(url: str) -> str:
    """Path and query of a URL, as `HX-Current-URL` holds one."""
    parts = urlsplit(url)
    return return_path(parts.path + (f"?{parts.query}" if parts.query else ""))


def sign_in_path(then: str) -> str:
    """The sign-in page that leads on to `then`."""
    then = return_path(then)
    return "/sign-in" if then == "/" else f"/sign-in?next={quote(then, safe='/')}"

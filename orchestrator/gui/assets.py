"""Style sheets, scripts and vendored libraries: each under a URL that changes with its content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.exceptions import HTTPException

FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    name: str
    media_type: str
    content: bytes

    @cached_property
    def version(self) -> str:
        return hashlib.sha256(self.content).hexdigest()[:12]

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.content, mtime=0)


class Assets:
    """What browsers may load, read once. Anything else in the folder is not served."""

    def __init__(self, folder: Path = FOLDER) -> None:
        found = (
            Asset(str(file.relative_to(folder)), _MEDIA_TYPES[file.suffix], file.read_bytes())
            for file in sorted(folder.rglob("*"))
            if file.suffix in _MEDIA_TYPES
        )
        self._assets = {asset.name: asset for asset in found}

    def url(self, name: str) -> str:
        """Where a page finds it. Raises KeyError."""
        return f"/static/{self._assets[name].version}/{name}"

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)

        @router.get("/static/{version}/{name:path}")
        def asset(
            version: str, name: str, accept_encoding: Annotated[str, Header()] = ""
        ) -> Response:
            found = self._assets.get(name)
            if found is None:
                raise HTTPException(404, "There is no such file")
            # A page of before an update asks for an old version: it gets what there is, unkept.
            headers = {
                "Cache-Control": _FOR_EVER if version == found.version else "no-cache",
                "Vary": "Accept-Encoding",
            }
            if "gzip" not in accept_encoding:
                return Response(found.content, media_type=found.media_type, headers=headers)
            headers["Content-Encoding"] = "gzip"
            return Response(found.packed, media_type=found.media_type, headers=headers)

        return router

"""Manners of ETSI GS NFV-SOL 013: versions, paging, entity tags, and what a body may be."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.sol003.documents import storable
from orchestrator.sol003.errors import ApiVersionError, MalformedRequestError, StaleTagError
from orchestrator.sol003.filters import parse_filter, selector
from orchestrator.statuses import problem_of
from problem_details import Problem
from problem_details.rest import answer

VERSIONS = {"vnflcm": "1.3.0", "vnfpkgm": "1.3.0"}
"""What v2.6.1 of the standard has of each interface."""
PAGE = 100
"""Documents in one answer to a query."""
_MAJOR = re.compile(r"1(\.\d+){0,2}(-impl:.*)?")
_MARKER = "nextpage_opaque_marker"


_PROBLEM = {"application/problem+json": {"schema": Problem.model_json_schema()}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What is wrong with the request", "content": _PROBLEM},
    "5XX": {"description": "What is wrong here", "content": _PROBLEM},
}
"""How every endpoint refuses."""


class InterfaceVersions:
    """ASGI middleware: the header `Version`, read and answered. Without one it is ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].split("/") if scope["type"] == "http" else []
        version = VERSIONS.get(parts[1]) if len(parts) > 2 else None
        if version is None:
            await self._app(scope, receive, send)
            return

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Version"] = version
            await send(message)

        asked = Headers(scope=scope).get("version")
        app = self._app
        if asked is not None and parts[-1] != "api_versions" and not _MAJOR.fullmatch(asked):
            error = ApiVersionError(
                f"{parts[1]} is spoken in version {version}; the request asks for {asked}.",
                next_step=f"Send `Version: {version}`, or leave it out.",
            )
            app = answer(problem_of(error))
        await app(scope, receive, send_with_version)


class Sol003Route(APIRoute):
    """A body or query that is not as the standard says is answered with 400."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                raise malformed(error.errors()) from error

        return handle


def malformed(faults: Sequence[Any]) -> MalformedRequestError:
    """Names what is wrong, without the rejected input."""
    told = [
        {"where": ".".join(str(part) for part in fault["loc"]), "why": fault["msg"]}
        for fault in faults
    ]
    return MalformedRequestError(
        "; ".join(f"{fault['where']}: {fault['why']}" for fault in told),
        next_step="Correct the named attributes; docs/sol003.md says which are supported.",
        faults=told,
    )


def root_of(request: Request) -> str:
    """What every link begins with."""
    return str(request.base_url).rstrip("/")


def is_dry_run(request: Request) -> bool:
    """The query parameter `dry_run`, the only one there is. Raises MalformedRequestError."""
    query = request.query_params.multi_items()
    strange = sorted({name for name, _ in query} - {"dry_run"})
    if strange:
        raise MalformedRequestError(
            f"The query has {', '.join(strange)}, which means nothing here.",
            next_step="It may have dry_run=true or dry_run=false.",
        )
    values = [value for _, value in query] or ["false"]
    if len(values) > 1 or values[0] not in ("true", "false"):
        raise MalformedRequestError(
            f"dry_run is {', '.join(values)!r}.", next_step="Write dry_run=true or dry_run=false."
        )
    return values[0] == "true"


def etag_of(document: BaseModel) -> str:
    """Changes with the document."""
    text = json.dumps(document.model_dump(mode="json", by_alias=True), sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def check_tag(request: Request, etag: str) -> None:
    """`If-Match`, where there is one. Raises StaleTagError."""
    asked = request.headers.get("if-match")
    if asked is None or asked.strip() == "*":
        return
    if etag not in [each.strip() for each in asked.split(",")]:
        raise StaleTagError(
            "It is no longer as it was when its ETag was read.",
            next_step="Read it again, then send the change with its new ETag.",
        )


def merged_pairs(
    target: dict[str, Any], patch: dict[str, Any] | None, attribute: str
) -> dict[str, Any]:
    """Key-value pairs after a merge patch. Raises MalformedRequestError if too many."""
    pairs = {} if patch is None else _merged(target, patch)
    try:
        return storable(pairs) or {}
    except ValueError as error:
        raise MalformedRequestError(
            f"{attribute}, with what was there before, {error}.",
            next_step="Take something away first: set it to null.",
        ) from error


def _merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = _merged(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def listed(
    request: Request,
    documents: Sequence[BaseModel],
    model: type[BaseModel],
    *,
    default_excluded: Collection[str],
    page: int = PAGE,
) -> JSONResponse:
    """The answer to a query: filtered, with the chosen attributes, and a page of it."""
    query = dict(request.query_params)
    chosen = selector(query, model, default_excluded)
    found = [
        document.model_dump(mode="json", by_alias=True, exclude_none=True) for document in documents
    ]
    if "filter" in query:
        filters = parse_filter(query["filter"], model)
        found = [each for each in found if all(simple.holds(each) for simple in filters)]
    if _MARKER in query:
        ids = [each["id"] for each in found]
        if query[_MARKER] not in ids:
            raise MalformedRequestError(
                f"There is no page after {query[_MARKER]} any more.",
                next_step="Ask again from the first page.",
            )
        found = found[ids.index(query[_MARKER]) + 1 :]
    headers = {}
    if len(found) > page:
        found = found[:page]
        more = urlencode({**query, _MARKER: found[-1]["id"]})
        headers["Link"] = f'<{root_of(request)}{request.url.path}?{more}>; rel="next"'
    return JSONResponse([chosen(each) for each in found], headers=headers)


def one(
    document: BaseModel, *, status_code: int = 200, location: str | None = None
) -> JSONResponse:
    """One document with its ETag."""
    headers = {"ETag": etag_of(document)}
    if location is not None:
        headers["Location"] = location
    return JSONResponse(
        document.model_dump(mode="json", by_alias=True, exclude_none=True),
        status_code=status_code,
        headers=headers,
    )


def accepted(root: str, occurrence_id: UUID) -> Response:
    """Something is under way, of which the occurrence tells."""
    location = f"{root}/vnflcm/v1/vnf_lcm_op_occs/{occurrence_id}"
    return Response(status_code=202, headers={"Location": location})


def versions_of(interface: str) -> dict[str, Any]:
    """The document of `api_versions`."""
    return {
        "uriPrefix": f"/{interface}",
        "apiVersions": [{"version": VERSIONS[interface], "isDeprecated": False}],
    }

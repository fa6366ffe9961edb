"""Turns errors into problem documents at the edge of a FastAPI service."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from problem_details.answers import MEDIA_TYPE, status_for
from problem_details.problem import TYPE_PREFIX, Problem, ProblemError

log = logging.getLogger(__name__)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The HTTP answer that carries `problem`."""
    return JSONResponse(
        problem.model_dump(mode="json", exclude_none=True),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def install(app: FastAPI, status_of: Mapping[type[ProblemError], int]) -> None:
    """Answer every error of `app` with a problem document.

    `status_of` is the service's one table from error class to HTTP status; the nearest class in
    the error's line of descent counts, and an error outside the table is a 500.
    """

    def on_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)
        status = status_for(error, status_of)
        if status is not None:
            return answer(Problem.of(error, status))
        log.error("unexpected error %s: %s", type(error).__name__, error.detail, exc_info=error)
        return answer(Problem.of(error, 500))

    def on_validation(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        # The rejected input stays out: it may hold a secret.
        faults = [
            {"where": ".".join(str(part) for part in e["loc"]), "why": e["msg"]}
            for e in error.errors()
        ]
        detail = "; ".join(f"{f['where']}: {f['why']}" for f in faults)
        return answer(
            Problem(
                type=TYPE_PREFIX + "invalid-request",
                title="The request is not valid",
                status=422,
                detail=detail,
                next_step="Correct the named fields and send the request again.",
                faults=jsonable_encoder(faults),
            )
        )

    def on_http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(
            Problem(title=str(error.detail), status=error.status_code, detail=str(error.detail)),
            headers=error.headers,
        )

    def on_anything(request: Request, error: Exception) -> JSONResponse:
        log.error("unhandled error at %s %s", request.method, request.url.path, exc_info=error)
        return answer(
            Problem(
                type=TYPE_PREFIX + "internal-error",
                title=ProblemError.title,
                status=500,
                detail="An unexpected error stopped this request; the log of the service has it.",
                next_step="Look into the service's log, then report it with that excerpt.",
            )
        )

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_anything)

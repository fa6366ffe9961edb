"""Problem documents as answers: which status, and what a peer answered. No web framework here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from problem_details.problem import Problem, ProblemError

MEDIA_TYPE = "application/problem+json"


def status_for(error: ProblemError, status_of: Mapping[type[ProblemError], int]) -> int | None:
    """The status of the nearest class in the error's line of descent; None outside the table."""
    for cls in type(error).__mro__:
        if cls in status_of:
            return status_of[cls]
    return None


def read(status: int, content_type: str, body: bytes) -> Problem:
    """The problem that a peer answered; any other error answer becomes a plain one."""
    if content_type.split(";")[0].strip() == MEDIA_TYPE:
        try:
            document: Any = json.loads(body)
            return Problem.model_validate(document)
        except (ValueError, ValidationError):
            pass
    return Problem(title=f"HTTP {status}", status=status, detail=f"The peer answered HTTP {status}")

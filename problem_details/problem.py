"""What failed, why, and what to do next."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

TYPE_PREFIX = "urn:qnfv:problem:"


class ProblemError(Exception):
    """Root of every package's error tree.

    `slug` is the stable name of the kind (part of the public interface), `detail` says what
    failed and why, `next_step` what the person can do about it. `extensions` are further members
    of the problem document; never put a secret into any of them.
    """

    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something failed inside qnfv"

    def __init__(self, detail: str, *, next_step: str = "", **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.next_step = next_step
        self.extensions = extensions

    def __str__(self) -> str:
        return f"{self.detail} {self.next_step}".strip()


class Problem(BaseModel):
    """The document of RFC 9457 with one extension member of ours, `next_step`."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int = Field(ge=100, le=599)
    detail: str = ""
    next_step: str = ""
    instance: str | None = None

    @property
    def slug(self) -> str:
        return self.type.removeprefix(TYPE_PREFIX)

    @classmethod
    def of(cls, error: ProblemError, status: int) -> Problem:
        return cls(
            type=TYPE_PREFIX + error.slug,
            title=error.title,
            status=status,
            detail=error.detail,
            next_step=error.next_step,
            **error.extensions,
        )

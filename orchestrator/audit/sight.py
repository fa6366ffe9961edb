"""Which records of the audit somebody may see who is in some projects only."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from orchestrator.accounts.identity import asking
from orchestrator.audit.record import Record
from orchestrator.projects.ownership import Kind, Ownership

_OF_PROJECTS = frozenset(
    {
        "deployment", "deployment_id", "operation", "operation_id", "image", "reference",
        "upload", "upload_id", "instance", "vim_instance", "key", "project",
    }
)  # fmt: skip
"""Subjects that tell of something that a project owns."""


def seen_by_asker(records: Sequence[Record], ownership: Ownership) -> list[Record]:
    """His own, those about what his projects own, and those about nothing of that kind."""
    if ownership.visible() is None:
        return list(records)
    who = asking()
    name = who.name if who is not None else ""
    deployments = {d for record in records if (d := _deployment(record)) is not None}
    images = {i for record in records if (i := _image(record)) is not None}
    seen = ownership.seen(Kind.DEPLOYMENT, deployments) | ownership.seen(Kind.IMAGE, images)

    def is_seen(record: Record) -> bool:
        if record.entry.who == name or not _OF_PROJECTS & record.entry.subjects.keys():
            return True
        deployment, image = _deployment(record), _image(record)
        if deployment is not None:
            return deployment.bytes in seen
        return image is not None and image in seen

    return [record for record in records if is_seen(record)]


def _deployment(record: Record) -> UUID | None:
    subjects = record.entry.subjects
    try:
        return UUID(subjects.get("deployment", subjects.get("deployment_id", "")))
    except ValueError:
        return None


def _image(record: Record) -> bytes | None:
    try:
        return bytes.fromhex(record.entry.subjects["image"])
    except (KeyError, ValueError):
        return None

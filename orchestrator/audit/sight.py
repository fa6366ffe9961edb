"""Which records of the audit somebody may see who is in some projects only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, select

from database import in_batches, reading
from orchestrator.accounts.identity import asking
from orchestrator.accounts.tables import UserRow
from orchestrator.audit.record import Record
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.store.tables import OperationRow

EVERYBODYS = frozenset(
    {
        "alarm_id", "circuit_id", "cipher", "data_centre", "emulated_key", "ended_at", "link",
        "must_change_password", "name", "node", "role", "token", "token_id", "turn", "user",
    }
)  # fmt: skip
"""Subjects that tell of nothing that a project owns. A subject that is not named here does."""
_DEPLOYMENTS = ("deployment", "deployment_id", "vnf_instance", "vnf_instance_id")
_OPERATIONS = ("operation", "operation_id", "occurrence_id")
_PACKAGES = ("vnf_package", "vnf_package_id")
_OF_PROJECT = "/api/v1/projects/{name}"


def seen_by_asker(records: Sequence[Record], ownership: Ownership, engine: Engine) -> list[Record]:
    """His own, those about what his projects own, and those about nothing of that kind."""
    visible = ownership.visible()
    if visible is None:
        return list(records)
    who = asking()
    name = who.name if who is not None else ""
    since = _account_since(engine, who.user_id if who is not None else None)
    tell = [_Telling(record) for record in records]
    deployment_of = _deployments_of(engine, {t.operation for t in tell if t.operation})
    for each in tell:
        each.deployment = each.deployment or deployment_of.get(each.operation)
    seen = ownership.seen(Kind.DEPLOYMENT, {t.deployment for t in tell if t.deployment})
    seen |= ownership.seen(Kind.PACKAGE, {t.package for t in tell if t.package})

    def is_seen(telling: _Telling) -> bool:
        record = telling.record
        # Somebody else may have had the name before his account was made.
        if record.entry.who == name and since is not None and record.at >= since:
            return True
        if telling.project is not None:
            return telling.project in visible
        thing = telling.thing
        if thing is not None:
            return thing in seen
        return EVERYBODYS.issuperset(record.entry.subjects)

    return [each.record for each in tell if is_seen(each)]


class _Telling:
    """What a record tells of."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._subjects = record.entry.subjects
        self.deployment = self._uuid(*_DEPLOYMENTS)
        self.operation = self._uuid(*_OPERATIONS)
        self.package = self._uuid(*_PACKAGES)
        self.project = self._subjects.get("project")
        if self.project is None and _OF_PROJECT in record.entry.action:
            self.project = self._subjects.get("name")

    @property
    def thing(self) -> bytes | None:
        """The one whose owner decides. No image: several projects own the same without knowing of
        each other, so the project decides that added it."""
        told = self.deployment or self.package
        return told.bytes if told is not None else None

    def _uuid(self, *names: str) -> UUID | None:
        for name in names:
            try:
                return UUID(self._subjects[name])
            except (KeyError, ValueError):
                continue
        return None


def _account_since(engine: Engine, user_id: UUID | None) -> datetime | None:
    if user_id is None:
        return None
    with reading(engine) as session:
        return session.scalar(select(UserRow.created_at).where(UserRow.user_id == user_id))


def _deployments_of(engine: Engine, operations: Iterable[UUID]) -> dict[UUID | None, UUID]:
    """The deployment of each operation."""
    found: dict[UUID | None, UUID] = {}
    with reading(engine) as session:
        for some in in_batches(operations):
            rows = session.execute(
                select(OperationRow.operation_id, OperationRow.deployment_id).where(
                    OperationRow.operation_id.in_(some)
                )
            )
            found.update((operation, deployment) for operation, deployment in rows)
    return found

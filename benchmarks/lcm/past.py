"""A past for an orchestrator that rests: copies of what it did."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import DeclarativeBase

from database import writing
from orchestrator.audit.custody import Custody
from orchestrator.audit.log import AuditLog
from orchestrator.projects.tables import OwnedRow
from orchestrator.store.tables import DeploymentRow, OperationRow, StepRow, TransferRow
from timekeeping import SystemClock


def multiply(engine: Engine, deployment_id: UUID, operations: int) -> int:
    """Copy this removed deployment, its operations, steps and transfers under new ids until there
    are at least so many more operations; returns how many were made. Their ends are in the audit,
    as they always are but for a crash in between."""
    with writing(engine) as session:
        (deployment,) = _rows(session, DeploymentRow, deployment_id=deployment_id)
        originals = _rows(session, OperationRow, deployment_id=deployment_id)
        owners = _rows(session, OwnedRow, thing=deployment_id.bytes)
        parts = {
            row["operation_id"]: [
                (table, part)
                for table in (StepRow, TransferRow)
                for part in _rows(session, table, operation_id=row["operation_id"])
            ]
            for row in originals
        }
        made = 0
        while made < operations:
            copy_id = uuid4()
            session.execute(insert(DeploymentRow), [deployment | {"deployment_id": copy_id}])
            session.execute(insert(OwnedRow), [row | {"thing": copy_id.bytes} for row in owners])
            for original in originals:
                ids = {"operation_id": uuid4(), "transfer_id": uuid4()}
                mine = ids | {"deployment_id": copy_id, "sequence": None}
                session.execute(insert(OperationRow), [original | mine])
                for table, part in parts[original["operation_id"]]:
                    named = {name: ids[name] for name in ids if name in part}
                    fresh = {"key_id": uuid4()} if "key_id" in part else {}
                    session.execute(insert(table), [part | named | fresh])
                made += 1
    Custody(engine, AuditLog(engine, SystemClock())).settle()
    return made


def _rows(session: Any, table: type[DeclarativeBase], **having: Any) -> list[dict[str, Any]]:
    found = session.execute(select(table.__table__).filter_by(**having)).mappings()
    return [dict(row) for row in found]

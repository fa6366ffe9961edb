"""How each operation ended, with the custody of its image: key, digest, instance, data centre."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from database import reading
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import Entry
from orchestrator.store.tables import DeploymentRow, OperationRow, TransferRow
from orchestrator.vnf_lcm.states import ENDED

log = structlog.get_logger(__name__)
ORCHESTRATOR = "orchestrator"


class Custody:
    """Thread-safe. Tells each operation's end once, after a crash at the next start."""

    def __init__(self, engine: Engine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    def on_end(self, operation: OperationRow) -> None:
        """Record the end of `operation`. A database that fails now is asked again by `settle`."""
        try:
            self._audit.append(self._entry(operation), once=_event(operation.operation_id))
        except SQLAlchemyError as error:
            log.error("the end of an operation is not in the audit yet", why=str(error))

    def settle(self) -> None:
        """Record what ended without a record; call before the runner starts."""
        with reading(self._engine) as session:
            ended = {
                _event(operation_id): sequence
                for operation_id, sequence in session.execute(
                    select(OperationRow.operation_id, OperationRow.sequence)
                    .where(OperationRow.state.in_(ENDED))
                    .order_by(OperationRow.sequence)
                )
            }
        told = self._audit.told(list(ended))
        for event, sequence in ended.items():
            if event not in told:
                with reading(self._engine) as session:
                    operation = session.get_one(OperationRow, sequence)
                    session.expunge_all()
                self.on_end(operation)

    def _entry(self, operation: OperationRow) -> Entry:
        with reading(self._engine) as session:
            deployment = session.get_one(DeploymentRow, operation.deployment_id)
            transfer = session.get(TransferRow, operation.transfer_id)
            subjects = {
                "operation": str(operation.operation_id),
                "deployment": str(operation.deployment_id),
                "data_centre": deployment.data_centre,
                "image": deployment.image_digest.hex(),
            }
            instance = deployment.instance or {}
            for name in ("instance_id", "vim_instance_id"):
                if instance.get(name):
                    subjects[name.removesuffix("_id")] = str(instance[name])
            if operation.ended_at is not None:
                subjects["ended_at"] = operation.ended_at.isoformat()
            if transfer is not None:
                subjects["key"] = str(transfer.key_id)
                subjects["link"] = transfer.link
                subjects["cipher"] = transfer.cipher
                subjects["emulated_key"] = "yes" if transfer.emulated_key else "no"
        return Entry(
            who=ORCHESTRATOR,
            role="",
            via="inside",
            source="",
            action=f"operation {operation.kind}",
            outcome=operation.state,
            subjects=subjects,
        )


def _event(operation_id: UUID) -> str:
    return f"operation:{operation_id}"

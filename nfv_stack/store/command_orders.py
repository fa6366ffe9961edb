"""The latest command to each instance that ever was: an earlier one that comes after it is late."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from database import in_transaction
from nfv_stack.contract.ordering import CommandOrder
from nfv_stack.errors import LateCommandError
from nfv_stack.store.tables import CommandOrderRow


class CommandOrders:
    """Thread-safe. What is known of an instance stays when it is removed."""

    def __init__(self, engine: Engine) -> None:
        """`engine` with the tables of `migrate_slave`."""
        self._engine = engine

    def check(self, instance_id: UUID, order: CommandOrder | None) -> None:
        """Note a command to the instance. Raises LateCommandError if a later one was here before;
        one without an order is never late."""
        if order is None:
            return
        latest = in_transaction(self._engine, lambda session: _note(session, instance_id, order))
        if latest > order:
            raise LateCommandError(
                f"Instance {instance_id} had a later command already ({latest}; this is {order}).",
                next_step="Nothing needs to be done: whoever sent the later one goes on.",
                latest=str(latest),
            )


def _note(session: Session, instance_id: UUID, order: CommandOrder) -> CommandOrder:
    """The latest command, this one counted in."""
    row = session.get(CommandOrderRow, instance_id, with_for_update=True)
    if row is None:
        row = CommandOrderRow(instance_id=instance_id, operation=order.operation, claim=order.claim)
        session.add(row)
    latest = max(order, CommandOrder(row.operation, row.claim))
    row.operation, row.claim = latest.operation, latest.claim
    return latest

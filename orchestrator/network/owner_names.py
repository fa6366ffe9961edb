"""Owners of circuits, as far as who asks may know them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from uuid import UUID

from sdn_client.ledger import Circuit

_OPERATION = "operation"
ANOTHER_S = "operation of another project"


class OwnerNames:
    """A circuit is everybody's; which operation of another project holds it is not."""

    def __init__(self, operations_seen: Callable[[Collection[UUID]], set[UUID]]) -> None:
        """`operations_seen`: those of some operations that who asks may know of."""
        self._operations_seen = operations_seen

    def told(self, owners: Iterable[str]) -> list[str]:
        """The owners in their order; what must not be known is told as `ANOTHER_S`."""
        named = list(owners)
        operations = {owner: id_ for owner in named if (id_ := operation_of(owner)) is not None}
        seen = self._operations_seen(set(operations.values())) if operations else set()
        return [
            ANOTHER_S if owner in operations and operations[owner] not in seen else owner
            for owner in named
        ]

    def circuits(self, circuits: Iterable[Circuit]) -> list[Circuit]:
        """The same circuits, with owners as `told`."""
        asked = list(circuits)
        named = [owner for circuit in asked for owner in circuit.owners]
        told = dict(zip(named, self.told(named), strict=True))
        return [
            replace(
                circuit,
                owners=tuple(told[owner] for owner in circuit.owners),
                until={told[owner]: until for owner, until in circuit.until.items()},
            )
            for circuit in asked
        ]


def owner_of(operation_id: UUID) -> str:
    """As what an operation owns circuits."""
    return f"{_OPERATION}:{operation_id}"


def operation_of(owner: str) -> UUID | None:
    """The operation that a circuit's owner is; None for any other owner."""
    kind, _, id_ = owner.partition(":")
    if kind != _OPERATION:
        return None
    try:
        return UUID(id_)
    except ValueError:
        return None

"""Circuits for deployments and for turns of Alice, on top of `sdn_client.circuits`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from orchestrator.datacentres.registry import DataCentres
from orchestrator.network.owner_names import operation_of, owner_of
from qkd_scheduler.errors import PathBusyError
from qkd_scheduler.faults import Fault
from sdn_client.circuits import CircuitService, NotFree
from sdn_client.ledger import Circuit, Purpose
from sdn_client.paths import LightPath


class TransferCircuits:
    """Classical circuits from the orchestrator's own node to a data centre, owned by operations."""

    def __init__(self, circuits: CircuitService, data_centres: DataCentres, node: str) -> None:
        self._circuits = circuits
        self._data_centres = data_centres
        self._node = node

    def plan(self, data_centre: str) -> LightPath:
        """The path on an idle network. Raises what the path finder finds."""
        end_point = self._data_centres.named(data_centre).end_point
        return self._circuits.plan(self._node, end_point, Purpose.IMAGE_TRANSFER)

    def reserve(
        self, operation_id: UUID, data_centre: str, *, requested_at: datetime
    ) -> NotFree | None:
        """Take the ports for the operation; a NotFree says why it has to wait."""
        end_point = self._data_centres.named(data_centre).end_point
        answer = self._circuits.reserve(
            owner_of(operation_id),
            self._node,
            end_point,
            Purpose.IMAGE_TRANSFER,
            requested_at=requested_at,
        )
        return answer if isinstance(answer, NotFree) else None

    def establish(self, operation_id: UUID) -> Circuit:
        return self._circuits.establish(owner_of(operation_id))

    def release(self, operation_id: UUID) -> None:
        self._circuits.release(owner_of(operation_id))

    def holders(self) -> set[UUID]:
        """Operations that hold a circuit or wait for one."""
        now = self._circuits.snapshot()
        held = [owner for circuit in now.circuits for owner in circuit.owners]
        waiting = [wish.owner for wish in now.waiting]
        found = map(operation_of, (*held, *waiting))
        return {operation_id for operation_id in found if operation_id is not None}


class QuantumCircuits:
    """The `QuantumPath` port of the schedule: Alice to one Bob, owned by a turn."""

    def __init__(self, circuits: CircuitService, ends_of: Callable[[str], tuple[str, str]]) -> None:
        """`ends_of` tells for a link the quantum end points of the Alice who serves it, and Bob."""
        self._circuits = circuits
        self._ends_of = ends_of

    def connect(self, turn_id: UUID, link: str) -> float:
        alice, bob = self._ends_of(link)
        owner = f"turn:{turn_id}"
        answer = self._circuits.reserve(owner, alice, bob, Purpose.QUANTUM_TURN)
        if isinstance(answer, NotFree):
            self._circuits.release(owner)
            raise PathBusyError(
                f"the path from {alice} to {bob} is not free ({answer.reason})",
                fault=Fault.PATH_BUSY,
                next_step="It is tried again in its next turn.",
            )
        return self._circuits.establish(owner).loss_db

    def loss_of_light(self, turn_id: UUID) -> str | None:
        return self._circuits.loss_of_light(f"turn:{turn_id}")

    def release(self, turn_id: UUID) -> None:
        self._circuits.release(f"turn:{turn_id}")

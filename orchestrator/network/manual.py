"""Circuits that people and programs of the platform ask for, beside operations and turns."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from sdn_client.circuits import CircuitService
from sdn_client.errors import CircuitBusy, UnknownName
from sdn_client.ledger import Circuit, Purpose
from sdn_client.topology import BandwidthClass
from timekeeping import Clock

_MANUAL = "manual"
ADOPTED = "adopted"
_OURS = (_MANUAL, ADOPTED)


class ManualCircuits:
    """Each has an owner `manual:NAME:ID`, so that nobody ends what an operation or a turn uses."""

    def __init__(self, circuits: CircuitService, clock: Clock) -> None:
        self._circuits = circuits
        self._clock = clock

    def connect(
        self,
        from_: str,
        to: str,
        purpose: Purpose,
        *,
        name: str,
        bandwidth: BandwidthClass | None,
        lifetime_s: float | None,
    ) -> Circuit:
        """A circuit that is up; `name` says who wants it, and after `lifetime_s` it ends."""
        now = self._clock.now()
        return self._circuits.connect(
            f"{_MANUAL}:{name}:{uuid4().hex[:8]}",
            from_,
            to,
            purpose,
            bandwidth=bandwidth,
            until=None if lifetime_s is None else now + timedelta(seconds=lifetime_s),
        )

    def disconnect(self, circuit_id: UUID) -> bool:
        """End people's hold on a circuit; whether the switch confirmed that it is dark.

        Raises UnknownName, or CircuitBusy where an operation or a turn uses it too.
        """
        circuit = self.named(circuit_id)
        if not self.may_end(circuit):
            others = {owner.partition(":")[0] for owner in circuit.owners if not _is_ours(owner)}
            raise CircuitBusy(
                f"The circuit {circuit_id} serves: {', '.join(sorted(others))}.",
                next_step="It is released when that ends.",
            )
        if not circuit.owners:  # it was released before, and waits for the switch
            return self._circuits.finish(circuit)
        return all([self._circuits.release(owner) for owner in circuit.owners])

    @staticmethod
    def may_end(circuit: Circuit) -> bool:
        """Whether people alone hold it."""
        return all(_is_ours(owner) for owner in circuit.owners)

    def named(self, circuit_id: UUID) -> Circuit:
        for circuit in self._circuits.circuits():
            if circuit.id == circuit_id:
                return circuit
        raise UnknownName(
            f"There is no circuit {circuit_id}.",
            next_step="`qnfv network circuits` shows those that stand.",
        )


def _is_ours(owner: str) -> bool:
    return owner.partition(":")[0] in _OURS

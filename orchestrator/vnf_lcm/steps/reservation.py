"""Steps *key* and *circuit*. What they need was reserved when the operation was admitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from orchestrator.datacentres.registry import DataCentres
from orchestrator.errors import KeyWaitError
from orchestrator.keys.service import KeyService
from orchestrator.network.circuits import TransferCircuits
from orchestrator.vnf_lcm.ciphers.port import Cipher
from orchestrator.vnf_lcm.records import LcmRecords


class KeyStep:
    """The keys that both ends hold, promised to this operation."""

    name = "key"

    def __init__(
        self,
        records: LcmRecords,
        keys: KeyService,
        ciphers: Mapping[str, Cipher],
        data_centres: DataCentres,
    ) -> None:
        self._records = records
        self._keys = keys
        self._ciphers = ciphers
        self._data_centres = data_centres

    def do(self, operation_id: UUID) -> dict[str, Any]:
        work = self._records.work(operation_id)
        link = self._data_centres.named(work.deployment.data_centre).link
        cipher = self._ciphers[work.deployment.cipher]
        keys = cipher.held(link, work.transfer_id)
        if not keys:
            raise KeyWaitError(
                f"The key of operation {operation_id} is gone.",
                next_step="Start the deployment again; it takes a new key.",
            )
        self._records.open_transfer(work, link, keys)
        return {
            "link": link,
            "key_id": str(keys[0].key_id),
            "key_bits": cipher.key_bits(work.image),
            "emulated": any(key.emulated for key in keys),
            "mode": work.deployment.key_mode,
        }

    def undo(self, operation_id: UUID) -> None:
        name = self._records.deployment_of(operation_id).data_centre
        link = self._data_centres.named(name).link
        owner = self._records.key_owner(operation_id)
        self._keys.release(link, owner, "the operation failed")


class CircuitStep:
    """The classical circuit to the data centre, all cross-connects in one batch."""

    name = "circuit"

    def __init__(self, circuits: TransferCircuits) -> None:
        self._circuits = circuits

    def do(self, operation_id: UUID) -> dict[str, Any]:
        circuit = self._circuits.establish(operation_id)
        return {
            "circuit_id": str(circuit.id),
            "cross_connects": [str(x) for x in circuit.cross_connects],
            "km": circuit.km,
            "loss_db": round(circuit.loss_db, 3),
            "owners": len(circuit.owners),
        }

    def undo(self, operation_id: UUID) -> None:
        self._circuits.release(operation_id)

"""The circuit ledger in the database: `sdn_client.ledger.CircuitLedger` over SQLAlchemy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import CursorResult, Engine, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import reading, writing
from orchestrator.network.tables import (
    CircuitRow,
    CrossConnectRow,
    OwnerRow,
    PortUseRow,
    WaitingRow,
)
from sdn_client.ledger import OWNED, Circuit, CircuitState, Purpose, Waiting
from sdn_client.topology import CrossConnect


class SqlCircuitLedger:
    """One transaction for each call. The row of a circuit is locked before its owners change, so
    that the last one's leaving and another's joining cannot cross."""

    def __init__(self, engine: Engine) -> None:
        """`engine` with the tables of `migrate_network`."""
        self._engine = engine

    def circuits(self) -> list[Circuit]:
        with reading(self._engine) as session:
            rows = session.scalars(select(CircuitRow)).all()
            return sorted((_circuit(r) for r in rows), key=lambda c: (c.created_at, c.id.bytes))

    def circuit_of(self, owner: str) -> Circuit | None:
        with reading(self._engine) as session:
            row = session.scalar(select(CircuitRow).join(OwnerRow).where(OwnerRow.owner == owner))
            return None if row is None else _circuit(row)

    def add(self, circuit: Circuit, owner: str) -> Circuit | None:
        try:
            with writing(self._engine) as session:
                session.add(_row(circuit, owner))
                session.execute(delete(WaitingRow).where(WaitingRow.owner == owner))
        except IntegrityError:
            return None
        return replace(circuit, owners=(owner,))

    def join(self, circuit: UUID, owner: str) -> Circuit | None:
        try:
            with writing(self._engine) as session:
                row = _locked(session, circuit)
                if row is None or CircuitState(row.state) not in OWNED:
                    return None
                before = _circuit(row)
                position = max((o.position for o in row.owners), default=0) + 1
                session.add(OwnerRow(owner=owner, circuit_id=circuit, position=position))
                session.execute(delete(WaitingRow).where(WaitingRow.owner == owner))
        except IntegrityError:
            return None
        return replace(before, owners=(*before.owners, owner))

    def leave(self, owner: str) -> Circuit | None:
        with writing(self._engine) as session:
            session.execute(delete(WaitingRow).where(WaitingRow.owner == owner))
            id_ = session.scalar(select(OwnerRow.circuit_id).where(OwnerRow.owner == owner))
            row = None if id_ is None else _locked(session, id_)
            if row is None or all(o.owner != owner for o in row.owners):
                return None
            row.owners = [o for o in row.owners if o.owner != owner]
            if not row.owners:
                row.state = CircuitState.RELEASING
            return _circuit(row)

    def move(
        self,
        circuit: UUID,
        sources: Collection[CircuitState],
        target: CircuitState,
        at: datetime | None = None,
    ) -> bool:
        change = update(CircuitRow).where(CircuitRow.id == circuit, CircuitRow.state.in_(sources))
        change = change.values(state=target)
        if at is not None:
            change = change.values(established_at=at)
        with writing(self._engine) as session:
            return cast(CursorResult[object], session.execute(change)).rowcount == 1

    def remove(self, circuit: UUID) -> bool:
        with writing(self._engine) as session:
            row = _locked(session, circuit)
            if row is None or row.state != CircuitState.RELEASING:
                return False
            session.delete(row)
            return True

    def wait(self, request: Waiting) -> Waiting:
        with writing(self._engine) as session:
            row = session.get(WaitingRow, request.owner, with_for_update=True)
            same = row is not None and (row.purpose, row.from_end_point, row.to_end_point) == (
                request.purpose,
                request.from_end_point,
                request.to_end_point,
            )
            if row is not None and same:
                return _waiting(row)
            session.merge(
                WaitingRow(
                    owner=request.owner,
                    purpose=request.purpose,
                    from_end_point=request.from_end_point,
                    to_end_point=request.to_end_point,
                    requested_at=request.requested_at,
                )
            )
            return request

    def waiting(self) -> list[Waiting]:
        with reading(self._engine) as session:
            rows = session.scalars(select(WaitingRow)).all()
            return sorted((_waiting(r) for r in rows), key=lambda w: (w.requested_at, w.owner))


def _locked(session: Session, circuit: UUID) -> CircuitRow | None:
    return session.scalar(select(CircuitRow).where(CircuitRow.id == circuit).with_for_update())


def _row(circuit: Circuit, owner: str) -> CircuitRow:
    return CircuitRow(
        id=circuit.id,
        purpose=circuit.purpose,
        from_end_point=circuit.from_end_point,
        to_end_point=circuit.to_end_point,
        km=circuit.km,
        loss_db=circuit.loss_db,
        state=circuit.state,
        created_at=circuit.created_at,
        established_at=circuit.established_at,
        cross_connects=[
            CrossConnectRow(position=n, chassis=x.chassis, in_port=x.in_port, out_port=x.out_port)
            for n, x in enumerate(circuit.cross_connects)
        ],
        ports=[PortUseRow(chassis=p.chassis, port=p.port) for p in sorted(circuit.ports)],
        owners=[OwnerRow(owner=owner, position=0)],
    )


def _circuit(row: CircuitRow) -> Circuit:
    return Circuit(
        id=row.id,
        purpose=Purpose(row.purpose),
        from_end_point=row.from_end_point,
        to_end_point=row.to_end_point,
        cross_connects=tuple(
            CrossConnect(x.chassis, x.in_port, x.out_port) for x in row.cross_connects
        ),
        km=row.km,
        loss_db=row.loss_db,
        created_at=row.created_at,
        state=CircuitState(row.state),
        established_at=row.established_at,
        owners=tuple(o.owner for o in row.owners),
    )


def _waiting(row: WaitingRow) -> Waiting:
    return Waiting(
        row.owner, Purpose(row.purpose), row.from_end_point, row.to_end_point, row.requested_at
    )

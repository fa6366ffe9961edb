"""The circuit ledger in the database: `sdn_client.ledger.CircuitLedger` over SQLAlchemy.

Statements instead of objects: a circuit is set up in the time that mirrors need, and the ledger
shall not be what people wait for (docs/optical-network.md has the figures).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from database.session import READ_ONLY
from orchestrator.network.tables import (
    CircuitRow,
    CrossConnectRow,
    OwnerRow,
    PortUseRow,
    WaitingRow,
)
from sdn_client.ledger import OWNED, Circuit, CircuitState, Purpose, Snapshot, Waiting
from sdn_client.paths import LightPath
from sdn_client.topology import BandwidthClass, CrossConnect, PortRef

_CIRCUIT = CircuitRow.__table__.c
_CROSS = CrossConnectRow.__table__.c
_OWNER = OwnerRow.__table__.c
_PORT = PortUseRow.__table__.c
_WAITING = WaitingRow.__table__.c
_ALL_CIRCUITS = select(CircuitRow.__table__)
_ALL_CROSSES = select(CrossConnectRow.__table__).order_by(_CROSS.position)
_ALL_OWNERS = select(OwnerRow.__table__).order_by(_OWNER.position)
_ALL_WAITING = select(WaitingRow.__table__)
# Built once: a statement is cheap to run again, and not cheap to build.
_ADD_CIRCUIT = insert(CircuitRow)
_ADD_CROSS = insert(CrossConnectRow)
_ADD_PORT = insert(PortUseRow)
_ADD_OWNER = insert(OwnerRow)
_WAITS_NO_LONGER = delete(WaitingRow).where(_WAITING.owner == bindparam("waiting_owner"))
_STATE_OF = select(_CIRCUIT.state).where(_CIRCUIT.id == bindparam("of_circuit"))
_CIRCUIT_OF_OWNER = select(_OWNER.circuit_id).where(_OWNER.owner == bindparam("of_owner"))


class SqlCircuitLedger:
    """One transaction for each call. The row of a circuit is locked before its owners change, so
    that the last one's leaving and another's joining cannot cross."""

    def __init__(self, engine: Engine) -> None:
        """`engine` with the tables of `migrate_network`."""
        self._engine = engine
        self._reader = engine.execution_options(**{READ_ONLY: True})

    def snapshot(self) -> Snapshot:
        with self._reader.begin() as connection:
            circuits = _circuits(connection)
            waiting = [_waiting(row) for row in connection.execute(_ALL_WAITING)]
        return Snapshot(circuits, sorted(waiting, key=lambda w: (w.requested_at, w.owner)))

    def circuits(self) -> list[Circuit]:
        with self._reader.begin() as connection:
            return _circuits(connection)

    def circuit_of(self, owner: str) -> Circuit | None:
        with self._reader.begin() as connection:
            id_ = connection.scalar(_CIRCUIT_OF_OWNER, {"of_owner": owner})
            return None if id_ is None else _circuit_of(connection, id_)

    def state_of(self, circuit: UUID) -> CircuitState | None:
        with self._reader.begin() as connection:
            state = connection.scalar(_STATE_OF, {"of_circuit": circuit})
        return None if state is None else CircuitState(state)

    def add(self, circuit: Circuit, owner: str, until: datetime | None = None) -> Circuit | None:
        try:
            with self._engine.begin() as connection:
                connection.execute(_ADD_CIRCUIT, [_values(circuit)])
                _take_ports(connection, circuit)
                hold = {"owner": owner, "circuit_id": circuit.id, "position": 0, "until": until}
                connection.execute(_ADD_OWNER, [hold])
                connection.execute(_WAITS_NO_LONGER, {"waiting_owner": owner})
        except IntegrityError:
            return None
        return replace(circuit, owners=(owner,), until={owner: until} if until else {})

    def join(self, circuit: UUID, owner: str, until: datetime | None = None) -> Circuit | None:
        try:
            with self._engine.begin() as connection:
                if _locked_state(connection, circuit) not in OWNED:
                    return None
                last = connection.scalar(
                    select(func.max(_OWNER.position)).where(_OWNER.circuit_id == circuit)
                )
                position = 0 if last is None else last + 1
                hold = {
                    "owner": owner,
                    "circuit_id": circuit,
                    "position": position,
                    "until": until,
                }
                connection.execute(_ADD_OWNER, [hold])
                connection.execute(_WAITS_NO_LONGER, {"waiting_owner": owner})
                return _circuit_of(connection, circuit)
        except IntegrityError:
            return None

    def leave(self, owner: str) -> Circuit | None:
        with self._engine.begin() as connection:
            connection.execute(_WAITS_NO_LONGER, {"waiting_owner": owner})
            id_ = connection.scalar(_CIRCUIT_OF_OWNER, {"of_owner": owner})
            if id_ is None or _locked_state(connection, id_) is None:
                return None
            if not _changed(connection, delete(OwnerRow).where(_OWNER.owner == owner)):
                return None
            left = _circuit_of(connection, id_)
            if left is None or left.owners:
                return left
            if left.state is CircuitState.RESERVED:
                _forget(connection, id_)
                return left
            releasing = update(CircuitRow).where(_CIRCUIT.id == id_)
            connection.execute(releasing.values(state=CircuitState.RELEASING))
            return replace(left, state=CircuitState.RELEASING)

    def move(
        self,
        circuit: UUID,
        sources: Collection[CircuitState],
        target: CircuitState,
        at: datetime | None = None,
    ) -> bool:
        change = update(CircuitRow).where(_CIRCUIT.id == circuit, _CIRCUIT.state.in_(sources))
        change = change.values(state=target)
        if at is not None:
            change = change.values(established_at=at)
        with self._engine.begin() as connection:
            return _changed(connection, change)

    def reroute(self, circuit: UUID, path: LightPath) -> Circuit | None:
        try:
            with self._engine.begin() as connection:
                if _locked_state(connection, circuit) not in OWNED:
                    return None
                there = _circuit_of(connection, circuit)
                assert there is not None  # locked just now
                moved = there.along(path)
                connection.execute(delete(CrossConnectRow).where(_CROSS.circuit_id == circuit))
                if moved.state is not CircuitState.ESTABLISHING:
                    # Nothing passes light over the old path.
                    connection.execute(delete(PortUseRow).where(_PORT.circuit_id == circuit))
                change = update(CircuitRow).where(_CIRCUIT.id == circuit)
                connection.execute(change.values(**_values(moved)))
                _take_ports(connection, moved, has=_ports_of(connection, circuit))
                return moved
        except IntegrityError:
            return None

    def let_go(self, circuit: UUID, chassis: str | None = None) -> None:
        with self._engine.begin() as connection:
            if _locked_state(connection, circuit) is None:
                return
            there = _circuit_of(connection, circuit)
            assert there is not None  # locked just now
            for port in _ports_of(connection, circuit) - set(there.ports):
                if chassis not in (None, port.chassis):
                    continue
                at = (_PORT.chassis == port.chassis, _PORT.port == port.port)
                connection.execute(delete(PortUseRow).where(_PORT.circuit_id == circuit, *at))

    def remove(self, circuit: UUID) -> bool:
        with self._engine.begin() as connection:
            if _locked_state(connection, circuit) is not CircuitState.RELEASING:
                return False
            return _forget(connection, circuit)

    def wait(self, request: Waiting) -> Waiting:
        mine = _WAITING.owner == request.owner
        with self._engine.begin() as connection:
            row = connection.execute(_ALL_WAITING.where(mine).with_for_update()).one_or_none()
            if row is not None:
                there = _waiting(row)
                if there.is_same_wish(request):
                    return there
                connection.execute(delete(WaitingRow).where(mine))
            values = {
                "owner": request.owner,
                "purpose": request.purpose,
                "from_end_point": request.from_end_point,
                "to_end_point": request.to_end_point,
                "requested_at": request.requested_at,
                "bandwidth_class": request.bandwidth_class,
            }
            connection.execute(insert(WaitingRow), [values])
            return request

    def waiting(self) -> list[Waiting]:
        return self.snapshot().waiting


def _changed(connection: Connection, statement: object) -> bool:
    return connection.execute(statement).rowcount == 1  # type: ignore[call-overload,no-any-return]


def _locked_state(connection: Connection, circuit: UUID) -> CircuitState | None:
    state = connection.scalar(
        select(_CIRCUIT.state).where(_CIRCUIT.id == circuit).with_for_update()
    )
    return None if state is None else CircuitState(state)


def _take_ports(
    connection: Connection, circuit: Circuit, has: Collection[PortRef] = frozenset()
) -> None:
    """Write the circuit's path; ports that it `has` already stay."""
    crosses = [
        {
            "circuit_id": circuit.id,
            "position": position,
            "chassis": x.chassis,
            "in_port": x.in_port,
            "out_port": x.out_port,
        }
        for position, x in enumerate(circuit.cross_connects)
    ]
    connection.execute(_ADD_CROSS, crosses)
    # In one order, so that two of them never wait for each other.
    ports = [
        {"chassis": p.chassis, "port": p.port, "circuit_id": circuit.id}
        for p in sorted(set(circuit.ports) - set(has))
    ]
    if ports:
        connection.execute(_ADD_PORT, ports)


def _forget(connection: Connection, circuit: UUID) -> bool:
    _free_ports(connection, circuit)
    connection.execute(delete(OwnerRow).where(_OWNER.circuit_id == circuit))
    return _changed(connection, delete(CircuitRow).where(_CIRCUIT.id == circuit))


def _ports_of(connection: Connection, circuit: UUID) -> set[PortRef]:
    rows = connection.execute(select(_PORT.chassis, _PORT.port).where(_PORT.circuit_id == circuit))
    return {PortRef(row.chassis, row.port) for row in rows}


def _free_ports(connection: Connection, circuit: UUID) -> None:
    connection.execute(delete(PortUseRow).where(_PORT.circuit_id == circuit))
    connection.execute(delete(CrossConnectRow).where(_CROSS.circuit_id == circuit))


def _circuit_of(connection: Connection, circuit: UUID) -> Circuit | None:
    found = _circuits(connection, circuit)
    return found[0] if found else None


def _circuits(connection: Connection, circuit: UUID | None = None) -> list[Circuit]:
    def of(
        query: Select[tuple[object, ...]], column: ColumnElement[UUID]
    ) -> list[Row[tuple[object, ...]]]:
        narrowed = query if circuit is None else query.where(column == circuit)
        return list(connection.execute(narrowed))

    rows = of(_ALL_CIRCUITS, _CIRCUIT.id)
    crosses: dict[UUID, list[CrossConnect]] = defaultdict(list)
    owners: dict[UUID, dict[str, datetime | None]] = defaultdict(dict)
    if rows:
        for x in of(_ALL_CROSSES, _CROSS.circuit_id):
            crosses[x.circuit_id].append(CrossConnect(x.chassis, x.in_port, x.out_port))
        for hold in of(_ALL_OWNERS, _OWNER.circuit_id):
            owners[hold.circuit_id][hold.owner] = hold.until
    circuits = [_circuit(row, crosses[row.id], owners[row.id]) for row in rows]
    return sorted(circuits, key=lambda c: (c.created_at, c.id.bytes))


def _values(circuit: Circuit) -> dict[str, object]:
    return {
        "id": circuit.id,
        "purpose": circuit.purpose,
        "from_end_point": circuit.from_end_point,
        "to_end_point": circuit.to_end_point,
        "km": circuit.km,
        "loss_db": circuit.loss_db,
        "state": circuit.state,
        "created_at": circuit.created_at,
        "established_at": circuit.established_at,
        "bandwidth_class": circuit.bandwidth_class,
    }


def _circuit(
    row: Row[tuple[object, ...]],
    cross_connects: list[CrossConnect],
    owners: dict[str, datetime | None],
) -> Circuit:
    return Circuit(
        id=row.id,
        purpose=Purpose(row.purpose),
        from_end_point=row.from_end_point,
        to_end_point=row.to_end_point,
        cross_connects=tuple(cross_connects),
        km=row.km,
        loss_db=row.loss_db,
        created_at=row.created_at,
        state=CircuitState(row.state),
        established_at=row.established_at,
        owners=tuple(owners),
        bandwidth_class=_bandwidth(row.bandwidth_class),
        until={owner: until for owner, until in owners.items() if until is not None},
    )


def _waiting(row: Row[tuple[object, ...]]) -> Waiting:
    return Waiting(
        row.owner,
        Purpose(row.purpose),
        row.from_end_point,
        row.to_end_point,
        row.requested_at,
        _bandwidth(row.bandwidth_class),
    )


def _bandwidth(text: str | None) -> BandwidthClass | None:
    return None if text is None else BandwidthClass(text)

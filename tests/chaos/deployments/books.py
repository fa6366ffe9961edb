"""All books of the house, once nothing is under way: what is left over, and who disagrees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

from books_of_keys import KeyBooks
from chaos_house import DATA_CENTRES, ON_DOCKER, ChaosHouse
from redis import Redis
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.pool import NullPool
from taskflow.jobs import backends

from database import reading
from emulators.fibre_plant.stand_in import Observer
from nfv_stack.store.tables import InstanceRow
from nfv_stack.store.tables import TransferRow as ArrivingRow
from orchestrator.network.tables import CircuitRow, OwnerRow, WaitingRow
from orchestrator.store.tables import (
    DeploymentRow,
    ImageRow,
    OperationRow,
    PromiseRow,
    StepRow,
    TransferRow,
)
from orchestrator.uploads.tables import UploadRow

_STEPS_AT_THE_END = {"COMPLETED": {"DONE"}, "ROLLED_BACK": {"PENDING", "UNDONE"}}
_UNEXPECTED = (
    "unhandled error",
    "failed unexpectedly",
    "operation could not go on",
    "cannot be looked at",
)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Books:
    """Reads databases, devices, VIMs and folders themselves, not what REST says of them."""

    def __init__(self, house: ChaosHouse) -> None:
        self._house = house

    def told_differences(self) -> list[str]:
        """What the orchestrator itself can be asked, while it runs."""
        return [*self._switch(), *self._light(), *self._chain()]

    def differences(self) -> list[str]:
        """Once no orchestrator runs, so that nothing is on its way."""
        return [
            *self._operations(),
            *self._circuits(),
            *self._transfers(),
            *self._keys(),
            *self._vims(),
            *self._files(),
            *self._flows(),
            *self._board(),
            *self._logs(),
        ]

    def operations(self) -> list[OperationRow]:
        with reading(self._house.books["main"]) as session:
            rows = list(session.scalars(select(OperationRow).order_by(OperationRow.sequence)))
            session.expunge_all()
            return rows

    def operations_in(self, differences: str) -> list[str]:
        """All that is on record of operations that are named there, or whose transfers are."""
        named = {UUID(found) for found in _ID.findall(differences)}
        named |= {row.operation_id for row in self._sent() if row.transfer_id in named}
        told = []
        with reading(self._house.books["main"]) as session:
            for row in session.scalars(select(OperationRow).order_by(OperationRow.sequence)):
                if row.operation_id in named or row.transfer_id in named:
                    steps = session.execute(
                        select(StepRow.name, StepRow.state, StepRow.runs, StepRow.error)
                        .where(StepRow.operation_id == row.operation_id)
                        .order_by(StepRow.position)
                    ).all()
                    told.append(
                        f"{row.kind} {row.operation_id}, transfer {row.transfer_id}: {row.state}, "
                        f"try {row.tries}, on_failure {row.on_failure}, began {row.started_at}, "
                        f"ended {row.ended_at}, {row.error}; {[tuple(step) for step in steps]}"
                    )
        return told

    # --- the orchestrator's rows

    def _operations(self) -> Iterator[str]:
        with reading(self._house.books["main"]) as session:
            steps = session.execute(select(StepRow.operation_id, StepRow.name, StepRow.state)).all()
            deployments = session.execute(
                select(DeploymentRow.deployment_id, DeploymentRow.state)
            ).all()
            promises = session.scalars(
                select(PromiseRow.operation_id).where(PromiseRow.ended_at.is_(None))
            ).all()
            images = {digest.hex() for digest in session.scalars(select(ImageRow.digest))}
            uploads = session.scalars(
                select(UploadRow.name).where(UploadRow.image_digest.is_(None))
            ).all()
        ended = {row.operation_id: row for row in self.operations()}
        for row in ended.values():
            if row.state not in _STEPS_AT_THE_END:
                yield f"operation {row.operation_id} ({row.kind}) is {row.state}: {row.error}"
        for operation_id, name, state in steps:
            allowed = _STEPS_AT_THE_END.get(ended[operation_id].state, {state})
            if state not in allowed:
                yield f"step {name} of {operation_id} ({ended[operation_id].state}) is {state}"
        for deployment_id, state in deployments:
            if state != "REMOVED":
                yield f"deployment {deployment_id} is {state}"
        yield from (f"promise of {operation_id} never ended" for operation_id in promises)
        yield from (f"upload of {name} never ended" for name in uploads)
        catalogue = self._house.lab.layout.folder / "orchestrator" / "catalogue" / "images"
        files = {file.name for file in catalogue.iterdir()}
        ours = {image.digest for image in self._house.images}
        if not images == files == ours:
            yield f"the catalogue should have {ours}, has rows {images} and files {files}"

    # --- circuits, by the ledger, the switch and the light

    def _circuits(self) -> Iterator[str]:
        with reading(self._house.books["main"]) as session:
            circuits = session.scalars(
                select(CircuitRow.id).where(CircuitRow.purpose == "image-transfer")
            ).all()
            owners = session.scalars(
                select(OwnerRow.owner).where(OwnerRow.owner.startswith("operation:"))
            ).all()
            waiting = session.scalars(
                select(WaitingRow.owner).where(WaitingRow.owner.startswith("operation:"))
            ).all()
        yield from (f"circuit {circuit_id} is left" for circuit_id in circuits)
        yield from (f"{owner} owns a circuit" for owner in owners)
        yield from (f"{owner} waits for a circuit" for owner in waiting)

    def _switch(self) -> Iterator[str]:
        for chassis in self._house.get("/api/v1/network/drift"):
            if not chassis["in_step"]:
                yield f"the switch holds other cross-connects than are owned: {chassis}"

    def _light(self) -> Iterator[str]:
        plant = ("127.0.0.1", self._house.lab.layout.ports["plant"])
        with closing(Observer(plant)) as observer:
            state = observer.until(lambda _: True)
        for path in state["paths"]:
            if path["to"] in DATA_CENTRES or path["from"] in DATA_CENTRES:
                yield f"light passes from {path['from']} to {path['to']}"
        yield from (f"the fibre plant says: {alarm}" for alarm in state["alarms"])

    # --- both ends of transfers and keys

    def _transfers(self) -> Iterator[str]:
        arrived = {name: self._arriving(name) for name in DATA_CENTRES}
        sent: set[UUID] = set()
        last = {row.transfer_id: row.state for row in self.operations()}
        for row in self._sent():
            sent.add(row.transfer_id)
            there = arrived[row.data_centre].get(row.transfer_id)
            state = None if there is None else there.state
            if last.get(row.transfer_id) == "COMPLETED":
                if state != "ACKNOWLEDGED" or row.receipt is None:
                    yield f"transfer {row.transfer_id} arrived, and is {state} at its end"
            elif state not in (None, "CANCELLED"):
                yield f"transfer {row.transfer_id} was given up, and is {state} at its end"
            elif state is not None and row.cancelled_at is None:
                yield f"transfer {row.transfer_id} is CANCELLED at its end, and not known to be"
        for name, rows in arrived.items():
            for transfer_id in rows.keys() - sent:
                yield f"{name} knows a transfer {transfer_id} that nobody sent"

    def _sent(self) -> list[TransferRow]:
        with reading(self._house.books["main"]) as session:
            rows = list(session.scalars(select(TransferRow)))
            session.expunge_all()
            return rows

    def _arriving(self, data_centre: str) -> dict[UUID, ArrivingRow]:
        with reading(self._house.books[data_centre]) as session:
            rows = {row.transfer_id: row for row in session.scalars(select(ArrivingRow))}
            session.expunge_all()
            return rows

    def _keys(self) -> Iterator[str]:
        completed = {row.transfer_id for row in self.operations() if row.state == "COMPLETED"}
        ended = {
            row.transfer_id: "COMPLETED" if row.transfer_id in completed else "given up"
            for row in self._sent()
        }
        for site in self._house.lab.plan.sites:
            books = KeyBooks(site.link, self._house.books["main"], self._house.books[site.name])
            yield from books.differences(ended)

    # --- VIMs, folders, TaskFlow's tables, the audit

    def _vims(self) -> Iterator[str]:
        for name in DATA_CENTRES:
            with reading(self._house.books[name]) as session:
                instances = session.scalars(select(InstanceRow.instance_id)).all()
            yield from (f"{name} has instance {instance_id} on record" for instance_id in instances)
            if name != ON_DOCKER:
                yield from (f"{name} holds {file}" for file in self._house.files_of_vim(name))
        yield from (f"Docker has container {c.name}, {c.status}" for c in self._house.containers())
        yield from (f"Docker has image {image}" for image in self._house.images_on_engine())

    def _files(self) -> Iterator[str]:
        state = self._house.lab.layout.folder / "orchestrator"
        for folder in ("pads", "catalogue/incoming", "catalogue/uploads"):
            for file in (state / folder).glob("*"):
                yield f"{folder} holds {file.name}"

    def _flows(self) -> Iterator[str]:
        """TaskFlow's own tables."""
        engine = self._house.books["main"]
        if self._house.replicas == 1:
            file = self._house.lab.layout.folder / "orchestrator" / "workflow.sqlite"
            engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)
        with engine.connect() as connection:
            for table in ("logbooks", "flowdetails", "atomdetails"):
                left = connection.execute(select(func.count()).select_from(text(table))).scalar()
                if left:
                    yield f"TaskFlow keeps {left} rows in {table}"

    def _board(self) -> Iterator[str]:
        """The jobboard that replicas share."""
        if self._house.replicas > 1:
            client = Redis(port=self._house.lab.layout.ports["redis"])
            settings = {"board": "redis", "namespace": "qnfv-operations"}
            with backends.backend("books", settings, client=client) as board:
                yield from (f"the jobboard keeps {job.name}" for job in board.iterjobs())

    def _logs(self) -> Iterator[str]:
        """Errors that nobody expected, of any process."""
        for file in (self._house.lab.layout.folder / "logs").glob("*.log"):
            with file.open(errors="replace") as lines:
                for line in lines:
                    if any(said in line for said in _UNEXPECTED):
                        yield f"{file.name}: {line.strip()[-2000:]}"

    def _chain(self) -> Iterator[str]:
        verdict: dict[str, Any] = self._house.get("/api/v1/audit/verify")
        if not verdict["whole"]:
            yield f"the audit's chain is not whole: {verdict['fault']}"

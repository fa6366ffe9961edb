"""VNF instances: rows of their own before there is a deployment, and that deployment afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from database import changed, reading, writing
from orchestrator.errors import UnknownDeploymentError
from orchestrator.projects.ownership import Kind, Ownership
from orchestrator.sol003.errors import UnknownVnfInstanceError
from orchestrator.sol003.instance import Instance, check_allowed, row_of, too_late
from orchestrator.sol003.members.occurrences import Newest, Occurrences
from orchestrator.sol003.members.shape import Member
from orchestrator.sol003.notifications import outbox
from orchestrator.sol003.onboarding.store import claim
from orchestrator.sol003.packages import Deployable
from orchestrator.sol003.tables import InfoChangeRow, InstantiationRow, VnfInstanceRow
from orchestrator.store.tables import DeploymentRow
from orchestrator.vnf_lcm.records import LcmRecords
from orchestrator.vnf_lcm.states import DeploymentState, OperationState
from orchestrator.workflow.journal import OperationJournal
from timekeeping import Clock

INFO_ATTRIBUTES = {
    "name": "vnfInstanceName",
    "description": "vnfInstanceDescription",
    "key_values": "metadata",
}
"""What can be modified, by the names of its row."""
_CAME_UP = (OperationState.COMPLETED, OperationState.FAILED)


class VnfInstances:
    """Thread-safe. Deployments that came otherwise (`/api/v1`) are instances too, by their id."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        records: LcmRecords,
        journal: OperationJournal,
        ownership: Ownership,
        occurrences: Occurrences,
    ) -> None:
        """`engine` with the tables of `migrate_sol003`."""
        self._engine = engine
        self._clock = clock
        self._records = records
        self._journal = journal
        self._ownership = ownership
        self._occurrences = occurrences

    # --- looking

    def get(self, vnf_instance_id: UUID) -> Instance:
        """Raises UnknownVnfInstanceError."""
        with reading(self._engine) as session:
            row = session.get(VnfInstanceRow, vnf_instance_id)
            if row is not None:
                session.expunge(row)
        if row is not None and self._ownership.sees(Kind.DEPLOYMENT, vnf_instance_id):
            newest = self._occurrences.newest([vnf_instance_id]).get(vnf_instance_id)
            members = None
            if newest is not None:
                members = self._occurrences.members([vnf_instance_id]).get(vnf_instance_id)
            return self._instance(row, None, members, newest)
        if row is None:
            try:
                deployment = self._records.deployment(vnf_instance_id)
            except UnknownDeploymentError:
                pass
            else:
                if self._stands_alone(deployment, self.history()):
                    return self._instance(row_of(deployment))
        raise UnknownVnfInstanceError(
            f"There is no VNF instance {vnf_instance_id}.",
            next_step="List the VNF instances: GET /vnflcm/v1/vnf_instances.",
        )

    def all(self) -> list[Instance]:
        """Newest first."""
        column = VnfInstanceRow.__table__.c.vnf_instance_id
        seen = self._ownership.among(Kind.DEPLOYMENT, column)
        with reading(self._engine) as session:
            rows = list(session.scalars(select(VnfInstanceRow).where(seen)))
            session.expunge_all()
        history = self.history()
        deployments = {row.deployment_id: row for row in self._records.deployments()}
        taken = {row.vnf_instance_id for row in rows}
        rows += [
            row_of(deployment)
            for deployment in deployments.values()
            if deployment.deployment_id not in taken and self._stands_alone(deployment, history)
        ]
        rows.sort(key=lambda row: (row.created_at, row.vnf_instance_id.bytes), reverse=True)
        members, newest = self._occurrences.members(), self._occurrences.newest()
        return [
            self._instance(
                row,
                deployments,
                members.get(row.vnf_instance_id),
                newest.get(row.vnf_instance_id),
            )
            for row in rows
        ]

    def history(self) -> dict[UUID, UUID]:
        """By deployment the instance that it is or was; others are instances themselves."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(InstantiationRow.deployment_id, InstantiationRow.vnf_instance_id)
            )
            return {deployment_id: instance_id for deployment_id, instance_id in rows}

    def packages(self) -> dict[UUID, UUID]:
        """By VNF instance the uploaded package that it is of; others are of images."""
        with reading(self._engine) as session:
            rows = session.execute(
                select(VnfInstanceRow.vnf_instance_id, VnfInstanceRow.package_id).where(
                    VnfInstanceRow.package_id.is_not(None)
                )
            )
            return {
                instance_id: package_id
                for instance_id, package_id in rows
                if package_id is not None
            }

    def info_changes(self) -> list[InfoChangeRow]:
        """The MODIFY_INFO occurrences that who asks may know of."""
        column = InfoChangeRow.__table__.c.vnf_instance_id
        seen = self._ownership.among(Kind.DEPLOYMENT, column)
        with reading(self._engine) as session:
            rows = list(session.scalars(select(InfoChangeRow).where(seen)))
            session.expunge_all()
            return rows

    def info_change(self, occurrence_id: UUID) -> InfoChangeRow | None:
        """One of `info_changes`."""
        with reading(self._engine) as session:
            row = session.get(InfoChangeRow, occurrence_id)
            if row is not None:
                session.expunge(row)
        if row is None or not self._ownership.sees(Kind.DEPLOYMENT, row.vnf_instance_id):
            return None
        return row

    # --- changing

    def create(
        self, source: Deployable, name: str, description: str, key_values: dict[str, Any]
    ) -> Instance:
        """A NOT_INSTANTIATED one. Raises UnknownProjectError or ProjectChoiceError (`key_values`
        may name its `project`), and UnknownVnfdError or VnfPackageStateError."""
        asked = key_values.get("project")
        project = self._ownership.choose(None if asked is None else str(asked))
        vnf_instance_id = uuid4()
        with writing(self._engine) as session:
            if source.package_id is not None:
                claim(session, source.package_id)
            row = VnfInstanceRow(
                vnf_instance_id=vnf_instance_id,
                image_digest=source.image_digest,
                package_id=source.package_id,
                name=name,
                description=description,
                key_values=key_values,
                deployment_id=vnf_instance_id,
                version=1,
                created_at=self._clock.now(),
            )
            session.add(row)
            session.add(
                InstantiationRow(deployment_id=vnf_instance_id, vnf_instance_id=vnf_instance_id)
            )
            self._ownership.own(session, Kind.DEPLOYMENT, vnf_instance_id, project)
            outbox.instance_created(session, row, row.created_at)
        return self.get(vnf_instance_id)

    def modify(self, instance: Instance, **values: Any) -> UUID:
        """Set `name`, `description` or `key_values`; the id of its occurrence.

        Raises VnfInstanceStateError where somebody else was faster.
        """
        occurrence_id = uuid4()

        def note(session: Session) -> None:
            change = InfoChangeRow(
                occurrence_id=occurrence_id,
                vnf_instance_id=instance.row.vnf_instance_id,
                changes=values,
                at=self._clock.now(),
            )
            session.add(change)
            told = {INFO_ATTRIBUTES[name]: value for name, value in values.items()}
            outbox.info_changed(session, instance.row, change, told)

        self._change(instance, values, note)
        return occurrence_id

    def delete(self, instance: Instance) -> None:
        """Raises VnfInstanceStateError unless it is NOT_INSTANTIATED."""
        check_allowed(instance, "delete")
        self._change(instance, {}, lambda _: None)
        row = instance.row
        with writing(self._engine) as session:
            gone = changed(
                session,
                delete(VnfInstanceRow).where(
                    VnfInstanceRow.vnf_instance_id == row.vnf_instance_id,
                    VnfInstanceRow.version == row.version + 1,
                ),
            )
            if gone != 1:
                raise too_late(instance)
            session.execute(
                delete(InfoChangeRow).where(InfoChangeRow.vnf_instance_id == row.vnf_instance_id)
            )
            outbox.instance_deleted(session, row, self._clock.now())
            if instance.deployment is None:  # it was never deployed under this id
                if session.get(DeploymentRow, row.deployment_id) is not None:
                    raise too_late(instance)  # until just now
                session.execute(
                    delete(InstantiationRow).where(
                        InstantiationRow.deployment_id == row.deployment_id
                    )
                )
            if session.get(DeploymentRow, row.vnf_instance_id) is None:
                self._ownership.disown(session, Kind.DEPLOYMENT, row.vnf_instance_id)

    def next_deployment(self, instance: Instance) -> UUID:
        """The id under which it is to be deployed now: the same one until there is such a
        deployment, so that two who ask at the same time get one."""
        check_allowed(instance, "instantiate")
        if instance.deployment is None:
            self._change(instance, {}, lambda _: None)
            return instance.row.deployment_id
        deployment_id = uuid4()

        def note(session: Session) -> None:
            session.add(
                InstantiationRow(
                    deployment_id=deployment_id, vnf_instance_id=instance.row.vnf_instance_id
                )
            )

        self._change(instance, {"deployment_id": deployment_id}, note)
        return deployment_id

    def hold(self, session: Session, instance: Instance, deployment_id: UUID) -> None:
        """Within the transaction that records its deployment: it is there still, and stays.

        Raises VnfInstanceStateError.
        """
        row = session.get(VnfInstanceRow, instance.row.vnf_instance_id, with_for_update=True)
        if row is None or row.deployment_id != deployment_id:
            raise too_late(instance)

    def claim(self, session: Session, instance: Instance) -> None:
        """Within the transaction that begins something with several members: nobody else begins
        anything with them. Raises VnfInstanceStateError."""
        self._touch(session, instance, {})

    # --- inside

    def _change(
        self, instance: Instance, values: dict[str, Any], note: Callable[[Session], None]
    ) -> None:
        with writing(self._engine) as session:
            self._touch(session, instance, values)
            note(session)

    @staticmethod
    def _touch(session: Session, instance: Instance, values: dict[str, Any]) -> None:
        row = instance.row
        if session.get(VnfInstanceRow, row.vnf_instance_id) is None and row.version == 0:
            # A deployment that came otherwise gets a row of its own now.
            session.add(row_of(instance.deployment))
            if session.get(InstantiationRow, row.deployment_id) is None:
                session.add(
                    InstantiationRow(
                        deployment_id=row.deployment_id, vnf_instance_id=row.vnf_instance_id
                    )
                )
            session.flush()
        moved = changed(
            session,
            update(VnfInstanceRow)
            .where(
                VnfInstanceRow.vnf_instance_id == row.vnf_instance_id,
                VnfInstanceRow.version == row.version,
            )
            .values(version=row.version + 1, **values),
        )
        if moved != 1:
            raise too_late(instance)

    def _instance(
        self,
        row: VnfInstanceRow,
        deployments: dict[UUID, DeploymentRow] | None = None,
        members: list[Member] | None = None,
        newest: Newest | None = None,
    ) -> Instance:
        deployment = None
        if deployments is not None:
            deployment = deployments.get(row.deployment_id)
        else:
            try:
                deployment = self._records.deployment(row.deployment_id)
            except UnknownDeploymentError:
                deployment = None
        if members and newest is not None and newest.instantiation is not None:
            came_up = newest.instantiation.state in _CAME_UP
            return Instance(row, deployment, came_up, members, newest)
        is_there = deployment is not None and self._is_there(deployment)
        return Instance(row, deployment, is_there, newest=newest)

    def _is_there(self, deployment: DeploymentRow) -> bool:
        if deployment.state in (DeploymentState.DEPLOYING, DeploymentState.REMOVED):
            return False
        if deployment.state != DeploymentState.FAILED:
            return True
        newest = self._journal.of_deployment(deployment.deployment_id)[-1]
        return newest.state != OperationState.ROLLED_BACK or newest.kind != "INSTANTIATE"

    @staticmethod
    def _stands_alone(deployment: DeploymentRow, history: dict[UUID, UUID]) -> bool:
        """Whether it is an instance although no row says so."""
        if deployment.state == DeploymentState.REMOVED:
            return False
        return (
            deployment.deployment_id not in history or deployment.state != DeploymentState.FAILED
        ) and history.get(deployment.deployment_id, deployment.deployment_id) == (
            deployment.deployment_id
        )

"""Deployments and transfers in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Engine, func, or_, select, type_coerce, update
from sqlalchemy.orm import Session, aliased

from database import in_batches, reading, writing
from image_transfer.header import Header
from key_management.ledger import KeyRecord, Message
from nfv_stack.contract.ordering import CommandOrder
from orchestrator.errors import (
    DeploymentStateError,
    UnknownDeploymentError,
    UnknownImageError,
)
from orchestrator.projects.ownership import Kind, NoProjects, Ownership
from orchestrator.store.tables import (
    DeploymentRow,
    ImageRow,
    OperationRow,
    TransferAttemptRow,
    TransferRow,
)
from orchestrator.vnf_lcm.states import DeploymentState, OperationState
from orchestrator.workflow.claims.fences import Fences
from timekeeping import Clock


@dataclass(frozen=True)
class Work:
    """All that the steps of one operation need to know of it."""

    operation_id: UUID
    transfer_id: UUID
    """The transfer of the operation's present try; it also owns the keys."""
    deployment: DeploymentRow
    image: ImageRow

    @property
    def message(self) -> Message:
        """What the key of this try protects."""
        return Message(self.transfer_id, self.image.digest, self.deployment.data_centre)


class LcmRecords:
    """Thread-safe; every method is one transaction."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        ownership: Ownership | None = None,
        fences: Fences | None = None,
    ) -> None:
        """With `fences` nobody tells how far an image is, or commands an instance, who lost his
        claim to its operation."""
        self._engine = engine
        self._fences = fences
        self._clock = clock
        self._ownership = ownership or NoProjects()

    def work(self, operation_id: UUID) -> Work:
        """Raises UnknownImageError if the catalogue has lost the image."""
        deployment = self.deployment_of(operation_id)
        transfer_id = self.key_owner(operation_id)
        with reading(self._engine) as session:
            image = session.get(ImageRow, deployment.image_digest)
            if image is None:
                raise UnknownImageError(
                    f"The image of {deployment.name} is no longer in the catalogue.",
                    next_step="Add the image again, then deploy it.",
                )
            session.expunge(image)
        return Work(operation_id, transfer_id, deployment, image)

    def key_owner(self, operation_id: UUID) -> UUID:
        """Under whose name keys are kept for the operation's present try: its transfer's."""
        with reading(self._engine) as session:
            return session.scalars(
                select(OperationRow.transfer_id).where(OperationRow.operation_id == operation_id)
            ).one()

    def order_of(self, operation_id: UUID) -> CommandOrder:
        """With what the operation's commands to its instance go out. Raises ClaimLostError.

        By time, so that the commands of a database that was restored are later than those that it
        does not know; and by count, so that clocks of replicas that differ turn nothing round.
        """
        this = aliased(OperationRow)
        last_created_at_us = type_coerce(func.max(OperationRow.created_at), BigInteger)
        with reading(self._engine) as session:
            created_at_us, count = session.execute(
                select(last_created_at_us, func.count())
                .join(this, this.deployment_id == OperationRow.deployment_id)
                .where(this.operation_id == operation_id, OperationRow.sequence <= this.sequence)
            ).one()
        claim = 0 if self._fences is None else self._fences.number(operation_id)
        return CommandOrder(created_at_us + count, claim)

    def deployment_of(self, operation_id: UUID) -> DeploymentRow:
        """What an operation is about; enough to undo or remove it without its image."""
        with reading(self._engine) as session:
            deployment = session.scalars(
                select(DeploymentRow)
                .join(OperationRow, OperationRow.deployment_id == DeploymentRow.deployment_id)
                .where(OperationRow.operation_id == operation_id)
            ).one()
            session.expunge(deployment)
            return deployment

    # --- deployments ------------------------------------------------------------------------------

    def deployment(self, deployment_id: UUID) -> DeploymentRow:
        is_seen = self._ownership.sees(Kind.DEPLOYMENT, deployment_id)
        with reading(self._engine) as session:
            row = session.get(DeploymentRow, deployment_id)
            if row is None or not is_seen:
                raise UnknownDeploymentError(
                    f"There is no deployment {deployment_id}.",
                    next_step="List the deployments with `qnfv vnf list`.",
                )
            session.expunge(row)
            return row

    def deployments(self) -> list[DeploymentRow]:
        seen = self._seen()
        with reading(self._engine) as session:
            rows = session.scalars(
                select(DeploymentRow).where(seen).order_by(DeploymentRow.created_at.desc())
            ).all()
            session.expunge_all()
            return list(rows)

    def _seen(self) -> ColumnElement[bool]:
        """Deployments that who asks may know of. It asks the database: before a session, not in
        one, or a request holds two connections."""
        return self._ownership.among(Kind.DEPLOYMENT, DeploymentRow.__table__.c.deployment_id)

    def deployments_in(self, states: Collection[DeploymentState]) -> list[DeploymentRow]:
        """Deployments in these states, oldest first."""
        seen = self._seen()
        with reading(self._engine) as session:
            rows = session.scalars(
                select(DeploymentRow)
                .where(DeploymentRow.state.in_([state.value for state in states]), seen)
                .order_by(DeploymentRow.created_at)
            ).all()
            session.expunge_all()
            return list(rows)

    def set_instance(self, deployment_id: UUID, instance: dict[str, Any]) -> None:
        """Keep the instance as the data centre answered."""
        with writing(self._engine) as session:
            session.execute(
                update(DeploymentRow)
                .where(DeploymentRow.deployment_id == deployment_id)
                .values(instance=instance, changed_at=self._clock.now())
            )

    def image_users(self, digest: bytes) -> int:
        """How many deployments that who asks may know of need this image of the catalogue."""
        return self.users_of_images([digest])[digest]

    def users_of_images(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """`image_users` of each of `digests`."""
        gone = (DeploymentState.REMOVED.value, DeploymentState.FAILED.value)
        asked = list(digests)
        found = dict.fromkeys(asked, 0)
        seen = self._seen()
        with reading(self._engine) as session:
            for some in in_batches(asked):
                rows = session.execute(
                    select(DeploymentRow.image_digest, func.count())
                    .where(
                        DeploymentRow.image_digest.in_(some),
                        DeploymentRow.state.not_in(gone),
                        seen,
                    )
                    .group_by(DeploymentRow.image_digest)
                )
                found.update((bytes(digest), count) for digest, count in rows)
        return found

    def operations_seen(self, operation_ids: Collection[UUID]) -> set[UUID]:
        """Those of `operation_ids` that who asks may know of."""
        seen = self._ownership.among(Kind.DEPLOYMENT, OperationRow.__table__.c.deployment_id)
        some = OperationRow.operation_id.in_(list(operation_ids))
        with reading(self._engine) as session:
            return set(session.scalars(select(OperationRow.operation_id).where(some, seen)))

    def sees_transfer(self, transfer_id: UUID) -> bool:
        """Whether who asks may know of the operation that it is a try of."""
        seen = self._ownership.among(Kind.DEPLOYMENT, OperationRow.__table__.c.deployment_id)
        of_it = or_(
            OperationRow.transfer_id == transfer_id,
            OperationRow.operation_id.in_(
                select(TransferRow.operation_id).where(TransferRow.transfer_id == transfer_id)
            ),
        )
        with reading(self._engine) as session:
            found = select(OperationRow.operation_id).where(of_it, seen).limit(1)
            return session.scalar(found) is not None

    def project_of(self, deployment_id: UUID) -> str:
        """The project that owns a deployment."""
        return self.projects_of([deployment_id])[deployment_id]

    def projects_of(self, deployment_ids: Collection[UUID]) -> dict[UUID, str]:
        """The project that owns each deployment; empty where its project was deleted."""
        owners = self._ownership.owners_of(Kind.DEPLOYMENT, deployment_ids)
        return {each: next(iter(owners[each.bytes]), "") for each in deployment_ids}

    def own(self, session: Session, deployment_id: UUID, image: ImageRow, project: str) -> None:
        """Within the transaction that records a deployment: whose it is, and its image too.

        Raises DeploymentStateError for an id that another project has, be it of a VNF instance
        without a deployment. Those ids are ours and told to nobody before they are owned, so no
        two transactions race for one.
        """
        if not self._ownership.is_free(session, Kind.DEPLOYMENT, deployment_id, project):
            raise unusable_id(deployment_id)
        self._ownership.own(session, Kind.DEPLOYMENT, deployment_id, project)
        self._ownership.own(
            session, Kind.IMAGE, image.digest, project, name=image.name, was_there=True
        )

    def chosen_project(self, project: str | None) -> str:
        """Whose something new will be. Raises UnknownProjectError or ProjectChoiceError."""
        return self._ownership.choose(project)

    # --- transfers --------------------------------------------------------------------------------

    def open_transfer(self, work: Work, link: str, keys: Sequence[KeyRecord]) -> None:
        """Record the transfer of an operation's try; it is there already after a crash.

        A pad has many keys; the first one names it.
        """
        with writing(self._engine) as session:
            if session.get(TransferRow, work.transfer_id) is None:
                session.add(
                    TransferRow(
                        transfer_id=work.transfer_id,
                        operation_id=work.operation_id,
                        data_centre=work.deployment.data_centre,
                        link=link,
                        key_id=keys[0].key_id,
                        emulated_key=any(key.emulated for key in keys),
                        cipher=work.deployment.cipher,
                        image_digest=work.image.digest,
                        image_size=work.image.size,
                        vim_image_id=work.image.vim_image_id,
                        bytes_sent=0,
                        created_at=self._clock.now(),
                    )
                )

    def transfer(self, transfer_id: UUID) -> TransferRow | None:
        with reading(self._engine) as session:
            row = session.get(TransferRow, transfer_id)
            if row is not None:
                session.expunge(row)
            return row

    def transfer_of(self, operation_id: UUID) -> TransferRow | None:
        """The transfer of an operation's present try."""
        with reading(self._engine) as session:
            row = session.scalars(
                select(TransferRow)
                .join(OperationRow, OperationRow.transfer_id == TransferRow.transfer_id)
                .where(OperationRow.operation_id == operation_id)
            ).first()
            if row is not None:
                session.expunge(row)
            return row

    def transfers_to_cancel(self, operation_id: UUID) -> list[TransferRow]:
        """Transfers of an operation's tries that the data centre may still know, oldest first."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(TransferRow)
                .where(TransferRow.operation_id == operation_id, TransferRow.cancelled_at.is_(None))
                .order_by(TransferRow.created_at)
            ).all()
            session.expunge_all()
            return list(rows)

    def transfers_left_by(self, deployment_id: UUID) -> list[TransferRow]:
        """Transfers of this deployment's operations that were given up as they were."""
        with reading(self._engine) as session:
            rows = session.scalars(
                select(TransferRow)
                .join(OperationRow, OperationRow.operation_id == TransferRow.operation_id)
                .where(
                    OperationRow.deployment_id == deployment_id,
                    OperationRow.state == OperationState.FAILED.value,
                    TransferRow.cancelled_at.is_(None),
                )
            ).all()
            session.expunge_all()
            return list(rows)

    def note_cancelled(self, transfer_id: UUID) -> None:
        """The data centre keeps nothing of this transfer."""
        self._set_transfer(transfer_id, cancelled_at=self._clock.now())

    def transfers(self, limit: int) -> list[TransferRow]:
        seen = self._ownership.among(Kind.DEPLOYMENT, OperationRow.__table__.c.deployment_id)
        with reading(self._engine) as session:
            rows = session.scalars(
                select(TransferRow)
                .join(OperationRow, OperationRow.operation_id == TransferRow.operation_id)
                .where(seen)
                .order_by(TransferRow.created_at.desc())
                .limit(limit)
            ).all()
            session.expunge_all()
            return list(rows)

    def journal_attempt(self, header: Header) -> None:
        """Keep the header before its first byte leaves (image_transfer/FORMAT.md, section 5)."""
        with writing(self._engine) as session:
            session.add(
                TransferAttemptRow(
                    transfer_id=header.announcement.transfer_id,
                    number=header.attempt.number,
                    header=header.encode(),
                    started_at=self._clock.now(),
                )
            )

    def journal_pad_attempt(self, transfer_id: UUID, number: int) -> None:
        """An attempt under a one-time pad: it has no header of its own."""
        with writing(self._engine) as session:
            session.add(
                TransferAttemptRow(
                    transfer_id=transfer_id,
                    number=number,
                    header=b"",
                    started_at=self._clock.now(),
                )
            )

    def attempt_header(self, transfer_id: UUID, number: int) -> Header | None:
        with reading(self._engine) as session:
            row = session.get(TransferAttemptRow, (transfer_id, number))
            return None if row is None else Header.decode(row.header)

    def attempts(self, transfer_id: UUID) -> int:
        with reading(self._engine) as session:
            return (
                session.scalar(
                    select(func.count())
                    .select_from(TransferAttemptRow)
                    .where(TransferAttemptRow.transfer_id == transfer_id)
                )
                or 0
            )

    def set_progress(
        self, operation_id: UUID, transfer_id: UUID, bytes_sent: int, rate: float | None
    ) -> None:
        """Raises ClaimLostError."""
        self._set_transfer(
            transfer_id, claimed=operation_id, bytes_sent=bytes_sent, rate_bytes_per_s=rate
        )

    def set_receipt(self, transfer_id: UUID, receipt: bytes) -> None:
        self._set_transfer(transfer_id, receipt=receipt)

    def _set_transfer(
        self, transfer_id: UUID, *, claimed: UUID | None = None, **values: Any
    ) -> None:
        """With `claimed` only while the claim to that operation holds."""
        with writing(self._engine) as session:
            if claimed is not None and self._fences is not None:
                self._fences.check(session, claimed)
            session.execute(
                update(TransferRow).where(TransferRow.transfer_id == transfer_id).values(**values)
            )


def unusable_id(deployment_id: UUID) -> DeploymentStateError:
    """The same answer whether such a deployment is another's or cannot be."""
    return DeploymentStateError(
        f"The id {deployment_id} cannot be used.", next_step="Choose a new id."
    )

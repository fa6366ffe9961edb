"""Writes notifications into the transactions of the changes that they tell of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.accounts.identity import Role
from orchestrator.accounts.tables import UserRow
from orchestrator.projects.ownership import Kind
from orchestrator.projects.tables import MemberRow, OwnedRow
from orchestrator.sol003.notifications.documents import (
    CREATION,
    DELETION,
    OCCURRENCE,
    LifecycleChangeNotificationsFilter,
)
from orchestrator.sol003.notifications.tables import NotificationRow, SubscriptionRow
from orchestrator.sol003.onboarding.image_vnfd import vnfd_id
from orchestrator.sol003.onboarding.tables import VnfPackageRow
from orchestrator.sol003.tables import (
    InfoChangeRow,
    InstantiationRow,
    OccurrenceRow,
    VnfInstanceRow,
)
from orchestrator.store.tables import DeploymentRow, OperationRow
from orchestrator.vnf_lcm.states import ADMISSIBLE, OperationState

_STARTS = (OperationState.STARTING, OperationState.PROCESSING, OperationState.ROLLING_BACK)


@dataclass(frozen=True)
class _Subject:
    """The VNF instance that a change is about."""

    instance_id: UUID
    owned_id: UUID
    """Under which id projects own it."""
    vnfd_id: UUID
    name: str


def operation_changed(session: Session, operation: OperationRow, now: datetime) -> None:
    """An operation entered another state. Which of its ways to wait it takes, nobody is told."""
    state = OperationState(operation.state)
    if state in ADMISSIBLE and state is not OperationState.STARTING:
        return
    subscriptions = _subscriptions(session)
    if not subscriptions:
        return
    deployment = session.get(DeploymentRow, operation.deployment_id)
    if deployment is None:
        return
    told: dict[str, Any] = {
        "notificationStatus": "START" if state in _STARTS else "RESULT",
        "operationState": state.value,
        "operation": operation.kind,
        "isAutomaticInvocation": False,
        "vnfLcmOpOccId": str(operation.operation_id),
    }
    if state is not OperationState.COMPLETED and operation.error is not None:
        told["error"] = operation.error
    _write(session, subscriptions, OCCURRENCE, _subject_of(session, deployment), told, now)


def occurrence_changed(
    session: Session, occurrence: OccurrenceRow, error: dict[str, Any] | None, now: datetime
) -> None:
    """An occurrence over several members entered another state."""
    subscriptions = _subscriptions(session)
    instance = session.get(VnfInstanceRow, occurrence.vnf_instance_id)
    if not subscriptions or instance is None:
        return
    state = OperationState(occurrence.state)
    told: dict[str, Any] = {
        "notificationStatus": "START" if state in _STARTS else "RESULT",
        "operationState": state.value,
        "operation": occurrence.kind,
        "isAutomaticInvocation": False,
        "vnfLcmOpOccId": str(occurrence.occurrence_id),
    }
    if error is not None:
        told["error"] = error
    _write(session, subscriptions, OCCURRENCE, _subject(session, instance), told, now)


def info_changed(
    session: Session, instance: VnfInstanceRow, change: InfoChangeRow, told: dict[str, Any]
) -> None:
    """A MODIFY_INFO occurrence, which is done in the transaction that records it."""
    subscriptions = _subscriptions(session)
    if not subscriptions:
        return
    for state in (OperationState.STARTING, OperationState.COMPLETED):
        _write(
            session,
            subscriptions,
            OCCURRENCE,
            _subject(session, instance),
            {
                "notificationStatus": "START" if state in _STARTS else "RESULT",
                "operationState": state.value,
                "operation": "MODIFY_INFO",
                "isAutomaticInvocation": False,
                "vnfLcmOpOccId": str(change.occurrence_id),
                **({"changedInfo": told} if state is OperationState.COMPLETED else {}),
            },
            change.at,
        )


def instance_created(session: Session, instance: VnfInstanceRow, now: datetime) -> None:
    subscriptions = _subscriptions(session)
    if subscriptions:
        _write(session, subscriptions, CREATION, _subject(session, instance), {}, now)


def instance_deleted(session: Session, instance: VnfInstanceRow, now: datetime) -> None:
    """Before its owners are forgotten."""
    subscriptions = _subscriptions(session)
    if subscriptions:
        _write(session, subscriptions, DELETION, _subject(session, instance), {}, now)


def has_account(session: Session, row: SubscriptionRow) -> bool:
    """Whether the subscriber still is somebody."""
    return row.user_id is None or session.get(UserRow, row.user_id) is not None


def may_still_know(session: Session, row: SubscriptionRow, body: Mapping[str, Any]) -> bool:
    """Whether a notification that waited may be told: what nobody owns any more was his then."""
    instance_id = UUID(body["vnfInstanceId"])
    owned = select(OwnedRow.project).where(
        OwnedRow.kind == Kind.DEPLOYMENT.value, OwnedRow.thing == instance_id.bytes
    )
    if session.scalars(owned.limit(1)).first() is None:
        return has_account(session, row)
    return _sees(session, row, instance_id)


# --- inside


def _subscriptions(session: Session) -> list[SubscriptionRow]:
    return list(session.scalars(select(SubscriptionRow)))


def _write(
    session: Session,
    subscriptions: list[SubscriptionRow],
    kind: str,
    subject: _Subject,
    told: Mapping[str, Any],
    now: datetime,
) -> None:
    for row in subscriptions:
        if not _wants(row, kind, subject, told) or not _sees(session, row, subject.owned_id):
            continue
        root = f"{row.root}/vnflcm/v1"
        links = {
            "vnfInstance": {"href": f"{root}/vnf_instances/{subject.instance_id}"},
            "subscription": {"href": f"{root}/subscriptions/{row.subscription_id}"},
        }
        if "vnfLcmOpOccId" in told:
            links["vnfLcmOpOcc"] = {"href": f"{root}/vnf_lcm_op_occs/{told['vnfLcmOpOccId']}"}
        body = {
            "id": str(uuid4()),
            "notificationType": kind,
            "subscriptionId": str(row.subscription_id),
            "timeStamp": now.isoformat(),
            "vnfInstanceId": str(subject.instance_id),
            **told,
            "_links": links,
        }
        session.add(NotificationRow(subscription_id=row.subscription_id, body=body, created_at=now))


def _wants(row: SubscriptionRow, kind: str, subject: _Subject, told: Mapping[str, Any]) -> bool:
    wish = LifecycleChangeNotificationsFilter.model_validate(row.filter)
    pairs: list[tuple[Any, list[Any] | None]] = [(kind, wish.notification_types)]
    if kind == OCCURRENCE:
        pairs += [
            (told["operation"], wish.operation_types),
            (told["operationState"], wish.operation_states),
        ]
    if (of := wish.vnf_instance_subscription_filter) is not None:
        pairs += [
            (subject.vnfd_id, of.vnfd_ids),
            (subject.instance_id, of.vnf_instance_ids),
            (subject.name, of.vnf_instance_names),
        ]
    return all(wished is None or has in wished for has, wished in pairs)


def _sees(session: Session, row: SubscriptionRow, owned_id: UUID) -> bool:
    """Whether the subscriber may know of it, as his account is at this moment."""
    if row.user_id is None:
        return True
    user = session.get(UserRow, row.user_id)
    if user is None:
        return False
    if row.sees_all and user.role == Role.ADMINISTRATOR:
        return True
    shared = (
        select(MemberRow.project)
        .join(OwnedRow, OwnedRow.project == MemberRow.project)
        .where(
            MemberRow.user_id == row.user_id,
            OwnedRow.kind == Kind.DEPLOYMENT.value,
            OwnedRow.thing == owned_id.bytes,
        )
    )
    return session.scalars(shared.limit(1)).first() is not None


def _subject_of(session: Session, deployment: DeploymentRow) -> _Subject:
    origin = session.get(InstantiationRow, deployment.deployment_id)
    instance_id = deployment.deployment_id if origin is None else origin.vnf_instance_id
    instance = session.get(VnfInstanceRow, instance_id)
    if instance is None:
        digest = deployment.image_digest
        return _Subject(instance_id, deployment.deployment_id, vnfd_id(digest), deployment.name)
    return _subject(session, instance)


def _subject(session: Session, instance: VnfInstanceRow) -> _Subject:
    package = (
        None if instance.package_id is None else session.get(VnfPackageRow, instance.package_id)
    )
    known = package.vnfd_id if package is not None else None
    instance_id = instance.vnf_instance_id
    return _Subject(
        instance_id, instance_id, known or vnfd_id(instance.image_digest), instance.name
    )

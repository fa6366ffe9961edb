"""Subscriptions in the database; what they authenticate with is wrapped."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from database import reading, writing
from key_management.wrapping import WrappingKeys
from orchestrator.accounts.identity import Role, asking
from orchestrator.accounts.tables import UserRow
from orchestrator.sol003.notifications.callbacks import Callbacks
from orchestrator.sol003.notifications.documents import (
    LccnSubscriptionRequest,
    LifecycleChangeNotificationsFilter,
    SubscriptionAuthentication,
)
from orchestrator.sol003.notifications.errors import (
    SubscriptionLimitError,
    UnknownSubscriptionError,
)
from orchestrator.sol003.notifications.tables import NotificationRow, SubscriptionRow
from timekeeping import Clock

_MOST = 100
"""Subscriptions of one person."""


class Subscriptions:
    """Thread-safe. Who asks sees his own; administrators see those of others too."""

    def __init__(
        self, engine: Engine, clock: Clock, callbacks: Callbacks, wrapping: WrappingKeys
    ) -> None:
        """`engine` with the tables of `migrate_sol003`; `wrapping` of a folder of their own."""
        self._engine = engine
        self._clock = clock
        self._callbacks = callbacks
        self._wrapping = wrapping

    # --- looking

    def get(self, subscription_id: UUID) -> SubscriptionRow:
        """Raises UnknownSubscriptionError."""
        user_id, sees_all = _asker()
        with reading(self._engine) as session:
            row = session.get(SubscriptionRow, subscription_id)
            if row is None or not (sees_all or row.user_id == user_id):
                raise UnknownSubscriptionError(
                    f"You have no subscription {subscription_id}.",
                    next_step="List yours: GET /vnflcm/v1/subscriptions.",
                )
            session.expunge(row)
            return row

    def all(self) -> list[SubscriptionRow]:
        """Newest first."""
        user_id, sees_all = _asker()
        with reading(self._engine) as session:
            rows = session.scalars(
                select(SubscriptionRow).order_by(SubscriptionRow.created_at.desc())
            ).all()
            session.expunge_all()
        return [row for row in rows if sees_all or row.user_id == user_id]

    def authentication(self, row: SubscriptionRow) -> SubscriptionAuthentication | None:
        """Raises WrappingKeyError where what unwraps it is gone."""
        if row.authentication is None:
            return None
        subscription_id = row.subscription_id
        plain = self._wrapping.unwrap(subscription_id, row.authentication, subscription_id.bytes)
        return SubscriptionAuthentication.model_validate_json(bytes(plain))

    # --- changing

    def subscribe(self, wanted: LccnSubscriptionRequest, root: str) -> tuple[SubscriptionRow, bool]:
        """The subscription, and whether it is new: the same asked for again is one.

        Raises CallbackRefusedError, after the callback was tested, CallbackTestsBusyError, or
        SubscriptionLimitError.
        """
        user_id, sees_all = _asker()
        wish = wanted.filter or LifecycleChangeNotificationsFilter()
        stored = wish.json_document()
        likeness = _likeness(user_id, wanted.callback_uri, stored)
        if (known := self._like(likeness)) is not None:
            return known, False
        self._check_limit(user_id)
        subscription_id = uuid4()
        self._callbacks.test(subscription_id, wanted.callback_uri, wanted.authentication)
        now = self._clock.now()
        row = SubscriptionRow(
            subscription_id=subscription_id,
            user_id=user_id,
            sees_all=sees_all,
            callback_uri=wanted.callback_uri,
            filter=stored,
            likeness=likeness,
            authentication=self._wrapped(subscription_id, wanted.authentication),
            root=root,
            tries=0,
            next_try_at=now,
            created_at=now,
        )
        try:
            with writing(self._engine) as session:
                session.add(row)
        except IntegrityError:  # the same request, at the same time
            self._forget_key(subscription_id)
            if (known := self._like(likeness)) is None:
                raise
            return known, False
        return row, True

    def delete(self, subscription_id: UUID) -> None:
        """What was not delivered is not any more. Raises UnknownSubscriptionError."""
        self.get(subscription_id)
        self.remove(subscription_id)

    def remove(self, subscription_id: UUID) -> None:
        """Whosever it is, and whether or not it is there."""
        with writing(self._engine) as session:
            session.execute(
                delete(SubscriptionRow).where(SubscriptionRow.subscription_id == subscription_id)
            )
            session.execute(
                delete(NotificationRow).where(NotificationRow.subscription_id == subscription_id)
            )
        self._forget_key(subscription_id)

    def settle(self) -> None:
        """Call at start: what deleted accounts, subscriptions or a crash left behind goes."""
        with writing(self._engine) as session:
            session.execute(
                delete(SubscriptionRow).where(
                    SubscriptionRow.user_id.is_not(None),
                    SubscriptionRow.user_id.not_in(select(UserRow.user_id)),
                )
            )
            known = set(session.scalars(select(SubscriptionRow.subscription_id)))
            session.execute(
                delete(NotificationRow).where(NotificationRow.subscription_id.not_in(known))
            )
        for subscription_id in self._wrapping.epochs() - known:
            self._forget_key(subscription_id)

    def note_delivery(self, subscription_id: UUID, *, tries: int, pause_s: float) -> None:
        """How the newest try went, and when the next one may come."""
        with writing(self._engine) as session:
            session.execute(
                update(SubscriptionRow)
                .where(SubscriptionRow.subscription_id == subscription_id)
                .values(tries=tries, next_try_at=self._clock.now() + timedelta(seconds=pause_s))
            )

    # --- inside

    def _like(self, likeness: bytes) -> SubscriptionRow | None:
        with reading(self._engine) as session:
            row = session.scalars(
                select(SubscriptionRow).where(SubscriptionRow.likeness == likeness)
            ).first()
            if row is not None:
                session.expunge(row)
            return row

    def _check_limit(self, user_id: UUID | None) -> None:
        with reading(self._engine) as session:
            count = session.scalar(
                select(func.count())
                .select_from(SubscriptionRow)
                .where(SubscriptionRow.user_id.is_not_distinct_from(user_id))
            )
        if (count or 0) >= _MOST:
            raise SubscriptionLimitError(
                f"You have {count} subscriptions, the most allowed.",
                next_step="Delete one of them first.",
            )

    def _wrapped(
        self, subscription_id: UUID, authentication: SubscriptionAuthentication | None
    ) -> bytes | None:
        if authentication is None:
            return None
        plain = json.dumps(_revealed(authentication)).encode()
        return self._wrapping.wrap(subscription_id, plain, subscription_id.bytes)

    def _forget_key(self, subscription_id: UUID) -> None:
        self._callbacks.forget(subscription_id)
        self._wrapping.destroy_unless(subscription_id, lambda: False)


def _asker() -> tuple[UUID | None, bool]:
    """Who asks, and whether he sees what every project owns."""
    who = asking()
    if who is None:
        return None, True
    return who.user_id, who.role is Role.ADMINISTRATOR


def _likeness(user_id: UUID | None, uri: str, wish: dict[str, Any]) -> bytes:
    told = json.dumps([str(user_id), uri, wish], sort_keys=True)
    return hashlib.sha256(told.encode()).digest()


def _revealed(authentication: SubscriptionAuthentication) -> dict[str, Any]:
    """With its secrets in the clear; for the wrapper alone."""
    told: dict[str, Any] = {"authType": authentication.auth_type}
    if (basic := authentication.params_basic) is not None:
        told["paramsBasic"] = {
            "userName": basic.user_name,
            "password": basic.password.get_secret_value(),
        }
    if (oauth2 := authentication.params_oauth2_client_credentials) is not None:
        told["paramsOauth2ClientCredentials"] = {
            "clientId": oauth2.client_id,
            "clientPassword": oauth2.client_password.get_secret_value(),
            "tokenEndpoint": oauth2.token_endpoint,
        }
    return told

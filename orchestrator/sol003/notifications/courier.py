"""Sends the notifications of the outbox: at least once, each subscription's in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import Engine, delete, exists, select
from sqlalchemy.exc import SQLAlchemyError

from database import changed, reading, writing
from key_management.errors import WrappingKeyError
from orchestrator.events.bus import EventBus
from orchestrator.sol003.notifications.callbacks import Callbacks
from orchestrator.sol003.notifications.outbox import has_account, may_still_know
from orchestrator.sol003.notifications.subscriptions import Subscriptions
from orchestrator.sol003.notifications.tables import NotificationRow, SubscriptionRow
from timekeeping import Clock, Rounds

log = structlog.get_logger(__name__)
ALARM = "notifications-dropped"
_LOOK_EVERY_S = 2.0
_AT_ONCE = 4
"""Subscribers that are sent to at the same time: a slow one holds no other up."""
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_BURST = 100
"""Then it is somebody else's turn."""


class NotificationCourier:
    """A thread that looks, and some that send."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        bus: EventBus,
        subscriptions: Subscriptions,
        callbacks: Callbacks,
        *,
        keep_s: float,
        raise_alarm: Callable[[str, str, str], object],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`keep_s`: a notification that nobody took for so long is dropped, with an alarm. Of
        several orchestrators on one database the one that `leads` sends."""
        self._engine = engine
        self._clock = clock
        self._bus = bus
        self._subscriptions = subscriptions
        self._callbacks = callbacks
        self._keep_s = keep_s
        self._raise_alarm = raise_alarm
        self._leads = leads
        self._lock = threading.Lock()
        self._at_work: set[UUID] = set()
        self._closing = threading.Event()
        self._senders = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="notification")
        self._rounds = Rounds("notifications", self._look, clock, _LOOK_EVERY_S)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._bus.subscribe(lambda _: self._rounds.wake())
        self._rounds.start()

    def close(self) -> None:
        """What is being sent may be sent again after the next start."""
        self._unsubscribe()
        self._closing.set()
        self._rounds.close()
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._callbacks.close()

    def deliver(self, subscription_id: UUID) -> int:
        """Send what waits for one subscriber, until he takes something not; how many he took."""
        taken = 0
        for _ in range(_BURST):
            found = None if self._closing.is_set() else self._oldest(subscription_id)
            if found is None:
                break
            subscription, notification = found
            if not self._may_be_told(subscription, notification):
                continue
            why = self._why_not_taken(subscription, notification)
            if why is not None:
                self._drop_what_is_too_old(subscription, why)
                self._pause(subscription, why)
                break
            taken += 1
            if not self._remove(notification):  # deleted meanwhile, and its token came back
                self._callbacks.forget(subscription_id)
            elif subscription.tries:
                self._subscriptions.note_delivery(subscription_id, tries=0, pause_s=0)
        return taken

    def due(self) -> list[UUID]:
        """Subscriptions for which something waits, and whose pause is over."""
        waits = exists().where(NotificationRow.subscription_id == SubscriptionRow.subscription_id)
        with reading(self._engine) as session:
            statement = select(SubscriptionRow.subscription_id).where(
                SubscriptionRow.next_try_at <= self._clock.now(), waits
            )
            return list(session.scalars(statement))

    # --- inside

    def _look(self) -> None:
        if not self._leads():
            return
        try:
            for subscription_id in self.due():
                self._send_beside(subscription_id)
        except SQLAlchemyError as error:
            log.error("notifications cannot be read", why=str(error))

    def _send_beside(self, subscription_id: UUID) -> None:
        with self._lock:
            if subscription_id in self._at_work or self._closing.is_set():
                return
            self._at_work.add(subscription_id)
        self._senders.submit(self._send, subscription_id)

    def _send(self, subscription_id: UUID) -> None:
        try:
            self.deliver(subscription_id)
        except SQLAlchemyError as error:
            log.error("notifications cannot be sent", why=str(error))
        except Exception:  # nobody waits for it; it is tried again
            log.exception("notifications failed", subscription=str(subscription_id))
        finally:
            with self._lock:
                self._at_work.discard(subscription_id)

    def _oldest(self, subscription_id: UUID) -> tuple[SubscriptionRow, NotificationRow] | None:
        with reading(self._engine) as session:
            notification = session.scalars(
                select(NotificationRow)
                .where(NotificationRow.subscription_id == subscription_id)
                .order_by(NotificationRow.sequence)
                .limit(1)
            ).first()
            subscription = session.get(SubscriptionRow, subscription_id)
            session.expunge_all()
        if notification is None or subscription is None:
            return None
        return subscription, notification

    def _why_not_taken(
        self, subscription: SubscriptionRow, notification: NotificationRow
    ) -> str | None:
        try:
            authentication = self._subscriptions.authentication(subscription)
        except WrappingKeyError as error:
            return error.detail
        return self._callbacks.notify(
            subscription.subscription_id,
            subscription.callback_uri,
            authentication,
            notification.body,
        )

    def _may_be_told(self, subscription: SubscriptionRow, notification: NotificationRow) -> bool:
        """As the account is at this moment; what it may not be told goes."""
        with reading(self._engine) as session:
            is_somebody = has_account(session, subscription)
            may_know = is_somebody and may_still_know(session, subscription, notification.body)
        if not is_somebody:
            log.info(
                "subscription of a deleted account", subscription=str(subscription.subscription_id)
            )
            self._subscriptions.remove(subscription.subscription_id)
        elif not may_know:
            self._remove(notification)
        return may_know

    def _pause(self, subscription: SubscriptionRow, why: str) -> None:
        subscription_id = subscription.subscription_id
        pause_s = min(_PAUSE_S * 2**subscription.tries, _LONGEST_PAUSE_S)
        tries = min(subscription.tries + 1, 30)
        self._subscriptions.note_delivery(subscription_id, tries=tries, pause_s=pause_s)
        log.warning("notification not taken", subscription=str(subscription_id), why=why)

    def _remove(self, notification: NotificationRow) -> bool:
        """Whether it was there. SQLite gives a number again after the highest one is deleted: only
        with its subscription it is this notification."""
        with writing(self._engine) as session:
            gone = changed(
                session,
                delete(NotificationRow).where(
                    NotificationRow.sequence == notification.sequence,
                    NotificationRow.subscription_id == notification.subscription_id,
                ),
            )
            return gone > 0

    def _drop_what_is_too_old(self, subscription: SubscriptionRow, why: str) -> None:
        oldest = self._clock.now() - timedelta(seconds=self._keep_s)
        with writing(self._engine) as session:
            count = changed(
                session,
                delete(NotificationRow).where(
                    NotificationRow.subscription_id == subscription.subscription_id,
                    NotificationRow.created_at <= oldest,
                ),
            )
        if count:
            self._raise_alarm(
                ALARM,
                str(subscription.subscription_id),
                f"Notifications dropped after {self._keep_s:.0f} s: {count}; {why}.",
            )

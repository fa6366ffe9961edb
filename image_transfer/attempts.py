"""Who may send now: tickets, one connection at a time, and the end of a transfer.

Both receivers, of the sealed stream and of the one-time pad, keep one of these.
"""

from __future__ import annotations

import enum
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from image_transfer.announcement import NONCE_BYTES, Attempt
from image_transfer.errors import (
    AttemptsExhausted,
    StaleAttempt,
    Superseded,
    TransferBusy,
    TransferComplete,
    TransferError,
    TransferPoisoned,
)


class ReceiverState(enum.Enum):
    """States of a transfer at its receiver."""

    WAITING = "no connection is being received"
    RECEIVING = "one connection is being received"
    COMPLETE = "the image is verified and the sink has all of it"
    POISONED = "the transfer is over without an image"


class Attempts:
    """The attempts of one transfer. All methods may be called from any thread.

    `last_attempt` is the highest number ever issued; `mark` tells at which chunk the receiver
    stands; `on_end` is called once, outside the lock, when the transfer ends without an image.
    """

    def __init__(
        self,
        *,
        max_attempts: int,
        last_attempt: int,
        mark: Callable[[], int],
        on_end: Callable[[TransferError], None],
    ) -> None:
        self._max_attempts = max_attempts
        self._last_attempt = last_attempt
        self._mark = mark
        self._on_end = on_end
        self._ticket: Attempt | None = None
        self._state = ReceiverState.WAITING
        self._stop: TransferError | None = None
        self._poison: TransferError | None = None
        self._changed = threading.Condition()

    @property
    def state(self) -> ReceiverState:
        return self._state

    @property
    def ticket(self) -> Attempt | None:
        """The valid ticket. Raises TransferComplete or TransferPoisoned."""
        with self._changed:
            self._refuse_when_over()
            return self._ticket

    def issue(self, timeout_s: float) -> Attempt:
        """A new ticket at the mark; every older one is void from now on.

        A connection that is being received ends first, which may take up to `timeout_s` seconds.
        Raises TransferBusy, TransferComplete, TransferPoisoned or AttemptsExhausted.
        """
        with self._changed:
            self._ticket = None
            if self._state is ReceiverState.RECEIVING:
                self._stop = self._stop or Superseded(
                    "A new attempt was asked for while this one was under way."
                )
                if not self._changed.wait_for(self._is_idle, timeout_s):
                    raise TransferBusy(
                        "The attempt under way could not be ended in time, since the VIM has "
                        "not taken its bytes yet.",
                        next_step="Ask again in a while.",
                    )
            self._refuse_when_over()
            if self._last_attempt < self._max_attempts:
                self._last_attempt += 1
                nonce = secrets.token_bytes(NONCE_BYTES)
                self._ticket = Attempt(self._last_attempt, self._mark(), nonce)
                return self._ticket
        error = AttemptsExhausted(
            f"All {self._max_attempts} attempts of the transfer are used up.",
            next_step="Check the path between the ends, then start a new transfer.",
        )
        self.end(error)
        raise error

    @contextmanager
    def receiving(self, ticket: Attempt | None) -> Iterator[None]:
        """Use up the ticket for one connection. Raises StaleAttempt if it is not the valid one."""
        with self._changed:
            self._refuse_when_over()
            if ticket is None or self._ticket is not ticket:
                raise StaleAttempt(
                    "The ticket was used up or replaced while the stream began.",
                    next_step="Ask the receiver for a new ticket.",
                )
            self._ticket = None
            self._stop = None
            self._state = ReceiverState.RECEIVING
        try:
            yield
        finally:
            with self._changed:
                if self._state is ReceiverState.RECEIVING:
                    self._state = ReceiverState.WAITING
                self._changed.notify_all()

    def check_stop(self) -> None:
        """Raises why the connection under way has to end, if it has."""
        if self._stop is not None:
            raise self._stop

    def complete(self) -> None:
        """The sink has all of it. Raises the reason if the transfer was ended just before."""
        with self._changed:
            if self._poison is not None:
                raise self._poison
            self._state = ReceiverState.COMPLETE
            self._changed.notify_all()

    def end(self, error: TransferError) -> None:
        """The transfer is over without an image; repeatable. A complete one stays complete."""
        with self._changed:
            if self._poison is not None or self._state is ReceiverState.COMPLETE:
                return
            self._poison = error
            self._stop = self._stop or error
            self._ticket = None
            self._state = ReceiverState.POISONED
            self._changed.notify_all()
        self._on_end(error)

    def _is_idle(self) -> bool:
        return self._state is not ReceiverState.RECEIVING

    def _refuse_when_over(self) -> None:
        if self._state is ReceiverState.COMPLETE:
            raise TransferComplete(
                "The image of this transfer is complete and verified.",
                next_step="Ask for the receipt.",
            )
        if self._poison is not None:
            raise TransferPoisoned(
                f"The transfer is over. {self._poison.detail}",
                next_step="Start a new transfer.",
                reason=self._poison.slug,
            ) from self._poison

"""A TCP socket with deadlines: whole records in, whole records out, or a typed error.

A deadline is on the record as a whole, so a peer that trickles bytes is cut off like one that is
silent or half open.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from image_transfer.errors import ConnectionLost, PeerStalled, StreamTruncated, TrailingBytes
from timekeeping import Clock

POLL_S: Final = 0.25
"""How often a waiting end looks whether it has been told to stop."""


def never() -> None:
    """Nobody asks to stop."""


class Connection:
    """`check_stop` is called while waiting and raises when the attempt has to end.

    The socket stays its owner's to close; its timeout is changed.
    """

    def __init__(
        self, raw: socket.socket, clock: Clock, check_stop: Callable[[], None] = never
    ) -> None:
        raw.settimeout(POLL_S)
        self._raw = raw
        self._clock = clock
        self._check_stop = check_stop

    def receive_exactly(self, into: memoryview, timeout_s: float) -> None:
        """Fill `into` within `timeout_s` seconds.

        Raises `StreamTruncated` at an early end, `ConnectionLost` or `PeerStalled`.
        """
        deadline = self._clock.monotonic() + timeout_s
        done = 0
        while done < len(into):
            try:
                count = self._raw.recv_into(into[done:])
            except TimeoutError:
                self._check_stop()
            except OSError as error:
                raise _lost(error) from error
            else:
                if count == 0:
                    raise StreamTruncated(
                        "The sender closed the stream before its last record.",
                        next_step="Ask for a new attempt; it goes on where the receiver stands.",
                    )
                done += count
            if done < len(into) and self._clock.monotonic() >= deadline:
                raise _stalled(timeout_s)

    def send_all(self, data: memoryview, timeout_s: float) -> None:
        """Send `data` within `timeout_s` seconds. Raises `ConnectionLost` or `PeerStalled`."""
        deadline = self._clock.monotonic() + timeout_s
        done = 0
        while done < len(data):
            try:
                done += self._raw.send(data[done:])
            except TimeoutError:
                self._check_stop()
            except OSError as error:
                raise _lost(error) from error
            if done < len(data) and self._clock.monotonic() >= deadline:
                raise _stalled(timeout_s)

    def expect_end(self, timeout_s: float) -> None:
        """Wait until the peer has closed its side.

        Raises `TrailingBytes` when it sends instead, `PeerStalled` or `ConnectionLost`.
        """
        byte = bytearray(1)
        try:
            self.receive_exactly(memoryview(byte), timeout_s)
        except StreamTruncated:
            return
        raise TrailingBytes(
            "Bytes follow where the stream has to end.",
            next_step="Ask for a new attempt; if it repeats, somebody alters the stream.",
        )

    def end(self) -> None:
        """Tell the peer that nothing more comes. Raises `ConnectionLost`."""
        try:
            self._raw.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _lost(error) from error

    def end_quietly(self) -> None:
        """Like `end`, when the peer may be gone already and nothing depends on it."""
        with contextlib.suppress(ConnectionLost):
            self.end()


def _lost(error: OSError) -> ConnectionLost:
    return ConnectionLost(
        f"The connection to the other end was lost ({error.strerror or type(error).__name__}).",
        next_step="Ask the receiver for the reason and, if it allows, for a new attempt.",
    )


def _stalled(timeout_s: float) -> PeerStalled:
    return PeerStalled(
        f"The other end did not complete a record within {timeout_s:g} s.",
        next_step="Check the path between the ends, then ask for a new attempt.",
        timeout_s=timeout_s,
    )

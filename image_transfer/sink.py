"""Where verified chunks go: the port `Sink`, and its fake that keeps them in memory."""

from __future__ import annotations

import threading
from typing import Protocol

from image_transfer.errors import TransferError


class Sink(Protocol):
    """Takes the chunks of one image in order, each verified.

    `write` and `finish` are never called at the same time, though not always by the same thread.
    Whatever they raise ends the transfer as `SinkFailed`.
    """

    def write(self, chunk: memoryview, /) -> None:
        """Take the next bytes; block to slow the stream down.

        The view is valid, and its bytes stand still, until this call returns.
        """
        ...

    def finish(self) -> None:
        """The image is complete and verified; all its bytes were written."""
        ...

    def abort(self, reason: TransferError, /) -> None:
        """The image will never be complete: keep nothing of it, even when just finished.

        May come from any thread, also while `write` blocks, which then has to raise, as every
        later call has. Must not raise itself.
        """
        ...


class MemorySink:
    """A sink for tests: keeps the bytes, can be told to hold back or to fail.

    `gate` is open unless cleared; while it is closed, `write` blocks. With `fail_at` set, the
    write that would go beyond that many bytes raises `OSError`.
    """

    def __init__(self, fail_at: int | None = None) -> None:
        self.content = bytearray()
        self.finished = False
        self.aborted: TransferError | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.fail_at = fail_at
        self._changed = threading.Condition()

    def write(self, chunk: memoryview, /) -> None:
        self.gate.wait()
        if self.aborted is not None:
            raise OSError("the sink was aborted")
        if self.fail_at is not None and len(self.content) + len(chunk) > self.fail_at:
            raise OSError(28, "no space left in the sink")
        with self._changed:
            self.content += chunk
            self._changed.notify_all()

    def finish(self) -> None:
        if self.aborted is not None:
            raise OSError("the sink was aborted")
        self.finished = True

    def abort(self, reason: TransferError, /) -> None:
        self.aborted = reason
        self.gate.set()

    def wait_for(self, size: int, timeout_s: float = 10.0) -> bool:
        """Wait until at least `size` bytes were taken."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.content) >= size, timeout_s)

"""The way of verified chunks into the VIM, while the stream is still running.

The VIM pulls from a generator; the receiver pushes into a sink. They meet here, chunk by chunk and
without a copy: `write` returns once the VIM has asked for the next chunk. If the seal fails, or the
stream stands still for too long, the generator raises, and the VIM keeps nothing. Before the VIM,
an inspector sees each chunk, so that nothing but an image in the catalogue's own form gets there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from image_transfer.errors import TransferError
from nfv_stack.errors import ImageRejectedError, ImageVanishedError, VimError
from nfv_stack.image_intake.inspectors import Inspector
from nfv_stack.vim.port import ImageSpec, Vim
from timekeeping import Clock, SystemClock


class PlacementAborted(Exception):
    """Raised inside the VIM's generator: this image must not become usable."""


class StreamStalled(PlacementAborted):
    """Nothing came for too long; the VIM's request was given up."""


class PlacementSink:
    """An `image_transfer.sink.Sink` that streams into `vim.place_image` in a thread of its own.

    `discard` is called when the VIM placed an image that must not stay: it ended before the stream
    did, or the transfer was given up at its last moment.
    """

    def __init__(
        self,
        vim: Vim,
        spec: ImageSpec,
        inspector: Inspector,
        *,
        discard: Callable[[], None],
        stall_timeout_s: float,
        clock: Clock | None = None,
    ) -> None:
        self._vim = vim
        self._spec = spec
        self._inspector = inspector
        self._discard = discard
        self._stall_timeout_s = stall_timeout_s
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._chunk: memoryview | None = None
        self._complete = False
        self._drained = False
        self._aborted: PlacementAborted | None = None
        self._over = False
        self._placed_image_id: str | None = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    # --- the receiver's side --------------------------------------------------------------------

    def write(self, chunk: memoryview, /) -> None:
        self._inspector.feed(chunk)
        with self._changed:
            self._begin()
            self._chunk = chunk
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._chunk is None or self._over)
            self._refuse_when_over()

    def finish(self) -> None:
        """The image is whole: let the VIM end, and wait for its verdict."""
        self._inspector.finish()
        with self._changed:
            self._begin()
            self._complete = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over)
            self._refuse_when_over()

    def abort(self, reason: TransferError, /) -> None:
        with self._changed:
            if self._aborted is None:
                self._aborted = PlacementAborted(reason.detail)
            self._changed.notify_all()

    @property
    def placed_image_id(self) -> str | None:
        """The VIM's id of the image, once `finish` has returned."""
        return self._placed_image_id

    @property
    def can_begin_again(self) -> bool:
        """It ended for a reason of the moment: a new sink may take the image from chunk 0.

        The stream stood still for too long, or somebody removed the image just when it was placed.
        """
        return isinstance(self._aborted, StreamStalled) or isinstance(
            self._error, ImageVanishedError
        )

    def join(self, timeout_s: float = 30.0) -> None:
        """Wait until the VIM has let go (after `abort`)."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    # --- the VIM's side ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self._refuse_when_over()
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._place, name=f"place-{self._spec.digest.hex()[:12]}", daemon=True
            )
            self._thread.start()

    def _refuse_when_over(self) -> None:
        if self._error is not None:
            raise self._error
        if self._aborted is not None:
            raise self._aborted

    def _place(self) -> None:
        try:
            placed_image_id = self._vim.place_image(self._spec, self._chunks())
            self._keep(placed_image_id)
        except (PlacementAborted, VimError) as error:
            with self._changed:
                self._error = error
        except BaseException as error:  # a driver's bug must not leave the receiver waiting
            with self._changed:
                self._error = error
            raise
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _keep(self, placed_image_id: str) -> None:
        """What the VIM placed stays, if it is the whole image of a transfer that still lives."""
        with self._changed:
            aborted = self._aborted
            if self._drained and aborted is None:
                self._placed_image_id = placed_image_id
                return
        self._discard()
        if aborted is not None:
            raise aborted
        raise ImageRejectedError(
            "The VIM took the image for whole before it was.",
            next_step="See the VIM's log; the image was removed again.",
        )

    def _chunks(self) -> Iterator[memoryview]:
        while True:
            with self._changed:
                self._wait_for_chunk()
                if self._aborted is not None:
                    raise self._aborted
                chunk = self._chunk
                if chunk is None:
                    self._drained = True
                    return
            yield chunk
            with self._changed:
                # Only now has the driver done with the view.
                self._chunk = None
                self._changed.notify_all()

    def _wait_for_chunk(self) -> None:
        deadline_s = self._clock.monotonic() + self._stall_timeout_s
        while self._chunk is None and not self._complete and self._aborted is None:
            left_s = deadline_s - self._clock.monotonic()
            if left_s <= 0:
                self._aborted = StreamStalled(
                    f"nothing came for {self._stall_timeout_s:g} s, so the VIM's request was ended"
                )
                return
            self._changed.wait(left_s)

"""What is sent to Glance: pieces of a stream whose last one leaves only after all was verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from blake3 import blake3

from nfv_stack.contract.disk_image import HEAD_BYTES, compare_disk, disk_id
from nfv_stack.errors import ImageRejectedError
from nfv_stack.vim.port import ImageSpec

PIECE_BYTES = 256 * 1024
"""Glance behind uwsgi takes no larger ones."""


class VerifiedBody:
    """The body of one upload, of the announced length.

    Its length is told in advance, so that Glance itself refuses what ends early. The last piece is
    held back until the stream has ended well (its seal was right), had the announced size, and came
    to the announced id. `raised` is what stopped it: HTTP clients like to wrap such errors.
    """

    def __init__(self, spec: ImageSpec, chunks: Iterator[memoryview]) -> None:
        self._spec = spec
        self._chunks = chunks
        self._sha512 = hashlib.sha512()
        self._blake3 = blake3()
        self._head = b""
        self._size = 0
        self.raised: BaseException | None = None

    def __len__(self) -> int:
        return self._spec.size

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._pieces()
        except GeneratorExit:
            raise
        except BaseException as error:
            self.raised = error
            raise

    @property
    def sha512(self) -> str:
        return self._sha512.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        held = b""
        for chunk in self._chunks:
            for start in range(0, len(chunk), PIECE_BYTES):
                piece = bytes(chunk[start : start + PIECE_BYTES])
                self._take_note(piece)
                if held:
                    yield held
                held = piece
        self._verify()
        yield held

    def _take_note(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._spec.size:
            raise _rejected(f"it has more than the announced {self._spec.size} bytes")
        if len(self._head) < HEAD_BYTES:
            self._head += piece[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._look()
        self._sha512.update(piece)
        self._blake3.update(piece)

    def _verify(self) -> None:
        if self._size != self._spec.size:
            raise _rejected(f"it ends after {self._size} of {self._spec.size} bytes")
        self._look()
        found = disk_id(self._blake3.digest())
        if found != self._spec.vim_image_id:
            raise _rejected(f"it is {found}, expected was {self._spec.vim_image_id}")

    def _look(self) -> None:
        """Glance takes a qcow2 that is announced as raw; a host may find it out and follow it."""
        found = compare_disk(self._head, self._spec.format)
        if found.refusal:
            raise ImageRejectedError(found.refusal, next_step=found.next_step)


def _rejected(why: str) -> ImageRejectedError:
    return ImageRejectedError(
        f"The stream is not the announced disk: {why}.",
        next_step="The image in the catalogue is damaged; add it again.",
    )

"""Follows a log file by inode and offset: whole lines only, through rotation and truncation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PIECE_OCTETS: Final = 256 * 1024
_MAX_LINE_OCTETS: Final = 64 * 1024


class LogFollower:
    """`new_lines` gives what was written since the last call.

    It begins at the end of the file that stands there when the follower is made, or at the start
    of one that comes later. Of a file that was rotated away, the rest is read before the new one.
    A line longer than 64 KiB is dropped. Two rotations between two calls lose the middle file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._partial = b""
        self._overlong = False
        self._open()
        if self._descriptor is not None:
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def new_lines(self) -> list[str]:
        """Complete lines, oldest first, without their ends. `OSError` if the file is unreadable."""
        lines = self._read_open_file()
        if self._was_replaced():
            # The writer has left the old file, so what it holds now is all.
            lines += self._read_open_file()
            self.close()
            self._open()
            lines += self._read_open_file()
        return lines

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._partial, self._overlong = None, b"", False

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._descriptor = None

    def _was_replaced(self) -> bool:
        try:
            present = self._path.stat()
        except FileNotFoundError:
            return False
        if self._descriptor is None:
            return True
        ours = os.fstat(self._descriptor)
        return (present.st_dev, present.st_ino) != (ours.st_dev, ours.st_ino)

    def _read_open_file(self) -> list[str]:
        if self._descriptor is None:
            return []
        if os.fstat(self._descriptor).st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._partial, self._overlong = b"", False
        lines: list[str] = []
        while piece := os.read(self._descriptor, _PIECE_OCTETS):
            lines += self._split(piece)
        return lines

    def _split(self, piece: bytes) -> list[str]:
        *complete, self._partial = (self._partial + piece).split(b"\n")
        if complete and self._overlong:
            del complete[0]
            self._overlong = False
        if len(self._partial) > _MAX_LINE_OCTETS:
            self._partial, self._overlong = b"", True
        return [
            line.rstrip(b"\r").decode("utf-8", "replace")
            for line in complete
            if len(line) <= _MAX_LINE_OCTETS
        ]

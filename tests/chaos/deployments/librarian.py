"""Somebody who adds images to the catalogue and takes them out again, whatever is killed."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from chaos_house import ChaosHouse
from story import Story

from orchestrator.cli.client import RefusedError, UnreachableError

_BYTES = 2_000_000
_PAUSE_S = 2.0


class Librarian(threading.Thread):
    """One image after the other, until `over` is set; each is gone in the end."""

    def __init__(
        self, house: ChaosHouse, story: Story, over: threading.Event, folder: Path
    ) -> None:
        super().__init__(name="librarian", daemon=True)
        self._house = house
        self._story = story
        self._over = over
        self._file = folder / "book.tar"
        self._random = Random(f"{story.seed}/librarian")
        self.did: Counter[str] = Counter()

    def run(self) -> None:
        number = 0
        while not self._over.wait(self._random.uniform(0.0, _PAUSE_S)):
            number += 1
            try:
                self._add_and_remove(f"book-{number}")
            except Exception as error:
                self._story.fault(f"the librarian gave up: {error!r}")
                raise

    def _add_and_remove(self, name: str) -> None:
        self._house.write_image(self._file, _BYTES, name)
        digest = self._added(name)
        self.did["image added"] += 1
        while not self._is_removed(digest):
            self._over.wait(0.1)
        self.did["image removed"] += 1

    def _added(self, name: str) -> str:
        while True:
            with suppress(UnreachableError):
                return str(self._house.client.add_image(self._file, name)["digest"])

    def _is_removed(self, digest: str) -> bool:
        with suppress(UnreachableError):
            try:
                self._house.client.delete(f"/api/v1/images/{digest}")
            except RefusedError as error:
                return error.problem.status == 404
            return True
        return False

"""The client's side of an upload that breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.cli import uploading
from orchestrator.cli.client import OrchestratorClient, RefusedError, UnreachableError
from problem_details import Problem

CONTENT = b"all of it"


class Restarted:
    """An orchestrator that dies with the first piece, and is away for a while then."""

    def __init__(self, arrived: int, away_for: int) -> None:
        self._arrived = arrived
        self._died = False
        self._left = away_for
        self.stored = b""
        self.refusals = 0

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        return {"upload_id": "u", "offset_bytes": 0}

    def get(self, path: str) -> Any:
        if path == "/api/v1/uploads":
            return []
        self._answer()
        return {"offset_bytes": len(self.stored), "image": "d", "digest": "d"}

    def send_piece(self, upload_id: str, offset: int, content: Iterator[bytes]) -> None:
        if not self._died:
            self._died = True
            self.stored = b"".join(content)[: self._arrived]
            raise UnreachableError("It died.")
        self._answer()
        if offset != len(self.stored):
            self.refusals += 1
            problem = Problem(type="urn:qnfv:problem:upload-offset", title="Elsewhere", status=409)
            raise RefusedError(problem)
        self.stored += b"".join(content)

    def _answer(self) -> None:
        if self._left:
            self._left -= 1
            raise UnreachableError("It is being started.")


@pytest.mark.parametrize("away_for", [0, 1, 2, 3])
@pytest.mark.parametrize("arrived", [0, 4, len(CONTENT)])
def test_it_goes_on_where_it_stands_though_nobody_could_be_asked_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrived: int, away_for: int
) -> None:
    monkeypatch.setattr(uploading, "_PAUSE_S", 0.001)
    file = tmp_path / "image"
    file.write_bytes(CONTENT)
    orchestrator = Restarted(arrived, away_for)
    client = cast("OrchestratorClient", orchestrator)
    assert uploading.upload(client, file, "web", is_shown=False)["digest"] == "d"
    assert orchestrator.stored == CONTENT
    assert (orchestrator.refusals == 1) == (away_for in (1, 3) and arrived > 0)

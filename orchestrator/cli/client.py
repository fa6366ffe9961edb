"""The orchestrator's REST as Python calls; answers are plain JSON documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from orchestrator.cli.errors import ClientError, RefusedError, UnreachableError
from problem_details.answers import read

__all__ = ["ClientError", "OrchestratorClient", "RefusedError", "UnreachableError"]


class OrchestratorClient:
    """Speaks to one orchestrator. Raises UnreachableError or RefusedError."""

    def __init__(self, base_url: str, token: str, *, timeout_s: float = 30.0) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
        )
        self.base_url = base_url

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        return self._request("GET", path, params=params or None).json()

    def get_all(self, path: str, **params: Any) -> list[Any]:
        """Every page of a list (`Link: rel="next"`)."""
        answer = self._request("GET", path, params=params or None)
        found = list(answer.json())
        while "next" in answer.links:
            answer = self._request("GET", answer.links["next"]["url"])
            found += answer.json()
        return found

    def patch(self, path: str, document: dict[str, Any]) -> Any:
        return self._request("PATCH", path, json=document).json()

    def post(self, path: str, document: dict[str, Any]) -> Any:
        return self._request("POST", path, json=document).json()

    def put(self, path: str, document: dict[str, Any]) -> Any:
        return self._request("PUT", path, json=document).json()

    def put_only(self, path: str, document: dict[str, Any]) -> None:
        """Where the answer is empty."""
        self._request("PUT", path, json=document)

    def delete(self, path: str) -> Any:
        answer = self._request("DELETE", path)
        return answer.json() if answer.content else None

    def add_image(self, file: Path, name: str) -> Any:
        """Send a file into the catalogue, over as many connections as it takes."""
        from orchestrator.cli.uploading import upload

        return upload(self, file, name, is_shown=False)

    def send_piece(self, upload_id: str, offset: int, content: Iterator[bytes]) -> None:
        """Append to an upload; with its last byte the image is checked."""
        self._request(
            "PATCH",
            f"/api/v1/uploads/{upload_id}",
            content=content,
            headers={
                "Content-Type": "application/offset+octet-stream",
                "Upload-Offset": str(offset),
            },
            timeout=httpx.Timeout(30.0, read=600.0, write=600.0),
        )

    def follow_operation(self, operation_id: str) -> Iterator[dict[str, Any]]:
        """The operation's document at every change, until it ended or is held.

        A connection that breaks (an orchestrator that is restarted) is opened again.
        """
        while True:
            try:
                for document in self._events(f"/api/v1/operations/{operation_id}/events"):
                    yield document
                    if document["ended_at"] is not None or document["state"] == "FAILED_TEMP":
                        return
            except httpx.TransportError as error:
                raise UnreachableError(
                    f"The orchestrator at {self.base_url} went away ({error}).",
                    next_step="The operation goes on once it is back: `qnfv op watch "
                    f"{operation_id}`.",
                ) from error

    def _events(self, path: str) -> Iterator[dict[str, Any]]:
        with self._http.stream("GET", path, timeout=httpx.Timeout(30.0)) as answer:
            if not answer.is_success:
                answer.read()
                raise self._refusal(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise UnreachableError(
                f"The orchestrator at {self.base_url} does not answer ({error}).",
                next_step="Start it (`qnfv lab up` for a laboratory), or name another with --url.",
            ) from error
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    @staticmethod
    def _refusal(answer: httpx.Response) -> RefusedError:
        kind = answer.headers.get("content-type", "")
        return RefusedError(read(answer.status_code, kind, answer.content))

"""A RESTCONF server that answers what a test says, lies included; no code of the emulator's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""Status, and a JSON document, raw bytes, or None."""
ROOT = "/api/data/optical-switch:"


@dataclass
class Request:
    method: str
    path: str
    body: Any
    authorization: str
    content_type: str


@dataclass
class ScriptedPolatis:
    """`answer` may replace any answer; what it leaves (None) is answered honestly, at once."""

    answer: Callable[[Request], Answer | None] = lambda _: None
    list_name: str = "pair"
    table: dict[int, int] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)
    powers: dict[int, Any] = field(default_factory=dict)
    ports: int = 32
    heard: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(
                    self.command,
                    self.path,
                    json.loads(body) if body else None,
                    self.headers.get("Authorization", ""),
                    self.headers.get("Content-Type", ""),
                )
                device.heard.append(request)
                status, document = device.answer(request) or device.honest(request)
                if status == 0:  # hang up
                    self.close_connection = True
                    return
                raw = isinstance(document, bytes)
                data = (
                    document if raw else b"" if document is None else json.dumps(document).encode()
                )
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = handle_any

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # a client that gave up is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def changes(self) -> list[str]:
        """What was asked besides reading: method and the end of the path."""
        return [f"{r.method} {r.path.removeprefix(ROOT)}" for r in self.heard if r.method != "GET"]

    def honest(self, request: Request) -> Answer:
        name = request.path.removeprefix(ROOT)
        match request.method, name:
            case "GET", "cross-connects":
                rows = [{"ingress": a, "egress": b} for a, b in self.table.items()]
                return 200, {f"optical-switch:{name}": {self.list_name: rows}}
            case "GET", "port-config":
                rows = [
                    {"port-id": n, "status": self.status.get(n, "ENABLED"), "label": ""}
                    for n in range(1, self.ports + 1)
                ]
                return 200, {f"optical-switch:{name}": {"port": rows}}
            case "GET", "opm-power" if self.powers:
                rows = [{"port-id": n, "power": p} for n, p in self.powers.items()]
                return 200, {f"optical-switch:{name}": {"port": rows}}
            case "PATCH", "cross-connects":
                for row in request.body["optical-switch:cross-connects"][self.list_name]:
                    self.table[row["ingress"]] = row["egress"]
                return 204, None
            case "DELETE", _:
                self.table.pop(int(name.rpartition("=")[2]), None)
                return 204, None
        return 404, error("invalid-value", "no such resource")


def _bytes(document: Any) -> bytes:
    if document is None:
        return b""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def error(tag: str, message: str = "") -> Any:
    """An error document of RFC 8040."""
    one = {"error-type": "application", "error-tag": tag, "error-message": message}
    return {"ietf-restconf:errors": {"error": [one]}}

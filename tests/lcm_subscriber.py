"""A SOL003 client that listens for its notifications: a real HTTP server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Subscriber:
    """Answers with `statuses` by method, one after the other, the last one for ever."""

    def __init__(self) -> None:
        self.statuses: dict[str, list[int]] = {"GET": [204], "POST": [204]}
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str, str | None]] = []
        """Method, path and Authorization of each request."""
        self.bodies: list[dict[str, Any]] = []
        self.token_document = b'{"access_token": "t0k3n", "expires_in": 60}'
        self.between_bytes: Callable[[], None] | None = None
        """Called between the bytes of an answer's header, which then come one by one."""
        self.before_answer: Callable[[], None] = lambda: None
        subscriber = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                subscriber.seen.append((self.command, self.path, self.headers.get("Authorization")))
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/token":
                    self.send_response(200)
                    document = subscriber.token_document
                    self.send_header("Content-Length", str(len(document)))
                    self.end_headers()
                    self.wfile.write(document)
                    return
                if self.command == "POST":
                    subscriber.bodies.append(json.loads(content))
                subscriber.before_answer()
                statuses = subscriber.statuses[self.command]
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                for name, value in subscriber.headers.items():
                    self.send_header(name, value)
                if subscriber.between_bytes is not None:
                    self.drip(subscriber.between_bytes)
                self.end_headers()

            def drip(self, between: Callable[[], None]) -> None:
                self.flush_headers()
                for byte in b"Slow: very\r\n":
                    self.wfile.write(bytes([byte]))
                    between()

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def told(self, *attributes: str) -> list[tuple[Any, ...]]:
        """Attributes of each notification, in the order in which they came."""
        return [tuple(body.get(name) for name in attributes) for body in self.bodies]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

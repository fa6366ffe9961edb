"""An OpenDaylight that does what a test says, lies included: HTTP on a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NODES = "/rests/data/opendaylight-inventory:nodes"
BATCH = "/rests/operations/sal-flat-batch:process-flat-batch"
STATISTICS = "/rests/operations/opendaylight-direct-statistics:get-flow-statistics"

Pair = tuple[int, int]
Reply = tuple[int, bytes]
Answer = Callable[["ScriptedOpenDaylight", str, str, Any], Reply | None]
"""Method, path and input to status and body; None: hang up without a word."""


def document(status: int, body: Any = None) -> Reply:
    return status, b"" if body is None else json.dumps(body).encode()


def error(status: int, *messages: str) -> Reply:
    errors = [{"error-tag": "operation-failed", "error-message": m} for m in messages]
    return document(status, {"errors": {"error": errors}})


@dataclass
class ScriptedOpenDaylight:
    """`table` is that of its one switch, `openflow:1` with ports 1 to `ports`."""

    answer: Answer
    ports: int = 32
    is_there: bool = True
    connection: int = 40000
    dark: set[int] = field(default_factory=set)
    down: set[int] = field(default_factory=set)
    table: set[Pair] = field(default_factory=set)
    config: list[dict[str, Any]] = field(default_factory=list)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def batches(self) -> list[Any]:
        return [given for _, path, given in self.heard if path == BATCH]

    def inventory(self) -> Any:
        node = {
            "id": "openflow:1",
            "flow-node-inventory:port-number": self.connection,
            "node-connector": [self._connector(n) for n in range(1, self.ports + 1)],
        }
        return {"opendaylight-inventory:nodes": {"node": [node] if self.is_there else []}}

    def _connector(self, number: int) -> Any:
        return {
            "id": f"openflow:1:{number}",
            "flow-node-inventory:state": {"link-down": number in self.dark},
            "flow-node-inventory:configuration": "PORT-DOWN" if number in self.down else "",
        }

    def statistics(self) -> Any:
        flows = [flow(a, b) for a, b in sorted(self.table)]
        return {"opendaylight-direct-statistics:output": {"flow-and-statistics-map-list": flows}}

    def switch(self, given: Any) -> None:
        """Do what a batch asks for."""
        for step in sorted(given["batch"], key=lambda s: -s["batch-order"]):
            self.table -= {_pair(f) for f in step.get("flat-batch-remove-flow", [])}
            self.table |= {_pair(f) for f in step.get("flat-batch-add-flow", [])}


def flow(a: int, b: int) -> Any:
    actions = {"action": [{"order": 0, "output-action": {"output-node-connector": str(b)}}]}
    return {
        "priority": 100,
        "match": {"in-port": str(a)},
        "instructions": {"instruction": [{"order": 0, "apply-actions": actions}]},
    }


def _pair(f: Any) -> Pair:
    action = f["instructions"]["instruction"][0]["apply-actions"]["action"][0]
    in_port = f["match"]["in-port"].rpartition(":")[2]
    return int(in_port), int(action["output-action"]["output-node-connector"])


def honest(it: ScriptedOpenDaylight, method: str, path: str, given: Any) -> Reply | None:
    """What a good OpenDaylight with a good switch answers."""
    if method == "DELETE":
        it.config.clear()
        return document(204)
    if path.startswith(NODES) and "content=config" in path:
        if not it.config:
            return document(409)
        return document(200, {"opendaylight-inventory:nodes": {"node": it.config}})
    if path.startswith(NODES):
        return document(200, it.inventory())
    if not it.is_there:
        return error(501, "No implementation of RPC is available")
    if path == STATISTICS:
        return document(200, it.statistics()) if it.table else document(204)
    it.switch(given)
    return document(204)


@contextmanager
def serving(answer: Answer = honest) -> Iterator[ScriptedOpenDaylight]:
    """Serve until the test ends."""
    it = ScriptedOpenDaylight(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            given = json.loads(body)["input"] if body else None
            it.heard.append((self.command, self.path, given))
            reply = it.answer(it, self.command, self.path, given)
            if reply is None:
                self.close_connection = True
                return
            status, payload = reply
            self.send_response(status)
            self.send_header("Content-Type", "application/yang-data+json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    it.address = ("127.0.0.1", server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield it
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)

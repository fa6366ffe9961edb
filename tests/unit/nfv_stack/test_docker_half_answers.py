"""A Docker engine that answers half, or nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from nfv_stack.errors import VimUnreachableError
from nfv_stack.vim.docker import DockerVim
from nfv_stack.vim.port import VimUsage

CONTAINER = {"Id": "c0ffee", "Name": "/vnf", "State": {"Status": "running"}, "Config": {}}


class HalfEngine(ThreadingHTTPServer):
    """Knows one running container; answers what is asked of it as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.cut_at: dict[str, int] = {}
        """By the end of the path: after so many bytes of the answer the connection ends."""
        self.silent: set[str] = set()
        """By the end of the path: answered with nothing."""

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.server_address[1]}"


class _Asked(BaseHTTPRequestHandler):
    server: HalfEngine

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        last = path.rpartition("/")[2]
        document: Any = {"version": {"ApiVersion": "1.43"}, "json": CONTAINER}.get(
            last, {"memory_stats": {"usage": 4096}}
        )
        body = b"" if last in self.server.silent else json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_at.get(last)])

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def engine() -> Iterator[HalfEngine]:
    with HalfEngine() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def vim(engine: HalfEngine) -> Iterator[DockerVim]:
    made = DockerVim(data_centre="dc-1", base_url=engine.url, timeout_s=10)
    yield made
    made.close()


def test_a_container_that_ends_while_its_usage_is_asked_takes_nothing(
    engine: HalfEngine, vim: DockerVim
) -> None:
    assert vim.usage(uuid4()) == VimUsage(memory_bytes=4096)
    engine.silent.add("stats")
    assert vim.usage(uuid4()) == VimUsage()


@pytest.mark.parametrize(
    ("last", "ask"),
    [
        ("json", lambda vim: vim.instance(uuid4())),
        ("stats", lambda vim: vim.usage(uuid4())),
        ("logs", lambda vim: vim.log(uuid4())),
    ],
)
def test_a_connection_that_ends_in_an_answer_is_an_engine_that_is_away(
    engine: HalfEngine, vim: DockerVim, last: str, ask: Callable[[DockerVim], object]
) -> None:
    engine.cut_at[last] = 3
    with pytest.raises(VimUnreachableError, match="does not answer"):
        ask(vim)

"""The client against servers that answer badly, late or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from idq3p.client import Idq3pClient
from idq3p.codec import KeyRequest, KeyResponse, Status
from idq3p.errors import (
    KeyServerNotListeningError,
    KeyServerRefusalError,
    KeyServerSilentError,
    UnsoundKeyError,
    WrongKeyLengthError,
)
from idq3p.key_bytes import KeyBytes

KEY = KeyBytes(bytes(range(32)))
Script = Callable[[int, KeyRequest], list[bytes]]


class ScriptedServer:
    """Answers the n-th datagram (from 0) with what the script says."""

    def __init__(self) -> None:
        self.wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wire.bind(("127.0.0.1", 0))
        self.port: int = self.wire.getsockname()[1]
        self.requests: list[KeyRequest] = []
        self.peer: tuple[str, int] | None = None
        self.script: Script = lambda number, request: []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            datagram, self.peer = self.wire.recvfrom(2048)
            if datagram == b"end":
                return
            request = KeyRequest.decode(datagram)
            self.requests.append(request)
            for answer in self.script(len(self.requests) - 1, request):
                self.wire.sendto(answer, self.peer)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ender:
            ender.sendto(b"end", ("127.0.0.1", self.port))
        self._thread.join(5)
        self.wire.close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer()
    yield running
    running.close()


def client(server: ScriptedServer, timeout_s: float = 0.15, attempts: int = 3) -> Idq3pClient:
    return Idq3pClient("127.0.0.1", server.port, timeout_s=timeout_s, attempts=attempts)


def success(request: KeyRequest, key_id: int = 7, **fields: object) -> bytes:
    values = {"key_id": key_id, "request_id": request.request_id, "status": 0, "key": KEY}
    return bytes(KeyResponse(**{**values, **fields}).encode())


def test_it_gives_up_after_the_attempts(server: ScriptedServer) -> None:
    with client(server) as asking:
        with pytest.raises(KeyServerSilentError):
            asking.new_key()
        assert len(server.requests) == 3
        assert len({request.request_id for request in server.requests}) == 3
        assert asking.unanswered_new_key_requests == 3


def test_nothing_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Idq3pClient("127.0.0.1", port, timeout_s=5) as asking:
        for _ in range(2):
            with pytest.raises(KeyServerNotListeningError):
                asking.new_key()


def test_what_is_no_answer_is_dropped_and_the_right_one_taken(server: ScriptedServer) -> None:
    def script(number: int, request: KeyRequest) -> list[bytes]:
        good = success(request)
        stranger = KeyRequest(0, request.request_id ^ 1)
        damaged = bytes([*good[:20], good[20] ^ 1, *good[21:]])
        return [b"", b"x" * 62, good[:-1], good + b"\0", damaged, success(stranger), good]

    server.script = script
    with client(server, timeout_s=5) as asking:
        assert asking.new_key().key == KEY
        assert len(server.requests) == 1


def test_another_sender_is_not_heard(server: ScriptedServer) -> None:
    def script(number: int, request: KeyRequest) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder:
            intruder.sendto(success(request, key=KeyBytes(b"\xee" * 32)), server.peer)
        return [success(request)]

    server.script = script
    with client(server, timeout_s=5) as asking:
        assert asking.new_key().key == KEY


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"key_length": 16}, "16 octets"),
        ({"key_id": 0}, "without an id"),
        ({"key": KeyBytes(bytes(32))}, "all-zero"),
    ],
)
def test_answers_that_cannot_be_a_key(
    server: ScriptedServer, fields: dict[str, object], complaint: str
) -> None:
    server.script = lambda number, request: [success(request, **fields)]
    with client(server) as asking, pytest.raises(UnsoundKeyError, match=complaint):
        asking.new_key()


def test_another_key_than_the_one_asked_for(server: ScriptedServer) -> None:
    server.script = lambda number, request: [success(request, key_id=8)]
    with client(server) as asking, pytest.raises(UnsoundKeyError, match="another key"):
        asking.key_by_id(7)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(3, WrongKeyLengthError), (4, KeyServerRefusalError), (99, KeyServerRefusalError)],
)
def test_refusals_are_typed(
    server: ScriptedServer, status: int, kind: type[KeyServerRefusalError]
) -> None:
    server.script = lambda number, request: [
        success(request, status=status, key=KeyBytes(bytes(32)))
    ]
    with client(server) as asking, pytest.raises(kind, match=f"status {status}"):
        asking.new_key()


def test_a_late_answer_to_an_earlier_attempt_is_not_burned(server: ScriptedServer) -> None:
    def script(number: int, request: KeyRequest) -> list[bytes]:
        # The answer to the first attempt comes when the second one is asked.
        return [success(server.requests[0], key_id=100)] if number == 1 else []

    server.script = script
    with client(server) as asking:
        assert asking.new_key().key_id == 100
        assert asking.unanswered_new_key_requests == 1


def test_answers_that_come_after_a_call_gave_up_serve_the_next_calls(
    server: ScriptedServer,
) -> None:
    with client(server, attempts=2) as asking:
        with pytest.raises(KeyServerSilentError):
            asking.new_key()
        for number, request in enumerate(list(server.requests)):
            server.wire.sendto(success(request, key_id=200 + number), server.peer)
        # One arrives while a key is asked for by its id, one is drained.
        server.script = lambda number, request: [success(request, key_id=request.key_id)]
        assert asking.key_by_id(5).key_id == 5
        assert {asking.new_key().key_id, asking.new_key().key_id} == {200, 201}
        assert asking.unanswered_new_key_requests == 0
        assert len(server.requests) == 3, "the late keys were enough"


def test_a_late_no_is_not_taken_for_the_present(server: ScriptedServer) -> None:
    def script(number: int, request: KeyRequest) -> list[bytes]:
        if number == 0:
            return []
        late_no = success(
            server.requests[0], status=Status.NO_MORE_KEYS, key=KeyBytes(bytes(32)), key_id=0
        )
        return [late_no, success(request)]

    server.script = script
    with client(server, attempts=1) as asking:
        with pytest.raises(KeyServerSilentError):
            asking.new_key()
        assert asking.new_key().key_id == 7


def test_no_key_octet_in_any_error(server: ScriptedServer) -> None:
    server.script = lambda number, request: [success(request, key_id=0)]
    with client(server) as asking, pytest.raises(UnsoundKeyError) as caught:
        asking.new_key()
    assert (
        bytes(range(32)).hex() not in f"{caught.value!r} {caught.value} {caught.value.extensions}"
    )


@pytest.mark.parametrize("key_id", [0, -1, 2**64])
def test_ids_that_cannot_be_asked_for(server: ScriptedServer, key_id: int) -> None:
    with client(server) as asking, pytest.raises(ValueError, match="64-bit"):
        asking.key_by_id(key_id)


@pytest.mark.parametrize(
    "fields", [{"device_id": 0}, {"device_id": 13}, {"attempts": 0}, {"timeout_s": 0}]
)
def test_settings_that_cannot_be(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"device id|attempt"):
        Idq3pClient("127.0.0.1", **fields)

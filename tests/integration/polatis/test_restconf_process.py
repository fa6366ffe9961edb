"""The emulated switch's RESTCONF face: bare HTTP, real time."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from free_ports import free_port
from raw_controller import Started

ROOT = "/api/data/optical-switch:"
TABLE = f"{ROOT}cross-connects"


Start = Callable[..., httpx.Client]


@pytest.fixture
def start(started: Started) -> Iterator[Start]:
    clients: list[httpx.Client] = []

    def start(*flags: str) -> httpx.Client:
        password, port = started.folder / "password", free_port()
        password.write_text("secret-1\n")
        listen = ("--listen", f"127.0.0.1:{port}", "--password-file", str(password))
        started.switch("--profile", "restconf", *listen, *flags)
        url = f"http://127.0.0.1:{port}"
        clients.append(httpx.Client(base_url=url, auth=("admin", "secret-1"), trust_env=False))
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.TransportError):
                clients[-1].get(TABLE)
                return clients[-1]
            assert time.monotonic() < deadline
            time.sleep(0.02)  # until it listens, bounded by the deadline

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def http(start: Start) -> httpx.Client:
    return start("--answers", "settled")


def rows(*pairs: tuple[int, int]) -> list[dict[str, int]]:
    return [{"ingress": a, "egress": b} for a, b in pairs]


def body(*pairs: tuple[int, int]) -> dict[str, Any]:
    return {"optical-switch:cross-connects": {"pair": rows(*pairs)}}


def table(http: httpx.Client) -> list[tuple[int, int]]:
    answer = http.get(TABLE)
    assert answer.headers["content-type"] == "application/yang-data+json"
    listed = answer.json()["optical-switch:cross-connects"]["pair"]
    return [(row["ingress"], row["egress"]) for row in listed]


def test_all_verbs_of_the_table(http: httpx.Client) -> None:
    added = http.post(TABLE, json={"optical-switch:pair": rows((1, 2))})
    assert (added.status_code, added.headers["location"]) == (201, f"{TABLE}/pair=1")
    assert http.patch(TABLE, json=body((1, 2), (5, 7), (17, 18))).status_code == 204
    assert table(http) == [(1, 2), (5, 7), (17, 18)]
    assert http.get(f"{TABLE}/pair=5").json() == {"optical-switch:pair": rows((5, 7))}
    assert http.delete(f"{TABLE}/pair=5").status_code == 204
    assert http.put(TABLE, json=body((1, 3), (17, 18))).status_code == 204
    assert table(http) == [(1, 3), (17, 18)]
    assert http.delete(TABLE).status_code == 204
    assert table(http) == []


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "tag"),
    [
        ("PATCH", TABLE, body((3, 4), (1, 5)), 409, "data-exists"),
        ("PATCH", TABLE, body((3, 4), (1, 99)), 400, "invalid-value"),
        ("PATCH", TABLE, body((3, 4), (6, 6)), 400, "invalid-value"),
        ("PATCH", TABLE, body((3, 4), (6, 17)), 403, "access-denied"),
        ("PATCH", TABLE, body((3, 4), (0, 5)), 400, "invalid-value"),
        (
            "PATCH",
            TABLE,
            {"optical-switch:cross-connects": {"pairs": []}},
            400,
            "malformed-message",
        ),
        ("PATCH", TABLE, [], 400, "malformed-message"),
        ("PUT", TABLE, body((1, 3), (6, 17)), 403, "access-denied"),
        ("POST", TABLE, {"optical-switch:pair": rows((1, 2))}, 409, "data-exists"),
        ("POST", TABLE, {"optical-switch:pair": rows((3, 4), (5, 6))}, 400, "invalid-value"),
        ("DELETE", f"{TABLE}/pair=2", None, 404, "invalid-value"),
        ("DELETE", f"{TABLE}/pair=nine", None, 404, "invalid-value"),
        ("GET", f"{TABLE}/pair=9", None, 404, "invalid-value"),
    ],
)
def test_errors_have_tags_and_change_nothing(
    http: httpx.Client, method: str, path: str, content: Any, status: int, tag: str
) -> None:
    http.patch(TABLE, json=body((1, 2)))
    answer = http.request(method, path, json=content)
    (one,) = answer.json()["ietf-restconf:errors"]["error"]
    assert (answer.status_code, one["error-tag"]) == (status, tag)
    assert table(http) == [(1, 2)]


def test_answers_after_the_mirrors_settled(http: httpx.Client) -> None:
    begun = time.monotonic()
    http.patch(TABLE, json=body(*[(n, 17 - n) for n in range(1, 9)]))
    assert 0.025 <= time.monotonic() - begun < 0.15
    assert len(table(http)) == 8


def test_or_at_once_and_the_table_shows_a_pair_when_it_settled(start: Start) -> None:
    http = start("--answers", "at-once", "--list-name", "pairs")
    begun = time.monotonic()
    http.patch(TABLE, json={"optical-switch:cross-connects": {"pairs": rows((1, 2))}})
    while not http.get(TABLE).json()["optical-switch:cross-connects"]["pairs"]:
        assert time.monotonic() - begun < 10
    assert time.monotonic() - begun >= 0.025


def test_what_the_device_is(http: httpx.Client) -> None:
    product = http.get(f"{ROOT}product-information").json()["optical-switch:product-information"]
    assert product["model-name"] == "emulated-32xCC"
    ports = http.get(f"{ROOT}port-config").json()["optical-switch:port-config"]["port"]
    assert [row["port-id"] for row in ports] == list(range(1, 33))
    assert {row["status"] for row in ports} == {"ENABLED"}
    powers = http.get(f"{ROOT}opm-power").json()["optical-switch:opm-power"]["port"]
    assert {row["port-id"]: row["power"] for row in powers}[5] == "-1.00"
    switches = http.get(f"{ROOT}subswitches").json()["optical-switch:subswitches"]["subswitch"]
    assert switches[1] == {"sname": "vs-2", "username": ["node-2"], "port-id": [17, 18, 19, 20]}


@pytest.mark.parametrize("auth", [None, ("admin", "wrong"), ("root", "secret-1"), ("", "")])
def test_nobody_without_the_password(http: httpx.Client, auth: Any) -> None:
    with httpx.Client(base_url=http.base_url, auth=auth, trust_env=False) as stranger:
        for method in ("GET", "PATCH", "DELETE"):
            answer = stranger.request(method, TABLE)
            assert answer.status_code == 401
            assert "basic" in answer.headers["www-authenticate"].lower()


def test_hostile_clients_do_not_bring_it_down(http: httpx.Client) -> None:
    rng = random.Random(8008)
    bodies = [b"", b"{", b"[" * 100_000, rng.randbytes(1000), b"{}" * 1_000_000, b'{"a": NaN}']
    for content in bodies:
        assert 400 <= http.patch(TABLE, content=content).status_code < 500
    address = (http.base_url.host, http.base_url.port)
    for junk in [b"\0" * 100, rng.randbytes(70_000), b"\x01\xff\x00\x08" * 10]:
        stranger = socket.create_connection(address, timeout=10)
        with stranger, contextlib.suppress(ConnectionError):
            stranger.sendall(junk)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(65536):
                pass
    assert table(http) == []

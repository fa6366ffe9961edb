"""What a request takes of the database: one connection at a time, and statements that do not grow
with the list."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from account_room import AccountRoom
from csar_builder import disk
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from orchestrator.accounts.identity import Role

PACKAGES = "/vnfpkgm/v1/vnf_packages"
LISTS = (
    "/api/v1/alarms",
    "/api/v1/audit",
    "/api/v1/deployments",
    "/api/v1/images",
    "/api/v1/operations",
    "/api/v1/schedule/promises",
    "/api/v1/transfers",
    "/api/v1/uploads",
    "/vnflcm/v1/vnf_instances",
    "/vnflcm/v1/vnf_lcm_op_occs",
    PACKAGES,
)
NOBODYS = "6b7bd6fa-5a5e-4a5c-8d0c-6a1f3a6f1c11"


@contextmanager
def most_held() -> Iterator[list[int]]:
    """How many connections one thread held at once, at most."""
    held: Counter[int] = Counter()
    most = [0]

    def out(*_: object) -> None:
        thread = threading.get_ident()
        held[thread] += 1
        most[0] = max(most[0], held[thread])

    def back(*_: object) -> None:
        held[threading.get_ident()] -= 1

    event.listen(Pool, "checkout", out)
    event.listen(Pool, "checkin", back)
    try:
        yield most
    finally:
        event.remove(Pool, "checkout", out)
        event.remove(Pool, "checkin", back)


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def member(room: AccountRoom) -> TestClient:
    """One whose projects have to be asked for."""
    return room.with_token("costs", Role.OPERATOR)


@pytest.mark.parametrize("path", LISTS)
def test_a_request_holds_one_connection_at_a_time(member: TestClient, path: str) -> None:
    with most_held() as most:
        assert member.get(path).status_code == 200
        one = "/api/v1/operations/" if path == "/api/v1/transfers" else f"{path}/"
        member.get(one + NOBODYS)
    assert most == [1]


def test_a_list_of_packages_asks_as_often_however_long_it_is(member: TestClient) -> None:
    counts = []
    for _ in range(3):
        for _ in range(3):
            assert member.post(PACKAGES, json={}).status_code == 201
        answer = member.post("/api/v1/images?name=cost", content=disk())
        assert answer.status_code == 201, answer.text
        for path in (PACKAGES, "/api/v1/images"):
            with counted_statements() as said:
                assert member.get(path).status_code == 200
            counts.append((path, len(said)))
    assert len(set(counts)) == 2, counts

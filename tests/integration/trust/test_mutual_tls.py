"""A service behind mutual TLS knows its caller, and refuses strangers and wrong roles."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI

from problem_details import answers, rest
from trust import Authority, AuthorityExistsError, Identity, Role
from trust.client import open_client
from trust.errors import NotAllowedError
from trust.server import mutual_tls_server, require_role

SLAVE = Identity(Role.SLAVE, "dc-1")
ORCHESTRATOR = Identity(Role.ORCHESTRATOR, "central")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


@pytest.fixture
def base_url(authority: Authority) -> Iterator[str]:
    app = FastAPI()
    rest.install(app, {NotAllowedError: 403})

    @app.get("/who")
    def who(caller: Annotated[Identity, Depends(require_role(Role.ORCHESTRATOR))]) -> str:
        return caller.urn

    server = mutual_tls_server(app, host="127.0.0.1", port=0, credentials=authority.issue(SLAVE))
    started = threading.Event()
    original = server.startup

    async def startup(sockets: object = None) -> None:
        await original()
        started.set()

    server.startup = startup  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"https://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def test_the_right_role_is_known_by_name(authority: Authority, base_url: str) -> None:
    with open_client(base_url, credentials=authority.issue(ORCHESTRATOR), peer=SLAVE) as client:
        assert client.get("/who").json() == "urn:qnfv:identity:orchestrator:central"


def test_a_wrong_role_is_refused_with_a_problem(authority: Authority, base_url: str) -> None:
    other = authority.issue(Identity(Role.SLAVE, "dc-2"))
    with open_client(base_url, credentials=other, peer=SLAVE) as client:
        answer = client.get("/who")
    assert answer.status_code == 403
    problem = answers.read(answer.status_code, answer.headers["content-type"], answer.content)
    assert problem.slug == "not-allowed"
    assert "dc-2" in problem.detail


def test_a_stranger_s_certificate_is_refused(tmp_path: Path, base_url: str) -> None:
    stranger = Authority.create(tmp_path / "other").issue(ORCHESTRATOR)
    with (
        open_client(base_url, credentials=stranger, peer=SLAVE) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get("/who")


def test_a_client_refuses_another_service_at_the_same_address(
    authority: Authority, base_url: str
) -> None:
    expected = Identity(Role.UNIT_AGENT, "alice")
    with (
        open_client(base_url, credentials=authority.issue(ORCHESTRATOR), peer=expected) as client,
        pytest.raises(httpx.ConnectError, match="Hostname mismatch"),
    ):
        client.get("/who")


def test_an_authority_is_never_replaced(authority: Authority) -> None:
    with pytest.raises(AuthorityExistsError):
        Authority.create(authority.folder)


@pytest.mark.parametrize("name", ["", "UPPER", "dc 1", "-x", "a.b", "x" * 64, "dc\n1"])
def test_names_that_are_no_dns_label_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Identity(Role.SLAVE, name)

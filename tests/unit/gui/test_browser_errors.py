"""The same error: a page for who reads it in a browser, a problem document for programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from orchestrator.errors import AccessError, UnknownDeploymentError
from orchestrator.gui.assets import Assets
from orchestrator.gui.pages import CONTENT_SECURITY_POLICY, Pages
from orchestrator.security_headers import GuardedApp
from orchestrator.statuses import STATUS_OF
from problem_details import rest
from timekeeping import FakeClock

HTML = {"Accept": "text/html,*/*;q=0.8"}


def broken_app() -> FastAPI:
    app = GuardedApp(Pages(Assets(), FakeClock()))
    rest.install(app, STATUS_OF)

    @app.get("/deployments/{deployment_id}")
    def gone(deployment_id: str) -> None:
        raise UnknownDeploymentError(
            f"There is no deployment <{deployment_id}>.", next_step="Look at those there are."
        )

    @app.get("/keys")
    def bug() -> None:
        raise RuntimeError("of which nobody outside shall read")

    @app.get("/schedule")
    def refused() -> None:
        raise AccessError("Set by somebody else.", must_change_password=True)

    @app.get("/images")
    def stream() -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"one "
            yield b"two"

        return StreamingResponse(pieces(), media_type="text/plain")

    return app


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(broken_app(), base_url="http://127.0.0.1", raise_server_exceptions=False)


def test_what_is_gone_says_why_and_what_next(client: TestClient) -> None:
    page = client.get("/deployments/x", headers=HTML)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "There is no deployment &lt;x&gt;." in page.text
    assert "Look at those there are." in page.text
    program = client.get("/deployments/x")
    assert program.status_code == 404
    assert program.json()["next_step"] == "Look at those there are."
    assert "default-src 'none'; frame" in program.headers["content-security-policy"]


def test_a_bug_is_a_page_too_and_tells_nothing_of_the_inside(client: TestClient) -> None:
    page = client.get("/keys", headers=HTML)
    assert page.status_code == 500
    assert "Look into the service&#39;s log" in page.text
    assert "nobody outside" not in page.text
    assert page.headers["x-frame-options"] == "DENY"


def test_a_password_of_others_leads_to_the_own_one_and_back(client: TestClient) -> None:
    page = client.get("/schedule?hours=1", headers=HTML, follow_redirects=False)
    assert page.status_code == 303
    assert page.headers["location"] == "/password?next=/schedule%3Fhours%3D1"
    assert client.get("/schedule").status_code == 403


def test_all_else_passes_as_it_is(client: TestClient) -> None:
    assert client.get("/images", headers=HTML).text == "one two"
    assert client.post("/images", headers=HTML).status_code == 405
    assert client.post("/images", headers=HTML).headers["content-type"] != "text/html"

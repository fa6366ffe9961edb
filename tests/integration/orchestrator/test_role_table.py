"""Every endpoint, asked with every role and with none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from account_room import AccountRoom
from fastapi.testclient import TestClient

from orchestrator.accounts.identity import Role
from orchestrator.accounts.rules import ENDPOINTS, OPEN, SAFE_METHODS, rule_for

ROLE_OF: dict[str, Role | None] = {
    **dict.fromkeys(OPEN),
    **{endpoint: role for role in Role for endpoint in ENDPOINTS[role]},
}
ASKERS = (None, *Role)


def endpoints_of(app: Any) -> set[str]:
    """`METHOD /path` of every route, hidden ones too, in all versions of FastAPI that we allow."""
    try:
        from fastapi.routing import iter_route_contexts
    except ImportError:
        routes = list(app.routes)
    else:
        routes = list(iter_route_contexts(app.routes))
    found = set()
    for route in routes:
        assert route.path is not None, f"mounted or unknown: {route}"
        for method in set(route.methods or ()) - {"HEAD"}:
            found.add(f"{method} {route.path}")
    return found


@pytest.fixture(scope="module")
def askers(room: AccountRoom) -> dict[Role | None, TestClient]:
    return {None: room.visitor(), **{role: room.with_token(f"a-{role}", role) for role in Role}}


def test_the_table_has_every_endpoint_and_no_other(room: AccountRoom) -> None:
    there = endpoints_of(room.app)
    assert len(there) > 60
    assert there - set(ROLE_OF) == set(), "endpoints without a line in accounts/rules.py"
    assert set(ROLE_OF) - there == set(), "lines without an endpoint"
    listed = [endpoint for role in Role for endpoint in ENDPOINTS[role]] + list(OPEN)
    assert len(set(listed)) == len(listed), "an endpoint has two lines"


def test_only_health_and_what_signing_in_needs_are_open() -> None:
    assert {endpoint for endpoint, role in ROLE_OF.items() if role is None} == {
        "GET /api/v1/health",
        "GET /sign-in",
        "GET /static/{version}/{name:path}",
        "POST /api/v1/session",
    }


@pytest.mark.parametrize("asker", ASKERS, ids=str)
@pytest.mark.parametrize("endpoint", sorted(ROLE_OF))
def test_the_role_decides(
    askers: dict[Role | None, TestClient], endpoint: str, asker: Role | None
) -> None:
    method, _, path = endpoint.partition(" ")
    url = re.sub(r"\{[^}]*\}", "00000000-0000-0000-0000-000000000000", path)
    # An empty document: whoever is let in is told what is missing, and nothing is done.
    body = None if method in SAFE_METHODS else {"nothing": True}
    answer = askers[asker].request(method, url, json=body)
    role = ROLE_OF[endpoint]
    if role is None:
        assert answer.status_code not in (401, 403)
    elif asker is None:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    elif asker.covers(role):
        assert answer.status_code not in (401, 403), answer.text
    else:
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:qnfv:problem:access-refused"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/v1/health", None),
        ("HEAD", "/api/v1/health", None),
        ("GET", "/api/v1/keys", Role.VIEWER),
        ("HEAD", "/api/v1/users", Role.ADMINISTRATOR),
        ("PATCH", "/api/v1/health", Role.ADMINISTRATOR),
        ("GET", "/api/v1/health/", Role.ADMINISTRATOR),
        ("GET", "//api/v1/health", Role.ADMINISTRATOR),
        ("GET", "/api/v1/health/../users", Role.ADMINISTRATOR),
        ("GET", "/API/V1/HEALTH", Role.ADMINISTRATOR),
        ("GET", "/nothing", Role.ADMINISTRATOR),
        ("POST", "/api/v1/deployments/plan", Role.VIEWER),
        ("GET", "/qkd-nodes/n/restconf/data/etsi-qkd-sdn-node:qkd_node/a/b", Role.VIEWER),
    ],
)
def test_what_has_no_line_is_for_administrators(method: str, path: str, role: Role | None) -> None:
    assert rule_for(method, path).role is role


def test_a_path_that_does_not_exist_tells_nobody_more_than_he_may_know(
    askers: dict[Role | None, TestClient],
) -> None:
    said = {asker: askers[asker].get("/nothing").status_code for asker in ASKERS}
    assert said == {None: 401, Role.VIEWER: 403, Role.OPERATOR: 403, Role.ADMINISTRATOR: 404}

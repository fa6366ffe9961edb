"""Users, tokens and sessions over REST, on SQLite and MariaDB, and what the audit says of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from account_room import PASSWORD, AccountRoom, sign_in
from fastapi.testclient import TestClient

from orchestrator.accounts.identity import Role
from orchestrator.accounts.sessions import COOKIE

NEW_PASSWORD = "another good horse"


@pytest.fixture
def room(database_url: str, tmp_path: Path) -> Iterator[AccountRoom]:
    made = AccountRoom(tmp_path, database_url)
    yield made
    made.close()


def add(asker: TestClient, name: str, role: str = "operator", **more: Any) -> Any:
    document = {"name": name, "role": role, "password": PASSWORD, **more}
    return asker.post("/api/v1/users", json=document)


def records(asker: TestClient, **wanted: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asker.get("/api/v1/audit", params=wanted).json()["records"]
    return found


def test_a_user_is_made_changed_and_deleted(room: AccountRoom) -> None:
    owner = room.owner()
    assert owner.get("/api/v1/me").json()["name"] == "local"
    made = add(owner, "ann")
    assert made.status_code == 201
    assert made.json()["role"] == "operator"
    assert add(owner, "ann").status_code == 409
    for bad in ("Ann", "a b", "", "local", "orchestrator", "x" * 64):
        assert add(owner, bad).status_code == 422
    assert add(owner, "ben", password="short").status_code == 422
    assert add(owner, "ben", role="king").status_code == 422
    changed = owner.put("/api/v1/users/ann/role", json={"role": "viewer"})
    assert changed.json()["role"] == "viewer"
    assert [u["name"] for u in owner.get("/api/v1/users").json()] == ["ann"]
    assert owner.delete("/api/v1/users/ann").status_code == 204
    assert owner.get("/api/v1/users/ann").status_code == 404
    told = [(r["action"], r["outcome"], r["subjects"].get("user")) for r in records(owner)]
    assert ("POST /api/v1/users", "201", "ann") in told
    assert ("POST /api/v1/users", "409", "ann") in told
    assert ("DELETE /api/v1/users/{name}", "204", None) in told
    assert owner.get("/api/v1/audit/verify").json()["whole"] is True


def test_somebody_stays_administrator(room: AccountRoom) -> None:
    owner = room.owner()
    room.user("ann", Role.ADMINISTRATOR)
    room.user("ben", Role.ADMINISTRATOR)
    with ThreadPoolExecutor(2) as pool:
        gone = list(
            pool.map(lambda n: owner.delete(f"/api/v1/users/{n}").status_code, ("ann", "ben"))
        )
    assert sorted(gone) == [204, 409]
    (left,) = owner.get("/api/v1/users").json()
    refused = owner.put(f"/api/v1/users/{left['name']}/role", json={"role": "viewer"})
    assert refused.json()["type"].endswith("last-administrator")


# --- tokens ---------------------------------------------------------------------------------------


def test_a_token_speaks_for_its_user_until_it_is_revoked(room: AccountRoom) -> None:
    owner = room.owner()
    room.user("ann", Role.OPERATOR)
    made = owner.post("/api/v1/tokens", json={"name": "ci", "user": "ann"}).json()
    assert made["role"] == "operator"
    for header in ({"Authorization": f"Bearer {made['token']}"}, {"X-Auth-Token": made["token"]}):
        me = room.visitor().get("/api/v1/me", headers=header).json()
        assert (me["name"], me["role"], me["via"]) == ("ann", "operator", "token")
    ann = room.visitor()
    ann.headers["X-Auth-Token"] = made["token"]
    (seen,) = ann.get("/api/v1/tokens").json()
    assert seen["used_at"] is not None
    assert "token" not in seen
    # What the user may do less, the token may do less at once.
    owner.put("/api/v1/users/ann/role", json={"role": "viewer"})
    assert ann.get("/api/v1/me").json()["role"] == "viewer"
    assert owner.delete(f"/api/v1/tokens/{made['token_id']}").status_code == 204
    assert ann.get("/api/v1/me").status_code == 401
    assert owner.delete(f"/api/v1/tokens/{made['token_id']}").status_code == 404


def test_a_token_is_never_more_than_what_made_it(room: AccountRoom) -> None:
    room.user("boss", Role.ADMINISTRATOR)
    ann = room.with_token("ann", Role.OPERATOR)
    too_much = ann.post("/api/v1/tokens", json={"name": "x", "role": "administrator"})
    assert too_much.status_code == 403
    assert ann.post("/api/v1/tokens", json={"name": "x", "user": "boss"}).status_code == 403
    assert ann.get("/api/v1/tokens", params={"user": "boss"}).status_code == 403
    viewer = ann.post("/api/v1/tokens", json={"name": "v", "role": "viewer", "lifetime_s": 60})
    assert viewer.status_code == 201
    below = room.visitor()
    below.headers["X-Auth-Token"] = viewer.json()["token"]
    child = below.post("/api/v1/tokens", json={"name": "w"}).json()
    assert child["role"] == "viewer"
    assert child["expires_at"] == viewer.json()["expires_at"]
    owner = room.owner()
    above = owner.post("/api/v1/tokens", json={"name": "y", "user": "ann", "role": "administrator"})
    assert above.status_code == 422
    assert owner.post("/api/v1/tokens", json={"name": "z"}).status_code == 422  # of whom?
    boss = owner.post("/api/v1/tokens", json={"name": "z", "user": "boss"}).json()
    assert ann.delete(f"/api/v1/tokens/{boss['token_id']}").status_code == 404
    assert ann.post("/api/v1/tokens", json={"name": "v"}).status_code == 409


def test_tokens_go_with_their_user(room: AccountRoom) -> None:
    ann = room.with_token("ann", Role.VIEWER)
    assert ann.get("/api/v1/me").status_code == 200
    assert room.owner().delete("/api/v1/users/ann").status_code == 204
    assert ann.get("/api/v1/me").status_code == 401


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_needs_its_csrf_token_for_changes(room: AccountRoom) -> None:
    browser, csrf = room.signed_in("ann", Role.OPERATOR)
    me = browser.get("/api/v1/me").json()
    assert (me["via"], me["csrf_token"]) == ("session", csrf)
    wish = {"name": "mine"}
    for headers in ({}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": ""}):
        assert browser.post("/api/v1/tokens", json=wish, headers=headers).status_code == 403
    good = browser.post("/api/v1/tokens", json=wish, headers={"X-CSRF-Token": csrf})
    assert good.status_code == 201
    wrong = {"Authorization": "Bearer wrong", "X-CSRF-Token": csrf}
    assert browser.get("/api/v1/me", headers=wrong).status_code == 401
    gone = browser.delete("/api/v1/session", headers={"X-CSRF-Token": csrf})
    assert gone.status_code == 204
    assert browser.get("/api/v1/me").status_code == 401


def test_the_cookie_is_for_this_site_and_no_script(room: AccountRoom) -> None:
    room.user("ann", Role.VIEWER)
    visitor = room.visitor()
    cookie = sign_in(visitor, "ann").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/" in cookie
    old = visitor.cookies[COOKIE]
    room.owner().delete("/api/v1/users/ann")
    again = room.visitor()
    assert again.get("/api/v1/me", headers={"Cookie": f"{COOKIE}={old}"}).status_code == 401


def test_signing_in_says_the_same_of_a_wrong_password_and_an_unknown_user(
    room: AccountRoom,
) -> None:
    room.user("ann", Role.VIEWER)
    wrong = sign_in(room.visitor(), "ann", "not the password")
    unknown = sign_in(room.visitor(), "nobody-knows", "not the password")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    failed = records(room.owner(), action="POST /api/v1/session")
    assert [(r["who"], r["outcome"], r["subjects"]) for r in failed] == [
        ("nobody", "401", {}),
        ("nobody", "401", {"user": "ann"}),
    ]


def test_many_wrong_passwords_have_to_wait(room: AccountRoom) -> None:
    room.user("ann", Role.VIEWER)
    room.user("ben", Role.VIEWER)
    visitor = room.visitor()
    said = [sign_in(visitor, "ann", "wrong wrong wrong").status_code for _ in range(7)]
    assert said == [401] * 5 + [429] * 2
    waiting = sign_in(visitor, "ann")  # even with the right one
    assert waiting.status_code == 429
    assert 0 < int(waiting.headers["retry-after"]) <= 300
    assert sign_in(visitor, "ben").status_code == 201
    assert len(records(room.owner(), action="POST /api/v1/session")) == 6


def test_a_password_that_others_know_opens_only_its_change(room: AccountRoom) -> None:
    owner = room.owner()
    add(owner, "ann", "administrator")
    browser = room.visitor()
    opened = sign_in(browser, "ann").json()
    assert opened["must_change_password"] is True
    csrf = {"X-CSRF-Token": opened["csrf_token"]}
    refused = browser.get("/api/v1/users")
    assert refused.status_code == 403
    assert "password" in refused.json()["detail"]
    other = room.visitor()
    sign_in(other, "ann")
    change = {"current_password": "wrong wrong wrong", "new_password": NEW_PASSWORD}
    assert browser.put("/api/v1/me/password", json=change, headers=csrf).status_code == 401
    change["current_password"] = PASSWORD
    done = browser.put("/api/v1/me/password", json=change, headers=csrf)
    assert done.status_code == 200
    assert browser.get("/api/v1/users").status_code == 200
    assert other.get("/api/v1/me").status_code == 401  # all other sessions ended
    assert sign_in(room.visitor(), "ann").status_code == 401
    assert sign_in(room.visitor(), "ann", NEW_PASSWORD).status_code == 201


# --- the door -------------------------------------------------------------------------------------


def test_a_document_has_a_limit_and_an_upload_has_not(room: AccountRoom) -> None:
    owner = room.owner()
    huge = b"{" + b" " * (room.settings.max_document_bytes + 1)
    json_type = {"Content-Type": "application/json"}
    answer = owner.post("/api/v1/users", content=huge, headers=json_type)
    assert answer.status_code == 413
    assert answer.json()["type"].endswith("body-too-large")
    pieces = (b" " * 65536 for _ in range(20))
    assert owner.post("/api/v1/users", content=pieces, headers=json_type).status_code == 413
    image = owner.post("/api/v1/images", params={"name": "x"}, content=huge)
    assert image.json()["type"].endswith("image-refused")


def test_refused_changes_are_in_the_audit_and_strangers_are_not(room: AccountRoom) -> None:
    viewer = room.with_token("vic", Role.VIEWER)
    assert viewer.post("/api/v1/deployments", json={}).status_code == 403
    assert room.visitor().post("/api/v1/deployments", json={}).status_code == 401
    (only,) = records(room.owner())
    assert (only["who"], only["role"], only["via"]) == ("vic", "viewer", "token")
    assert (only["action"], only["outcome"]) == ("POST /api/v1/deployments", "403")
    assert only["source"] == "testclient"


def test_the_audit_is_paged_and_verified_against_a_head(room: AccountRoom) -> None:
    owner = room.owner()
    for number in range(5):
        add(owner, f"user-{number}")
    first = owner.get("/api/v1/audit", params={"limit": 3}).json()
    assert [r["sequence"] for r in first["records"]] == [5, 4, 3]
    params = {"limit": 3, "before": first["next_before"]}
    second = owner.get("/api/v1/audit", params=params).json()
    assert [r["sequence"] for r in second["records"]] == [2, 1]
    assert second["next_before"] is None
    verdict = owner.get("/api/v1/audit/verify").json()
    head = {"sequence": verdict["head_sequence"], "hash": verdict["head_hash"]}
    assert owner.get("/api/v1/audit/verify", params=head).json()["whole"] is True
    head["hash"] = "00" * 32
    assert owner.get("/api/v1/audit/verify", params=head).json()["whole"] is False


def test_an_error_that_nobody_expected_has_its_headers_and_its_record(
    room: AccountRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    @room.app.post("/api/v1/breaks")
    def breaks() -> None:
        raise RuntimeError("inside")

    answer = room.owner().post("/api/v1/breaks", json={})
    assert answer.status_code == 500
    assert answer.headers["x-frame-options"] == "DENY"
    assert [r["outcome"] for r in records(room.owner())] == ["500"]

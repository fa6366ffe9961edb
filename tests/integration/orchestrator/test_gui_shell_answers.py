"""What pages and their files answer, without a browser: headers, blocks, refusals, quarantine."""

from __future__ import annotations

import gzip
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from account_room import AccountRoom
from fastapi.testclient import TestClient
from httpx import Response

from key_management.ledger import ExtractedKey, KeyLedger
from key_management.wrapping import WrappingKeys
from orchestrator.accounts.identity import Role
from orchestrator.accounts.sessions import BY_ITSELF_HEADER, Sessions
from orchestrator.gui.pages import CONTENT_SECURITY_POLICY
from timekeeping import FakeClock, SystemClock

HTML = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def viewer(room: AccountRoom) -> TestClient:
    return room.signed_in("vera", Role.VIEWER)[0]


@pytest.fixture(scope="module")
def administrator(room: AccountRoom) -> TestClient:
    return room.signed_in("adam", Role.ADMINISTRATOR)[0]


def page(client: TestClient, path: str, **headers: str) -> Response:
    return client.get(path, headers={**HTML, **headers}, follow_redirects=False)


def test_pages_allow_nothing_inline_and_are_not_kept(viewer: TestClient) -> None:
    for path in ("/sign-in", "/", "/schedule", "/keys"):
        answer = page(viewer, path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]* src=)|<style| on[a-z]+=", answer.text)
        assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)  # works offline


def test_files_are_kept_for_ever_under_their_content(viewer: TestClient) -> None:
    for url in re.findall(r'(?:src|href)="(/static/[^"]+)"', page(viewer, "/keys").text):
        answer = viewer.get(url, headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        with viewer.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as packed:
            assert gzip.decompress(b"".join(packed.iter_raw())) == answer.content
    stale = viewer.get("/static/0123456789ab/base.css")
    assert stale.headers["cache-control"] == "no-cache"
    for name in ("../routes.py", "vendor/README.md", "nothing.js", "..%2froutes.py"):
        assert viewer.get(f"/static/x/{name}").status_code in (401, 403, 404)


def test_a_page_asks_for_one_of_its_blocks(viewer: TestClient) -> None:
    block = page(viewer, "/schedule", **{"HX-Request": "true", "HX-Target": "bobs"})
    assert block.text.strip().startswith('<div id="bobs"')
    assert "<html" not in block.text
    unknown = page(viewer, "/schedule", **{"HX-Request": "true", "HX-Target": "nothing"})
    assert "<html" in unknown.text


def test_without_a_session_browsers_are_sent_to_sign_in_and_programs_are_told(
    room: AccountRoom,
) -> None:
    nobody = room.visitor()
    asked = page(nobody, "/keys?hours=24")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/sign-in?next=/keys%3Fhours%3D24"
    live = page(
        nobody,
        "/keys",
        **{"HX-Request": "true", "HX-Current-URL": "http://127.0.0.1/keys?hours=24"},
    )
    assert live.status_code == 401
    assert live.headers["hx-redirect"] == "/sign-in?next=/keys%3Fhours%3D24"
    program = nobody.get("/keys")
    assert program.status_code == 401
    assert program.headers["content-type"] == "application/problem+json"
    assert nobody.get("/gui/events?topics=keys").status_code == 401


def test_the_csrf_token_stands_in_the_page_of_its_session_alone(room: AccountRoom) -> None:
    browser, token = room.signed_in("carl", Role.OPERATOR)
    assert f'<meta name="csrf-token" content="{token}">' in page(browser, "/schedule").text
    assert '<meta name="csrf-token" content="">' in page(room.visitor(), "/sign-in").text


def test_an_open_page_does_not_keep_an_idle_session_alive(room: AccountRoom) -> None:
    clock = FakeClock(start=SystemClock().now())
    room.user("ida", Role.VIEWER)
    user = room.accounts.users.named("ida")
    sessions = Sessions(room.engine, clock, life_s=10_000, idle_s=100)
    left, used = sessions.begin(user, "here"), sessions.begin(user, "here")
    for _ in range(4):
        clock.advance(30)
        sessions.identity_of(left.cookie, seen=False)
        assert sessions.identity_of(used.cookie) is not None
    assert sessions.identity_of(left.cookie) is None


def test_what_an_open_page_asks_by_itself_is_not_seen(room: AccountRoom) -> None:
    browser, _ = room.signed_in("lea", Role.VIEWER)
    with room.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account_session SET seen_at = seen_at - 600000000")
        before = connection.exec_driver_sql("SELECT MAX(seen_at) FROM account_session").scalar_one()
    assert browser.get("/keys", headers={BY_ITSELF_HEADER: "1"}).status_code == 200
    with room.engine.begin() as connection:
        assert (
            connection.exec_driver_sql("SELECT MAX(seen_at) FROM account_session").scalar_one()
            == before
        )
    assert browser.get("/keys").status_code == 200
    with room.engine.begin() as connection:
        assert (
            connection.exec_driver_sql("SELECT MAX(seen_at) FROM account_session").scalar_one()
            > before
        )


def test_keys_in_quarantine_are_for_administrators_to_decide(
    room: AccountRoom, viewer: TestClient, administrator: TestClient
) -> None:
    link, turn = "alice--bob-2", uuid4()
    wrapping = WrappingKeys(room.settings.state_dir / "wrapping")
    ledger = KeyLedger(room.engine, wrapping, SystemClock())
    secrets = [bytes([n]) * 32 for n in (201, 202, 203)]
    keys = [ExtractedKey(uuid4(), s[:8], bytearray(s)) for s in secrets]
    epoch = uuid4()
    ids = ledger.add_pending(link, epoch, keys, emulated=True, turn=turn)
    ledger.confirm(link, epoch, ids)
    ledger.quarantine(link, turn, "QBER 9.1 % <is> too high")
    told = page(viewer, "/keys").text
    assert "QBER 9.1 % &lt;is&gt; too high" in told
    assert f"quarantine/{turn}" not in told
    decides = page(administrator, "/keys").text
    assert f"POST /api/v1/keys/links/{link}/quarantine/{turn}/release" in decides
    assert f"POST /api/v1/keys/links/{link}/quarantine/{turn}/burn" in decides
    traced = page(viewer, f"/keys/trace?key_id={ids[0]}").text
    assert str(ids[0]) in traced
    assert "emulated" in traced
    for text in (told, decides, traced):
        assert not any(secret.hex() in text for secret in secrets)


@pytest.mark.parametrize("key_id", ["x", "", "' OR 1=1", str(uuid4()), "0" * 65])
def test_a_trace_of_no_key_is_answered_kindly(viewer: TestClient, key_id: str) -> None:
    answer = page(viewer, f"/keys/trace?key_id={key_id}")
    assert answer.status_code in (200, 422)
    assert "Traceback" not in answer.text
    assert "<h1>" in answer.text


def test_a_session_ends_by_age_whatever_a_page_asks(room: AccountRoom) -> None:
    clock = FakeClock(start=SystemClock().now())
    room.user("old", Role.VIEWER)
    sessions = Sessions(room.engine, clock, life_s=1000, idle_s=1000)
    opened = sessions.begin(room.accounts.users.named("old"), "here")
    clock.advance(timedelta(seconds=1000).total_seconds())
    assert sessions.identity_of(opened.cookie, seen=False) is None

"""Notifications reach who subscribed: all of them, in their order, whatever dies on the way."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from lcm_subscriber import Subscriber
from notification_parts import KEEP_S, Parts
from sqlalchemy import delete, select

from database import reading, writing
from orchestrator.accounts.tables import UserRow
from orchestrator.projects.tables import MemberRow
from orchestrator.sol003.notifications.callbacks import Callbacks
from orchestrator.sol003.notifications.documents import SubscriptionAuthentication
from orchestrator.sol003.notifications.errors import (
    CallbackRefusedError,
    CallbackTestsBusyError,
)
from orchestrator.sol003.notifications.tables import NotificationRow, SubscriptionRow
from orchestrator.vnf_lcm.states import OperationState
from timekeeping import FakeClock, SystemClock

PROCESSING, COMPLETED = OperationState.PROCESSING, OperationState.COMPLETED
WAITING, HELD = OperationState.WAITING_FOR_KEY, OperationState.FAILED_TEMP


@pytest.fixture
def parts(database_url: str, tmp_path: Path) -> Iterator[Parts]:
    made = Parts(database_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    made = Callbacks(["http://127.0.0.1"], SystemClock())
    yield made
    made.close()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    listening = Subscriber()
    yield listening
    listening.close()


def waiting(parts: Parts) -> int:
    with reading(parts.engine) as session:
        return len(list(session.scalars(select(NotificationRow.sequence))))


def test_each_state_is_told_once_and_in_order(parts: Parts, subscriber: Subscriber) -> None:
    parts.subscribe(f"{subscriber.url}/cb")
    one, other = parts.operation(), parts.operation()
    parts.move(one, WAITING, PROCESSING, HELD)
    parts.move(other, PROCESSING, COMPLETED)
    assert parts.journal.begin_again(one, other, wait_until=None)
    assert parts.deliver() == 7
    assert waiting(parts) == 0
    told = subscriber.told("vnfLcmOpOccId", "operationState", "notificationStatus")
    by = {
        each: [(state, status) for of, state, status in told if of == str(each)]
        for each in (one, other)
    }
    assert by[one] == [
        ("STARTING", "START"), ("PROCESSING", "START"), ("FAILED_TEMP", "RESULT"),
        ("STARTING", "START"),
    ]  # fmt: skip
    assert by[other] == [("STARTING", "START"), ("PROCESSING", "START"), ("COMPLETED", "RESULT")]
    first = subscriber.bodies[0]
    assert first["notificationType"] == "VnfLcmOperationOccurrenceNotification"
    assert first["_links"]["vnfLcmOpOcc"]["href"] == f"http://us/vnflcm/v1/vnf_lcm_op_occs/{one}"
    assert len({body["id"] for body in subscriber.bodies}) == 7


def test_who_takes_nothing_gets_it_later_and_holds_nobody_up(
    parts: Parts, subscriber: Subscriber
) -> None:
    other = Subscriber()
    parts.subscribe(f"{subscriber.url}/a")
    parts.subscribe(f"{other.url}/b")
    subscriber.statuses["POST"] = [500, 302, 204]
    subscriber.headers["Location"] = f"{other.url}/stolen"
    operation = parts.operation()
    parts.move(operation, PROCESSING)
    assert parts.deliver() == 2
    assert parts.deliver() == 0, "it pauses"
    parts.clock.advance(1.0)
    assert parts.deliver() == 0, "a redirect is not followed"
    parts.clock.advance(1.0)
    assert parts.deliver() == 0, "it pauses longer"
    parts.clock.advance(1.0)
    assert parts.deliver() == 2
    assert subscriber.told("operationState") == [("STARTING",)] * 3 + [("PROCESSING",)]
    assert {path for _, path, _ in other.seen} == {"/b"}
    other.close()


def test_what_nobody_takes_for_long_is_dropped_with_an_alarm(
    parts: Parts, subscriber: Subscriber
) -> None:
    subscription = parts.subscribe(subscriber.url)
    subscriber.statuses["POST"] = [503]
    parts.operation()
    assert parts.deliver() == 0
    assert parts.alarms == []
    parts.clock.advance(KEEP_S)
    parts.deliver()
    assert waiting(parts) == 0
    ((kind, subject, detail),) = parts.alarms
    assert (kind, subject) == ("notifications-dropped", str(subscription))
    assert "503" in detail
    assert subscriber.url not in detail


def test_a_dead_subscriber_is_tried_once_a_turn(parts: Parts, subscriber: Subscriber) -> None:
    subscription = parts.subscribe(subscriber.url)
    subscriber.statuses["POST"] = [503]
    with writing(parts.engine) as session:
        now = parts.clock.now()
        body = {"vnfInstanceId": str(uuid4())}
        session.add_all(
            NotificationRow(subscription_id=subscription, body=body, created_at=now)
            for _ in range(200)
        )
    parts.clock.advance(KEEP_S)
    parts.operation()
    assert parts.deliver() == 0
    assert len(subscriber.bodies) == 1
    assert waiting(parts) == 1, "what is young stays"
    assert len(parts.alarms) == 1
    assert parts.courier.due() == [], "it pauses"


def test_a_subscription_that_goes_while_it_is_sent_to_takes_nothing_with_it(
    parts: Parts, subscriber: Subscriber
) -> None:
    goes = parts.subscribe(f"{subscriber.url}/a", filter={"operationTypes": ["INSTANTIATE"]})
    parts.operation()

    def replace() -> None:
        subscriber.before_answer = lambda: None
        parts.subscriptions.delete(goes)
        stays = parts.subscribe(f"{subscriber.url}/b")
        with writing(parts.engine) as session:
            now = parts.clock.now()
            body = {"vnfInstanceId": str(uuid4())}
            session.add(NotificationRow(subscription_id=stays, body=body, created_at=now))

    subscriber.before_answer = replace
    parts.courier.deliver(goes)
    assert waiting(parts) == 1
    assert parts.deliver() == 1


def test_a_subscription_ends_with_its_account(parts: Parts, subscriber: Subscriber) -> None:
    red, blue, green = (parts.member(name) for name in ("red", "blue", "green"))
    for who in (red, blue):
        parts.subscribe(f"{subscriber.url}/{who.name}", who)
    idle = parts.subscribe(f"{subscriber.url}/idle", green)
    parts.operation("red")
    parts.operation("blue")
    users = [who.user_id for who in (red, green)]
    with writing(parts.engine) as session:  # of blue, only the membership goes
        session.execute(delete(MemberRow))
        session.execute(delete(UserRow).where(UserRow.user_id.in_(users)))
    subscriber.bodies.clear()
    assert parts.deliver() == 0
    assert subscriber.bodies == []
    assert waiting(parts) == 0
    assert {row.user_id for row in parts.subscriptions.all()} == {blue.user_id, green.user_id}
    parts.subscriptions.settle()
    assert idle not in {row.subscription_id for row in parts.subscriptions.all()}


WISHES: list[tuple[dict[str, object], list[str]]] = [
    ({"operationStates": ["COMPLETED"]}, ["COMPLETED"]),
    ({"operationTypes": ["HEAL"]}, []),
    ({"notificationTypes": ["VnfIdentifierCreationNotification"]}, []),
    (
        {"vnfInstanceSubscriptionFilter": {"vnfInstanceNames": ["web"]}},
        ["STARTING", "PROCESSING", "COMPLETED"],
    ),
    ({"vnfInstanceSubscriptionFilter": {"vnfInstanceNames": ["other"]}}, []),
]


def test_filters_of_subscriptions(parts: Parts, subscriber: Subscriber) -> None:
    ids = [str(parts.subscribe(subscriber.url, filter=wish)) for wish, _ in WISHES]
    parts.move(parts.operation(), PROCESSING, COMPLETED)
    parts.deliver()
    told = subscriber.told("subscriptionId", "operationState")
    found = [[state for owner, state in told if owner == each] for each in ids]
    assert found == [states for _, states in WISHES]


def test_a_subscriber_is_told_of_what_his_projects_own(
    parts: Parts, subscriber: Subscriber
) -> None:
    red = parts.member("red")
    parts.member("blue")
    parts.subscribe(subscriber.url, red)
    theirs, his = parts.operation("blue"), parts.operation("red")
    parts.deliver()
    assert subscriber.told("vnfLcmOpOccId") == [(str(his),)]
    assert str(theirs) not in str(subscriber.bodies)


def test_credentials_are_shown_to_the_subscriber_alone(
    parts: Parts, subscriber: Subscriber, capsys: pytest.CaptureFixture[str]
) -> None:
    basic = {"authType": ["BASIC"], "paramsBasic": {"userName": "u", "password": "s3cr3t"}}
    oauth2 = {
        "authType": ["OAUTH2_CLIENT_CREDENTIALS"],
        "paramsOauth2ClientCredentials": {
            "clientId": "c",
            "clientPassword": "s3cr3t",
            "tokenEndpoint": f"{subscriber.url}/token",
        },
    }
    parts.subscribe(f"{subscriber.url}/basic", authentication=basic)
    parts.subscribe(f"{subscriber.url}/oauth2", authentication=oauth2)
    parts.operation()
    assert parts.deliver() == 2

    def header(user: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:s3cr3t".encode()).decode()

    shown = {(path, authorization) for _, path, authorization in subscriber.seen}
    assert shown == {("/basic", header("u")), ("/token", header("c")), ("/oauth2", "Bearer t0k3n")}
    assert sum(path == "/token" for _, path, _ in subscriber.seen) == 1, "a token is kept"
    with reading(parts.engine) as session:
        rows = list(session.scalars(select(SubscriptionRow)))
        stored = [bytes(row.authentication or b"") for row in rows]
    assert all(stored)
    assert not any(b"s3cr3t" in each for each in stored)
    assert "s3cr3t" not in repr(rows) + capsys.readouterr().out


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:1/cb",
        "https://127.0.0.1/cb",
        "http://127.0.0.1.example.org/cb",
        "http://127.0.0.1@example.org/cb",
        "http://u:p@127.0.0.1/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "/cb",
        "http://127.0.0.1/cb#x",
    ],
)
def test_nothing_is_sent_to_who_is_not_allowed(callbacks: Callbacks, uri: str) -> None:
    with pytest.raises(CallbackRefusedError, match=r"origins|absolute"):
        callbacks.test(uuid4(), uri, None)


@pytest.mark.parametrize("status", [200, 302, 401, 500])
def test_a_callback_must_pass_its_test(
    callbacks: Callbacks, subscriber: Subscriber, status: int
) -> None:
    subscriber.statuses["GET"] = [status]
    with pytest.raises(CallbackRefusedError, match=str(status)):
        callbacks.test(uuid4(), subscriber.url, None)


def oauth2_of(subscriber: Subscriber) -> SubscriptionAuthentication:
    return SubscriptionAuthentication.model_validate(
        {
            "authType": ["OAUTH2_CLIENT_CREDENTIALS"],
            "paramsOauth2ClientCredentials": {
                "clientId": "c",
                "clientPassword": "s3cr3t",
                "tokenEndpoint": f"{subscriber.url}/token",
            },
        }
    )


def token_for(life: object) -> bytes:
    return json.dumps({"access_token": "t0k3n", "expires_in": life}).encode()


@pytest.mark.parametrize("life", [float("nan"), float("inf"), "soon", None, True, [1]])
def test_a_token_that_holds_for_no_number_of_seconds_is_refused(
    callbacks: Callbacks, subscriber: Subscriber, life: object
) -> None:
    subscriber.token_document = token_for(life)
    why = callbacks.notify(uuid4(), subscriber.url, oauth2_of(subscriber), {})
    assert why is not None
    assert "expires_in" in why


@pytest.mark.parametrize("life", [1e308, 10**400, -(10**400)], ids=["float", "400-digits", "minus"])
def test_a_token_holds_for_a_day_at_most(subscriber: Subscriber, life: float) -> None:
    clock, subscription = FakeClock(), uuid4()
    callbacks = Callbacks(["http://127.0.0.1"], clock)
    subscriber.token_document = token_for(life)
    for _ in range(2):
        assert callbacks.notify(subscription, subscriber.url, oauth2_of(subscriber), {}) is None
        clock.advance(86_400)
    assert sum(path == "/token" for _, path, _ in subscriber.seen) == 2
    callbacks.close()


def test_a_token_in_brackets_without_end_is_none(
    callbacks: Callbacks, subscriber: Subscriber
) -> None:
    subscriber.token_document = b"[" * 16_000
    why = callbacks.notify(uuid4(), subscriber.url, oauth2_of(subscriber), {})
    assert why is not None
    assert "no token" in why


def test_a_token_is_forgotten_with_its_subscription_and_when_it_fails(
    callbacks: Callbacks, subscriber: Subscriber
) -> None:
    subscription, oauth2 = uuid4(), oauth2_of(subscriber)

    def tokens_after(status: int) -> int:
        subscriber.statuses["POST"] = [status]
        callbacks.notify(subscription, subscriber.url, oauth2, {})
        return sum(path == "/token" for _, path, _ in subscriber.seen)

    assert [tokens_after(status) for status in (204, 503, 204, 204)] == [1, 1, 2, 2]
    callbacks.forget(subscription)
    assert tokens_after(204) == 3


def test_an_answer_that_drips_ends_at_the_deadline(subscriber: Subscriber) -> None:
    clock = FakeClock()
    callbacks = Callbacks(["http://127.0.0.1"], clock)
    subscriber.between_bytes = lambda: clock.advance(1.0)
    with pytest.raises(CallbackRefusedError, match="ReadTimeout"):
        callbacks.test(uuid4(), subscriber.url, None)
    callbacks.close()


def test_few_callbacks_are_tested_at_once_and_delivery_is_apart(
    callbacks: Callbacks, subscriber: Subscriber
) -> None:
    other, begun, go_on = Subscriber(), threading.Semaphore(0), threading.Event()

    def hold() -> None:
        begun.release()
        go_on.wait(4)

    subscriber.before_answer = hold
    tests = [
        threading.Thread(target=callbacks.test, args=(uuid4(), subscriber.url, None))
        for _ in range(4)
    ]
    for each in tests:
        each.start()
    for _ in tests:
        assert begun.acquire(timeout=10)
    with pytest.raises(CallbackTestsBusyError) as refused:
        callbacks.test(uuid4(), other.url, None)
    assert refused.value.next_step
    assert callbacks.notify(uuid4(), other.url, None, {}) is None
    go_on.set()
    for each in tests:
        each.join(10)
    callbacks.test(uuid4(), other.url, None)
    other.close()


def test_an_operation_does_not_fail_for_a_subscription_that_goes(
    parts: Parts, subscriber: Subscriber
) -> None:
    gone, stays = parts.subscribe(f"{subscriber.url}/a"), parts.subscribe(f"{subscriber.url}/b")
    operation = parts.operation()
    parts.subscriptions.delete(gone)
    with writing(parts.engine) as session:  # written by who read of it before it went
        now = parts.clock.now()
        session.add(NotificationRow(subscription_id=gone, body={}, created_at=now))
    parts.subscriptions.settle()
    assert waiting(parts) == 1
    assert parts.deliver() == 1
    assert subscriber.told("subscriptionId", "vnfLcmOpOccId") == [(str(stays), str(operation))]


def test_a_killed_orchestrator_delivers_after_its_next_start(
    parts: Parts, subscriber: Subscriber, database_url: str, tmp_path: Path
) -> None:
    subscription = parts.subscribe(subscriber.url)
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder), *sys.path])

    def doomed(what: str) -> subprocess.Popen[bytes]:
        words = [database_url, str(tmp_path), str(subscription), what]
        return subprocess.Popen(
            [sys.executable, str(folder / "doomed_notifier.py"), *words],
            env={**os.environ, "PYTHONPATH": paths},
        )

    assert doomed("record").wait(60) == -signal.SIGKILL
    assert waiting(parts) == 1, "written with the operation"
    deliverer = doomed("deliver")
    subscriber.before_answer = deliverer.kill  # it was received, and nobody knows
    assert deliverer.wait(60) == -signal.SIGKILL
    subscriber.before_answer = lambda: None
    assert parts.deliver() == 1
    told = subscriber.told("id", "operationState")
    assert len(told) == 2
    assert told[0] == told[1], "at least once"
    assert waiting(parts) == 0

"""The audit chain in a database, SQLite and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from database import open_engine, writing
from orchestrator.audit.custody import Custody
from orchestrator.audit.log import AuditLog, Filter
from orchestrator.audit.record import Entry
from orchestrator.audit.tables import migrate_audit
from orchestrator.store.tables import (
    DeploymentRow,
    OperationRow,
    TransferRow,
    migrate_orchestrator,
)
from timekeeping import FakeClock


def entry(who: str = "ann", action: str = "POST /api/v1/x", **subjects: str) -> Entry:
    return Entry(who, "operator", "token", "127.0.0.1", action, "200", subjects)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    for _ in range(2):  # a second start changes nothing
        migrate_audit(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def audit(engine: Engine, clock: FakeClock) -> AuditLog:
    return AuditLog(engine, clock)


def tamper(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_what_was_appended_is_found_and_whole(audit: AuditLog, clock: FakeClock) -> None:
    assert audit.verify().is_whole
    audit.append(entry(user="ben"))
    clock.advance(60)
    audit.append(entry("cat", "DELETE /api/v1/x", user="ben", image="00_%"))
    verdict = audit.verify()
    assert verdict.is_whole
    assert verdict.records == 2
    assert verdict.head == audit.head()
    assert [r.sequence for r in audit.records(Filter(), 10)] == [2, 1]
    assert [r.sequence for r in audit.records(Filter(before=2), 10)] == [1]
    assert [r.sequence for r in audit.records(Filter(who="cat"), 10)] == [2]
    assert [r.sequence for r in audit.records(Filter(action="POST"), 10)] == [1]
    assert [r.sequence for r in audit.records(Filter(subject="00_%"), 10)] == [2]
    assert audit.records(Filter(subject="00__"), 10) == []
    assert audit.records(Filter(subject="be"), 10) == []
    assert [r.sequence for r in audit.records(Filter(until=clock.now()), 10)] == [1]
    since = clock.now() - timedelta(seconds=1)
    assert [r.sequence for r in audit.records(Filter(since=since), 10)] == [2]


def test_for_who_sees_all_no_more_is_read_than_was_asked_for(
    engine: Engine, audit: AuditLog
) -> None:
    for number in range(6):
        audit.append(entry(number=str(number)))
    limits: list[object] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        if "FROM audit_record" in statement:
            limits.extend(values.values() if isinstance(values, dict) else cast("Any", values))

    assert [record.sequence for record in audit.records(Filter(), 3)] == [6, 5, 4]
    assert 3 in limits
    assert max(cast("int", limit) for limit in limits) == 3


def test_many_at_once_make_one_chain(audit: AuditLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda n: audit.append(entry(number=str(n))), range(80)))
    assert sorted(head.sequence for head in heads if head) == list(range(1, 81))
    assert audit.verify().is_whole


def test_what_is_told_once_has_one_record(audit: AuditLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(lambda _: audit.append(entry(), once="event:1"), range(16)))
    assert sum(head is not None for head in heads) == 1
    assert audit.verify().records == 1
    assert audit.told(["event:1", "event:2"]) == {"event:1"}


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit_record SET who='eve' WHERE sequence=2", "record 2 was changed"),
        ("UPDATE audit_record SET at=at+1 WHERE sequence=3", "record 3 was changed"),
        ("UPDATE audit_record SET subjects='{}' WHERE sequence=1", "record 1 was changed"),
        ("UPDATE audit_record SET subjects='[' WHERE sequence=1", "record 1 was changed"),
        (
            'UPDATE audit_record SET subjects=\'{"n": "1"}\' WHERE sequence=1',
            "record 1 was changed",
        ),
        ("DELETE FROM audit_record WHERE sequence=2", "record 2 is missing"),
        ("DELETE FROM audit_record WHERE sequence=4", "its head says 4"),
        ("DELETE FROM audit_record", "its head says 4"),
        ("UPDATE audit_record SET sequence=0 WHERE sequence=1", "record 1 is missing"),
        ("UPDATE audit_head SET sequence=3", "its head says 3"),
    ],
)
def test_tampering_is_found(engine: Engine, audit: AuditLog, statement: str, says: str) -> None:
    for number in range(1, 5):
        audit.append(entry(n=str(number)))
    tamper(engine, statement)
    verdict = audit.verify()
    assert not verdict.is_whole
    assert says in verdict.fault


def test_exchanged_records_are_found(engine: Engine, audit: AuditLog) -> None:
    for number in range(1, 4):
        audit.append(entry(n=str(number)))
    for change in ("sequence=-1 WHERE sequence=2", "sequence=2 WHERE sequence=3"):
        tamper(engine, f"UPDATE audit_record SET {change}")
    tamper(engine, "UPDATE audit_record SET sequence=3 WHERE sequence=-1")
    assert audit.verify().fault == "record 2 does not follow the record before it"


def test_a_cut_tail_with_its_head_is_found_by_an_anchor_alone(
    engine: Engine, audit: AuditLog
) -> None:
    audit.append(entry(n="1"))
    before = audit.head()
    anchor = audit.append(entry(n="2"))
    tamper(engine, "DELETE FROM audit_record WHERE sequence=2")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE audit_head SET sequence=1, hash=:hash"), {"hash": before.hash}
        )
    assert audit.verify().is_whole
    assert audit.verify([before]).is_whole
    assert "before the anchored 2" in audit.verify([anchor]).fault
    audit.append(entry(n="another"))
    assert "not the one that was anchored" in audit.verify([anchor]).fault


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(word=st.text(max_size=250), value=st.text(max_size=250))
def test_any_text_is_kept_so_that_its_hash_holds(audit: AuditLog, word: str, value: str) -> None:
    audit.append(Entry(word, value, word, value, word, value, {word: value}))
    assert audit.verify().is_whole


# --- custody --------------------------------------------------------------------------------------


def an_ended_operation(engine: Engine, clock: FakeClock, *, with_key: bool = True) -> OperationRow:
    deployment_id, operation_id = uuid4(), uuid4()
    now = clock.now()
    operation = OperationRow(
        operation_id=operation_id,
        deployment_id=deployment_id,
        kind="INSTANTIATE",
        state="COMPLETED",
        on_failure="rollback",
        tries=1,
        cancel_requested=False,
        transfer_id=operation_id,
        created_at=now,
        ended_at=now,
    )
    with writing(engine) as session:
        session.add(
            DeploymentRow(
                deployment_id=deployment_id,
                name="web",
                data_centre="dc-1",
                image_digest=bytes(range(32)),
                cipher="aes-256-gcm",
                key_mode="pooled",
                memory_mib=256,
                cpus=1.0,
                state="RUNNING",
                instance={"instance_id": str(deployment_id), "vim_instance_id": "c0ffee"},
                created_at=now,
                changed_at=now,
            )
        )
        session.add(operation)
        if with_key:
            session.add(
                TransferRow(
                    transfer_id=operation_id,
                    operation_id=operation_id,
                    data_centre="dc-1",
                    link="alice--bob-1",
                    key_id=uuid4(),
                    emulated_key=True,
                    cipher="aes-256-gcm",
                    image_digest=bytes(range(32)),
                    image_size=1,
                    vim_image_id="x",
                    bytes_sent=1,
                    created_at=now,
                )
            )
    return operation


def test_the_custody_of_an_image_is_told_once(
    engine: Engine, audit: AuditLog, clock: FakeClock
) -> None:
    migrate_orchestrator(engine)
    custody = Custody(engine, audit)
    first = an_ended_operation(engine, clock)
    custody.on_end(first)
    custody.on_end(first)
    second = an_ended_operation(engine, clock, with_key=False)  # a crash came before its record
    custody.settle()
    custody.settle()
    later, earlier = audit.records(Filter(), 10)
    assert later.entry.subjects["operation"] == str(second.operation_id)
    assert "key" not in later.entry.subjects
    told = earlier.entry
    assert (told.who, told.via, told.action, told.outcome) == (
        "orchestrator",
        "inside",
        "operation INSTANTIATE",
        "COMPLETED",
    )
    assert told.subjects["data_centre"] == "dc-1"
    assert told.subjects["image"] == bytes(range(32)).hex()
    assert told.subjects["vim_instance"] == "c0ffee"
    assert {"key", "link", "instance", "ended_at", "emulated_key"} <= set(told.subjects)
    found = audit.records(Filter(subject=told.subjects["instance"]), 10)
    assert [record.sequence for record in found] == [1]
    assert audit.verify().is_whole

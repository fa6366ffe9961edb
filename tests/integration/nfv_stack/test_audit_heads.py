"""A data centre as witness of an orchestrator's audit chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from database import migrate, open_engine, reading
from nfv_stack.contract.audit_heads import MOST_HEADS, SignedHead, check_head, sign_head
from nfv_stack.contract.errors import HeadRefusedError
from nfv_stack.errors import ChainWentBackError
from nfv_stack.store import audit_heads
from nfv_stack.store.audit_heads import AuditHeads
from nfv_stack.store.tables import MIGRATIONS, AuditHeadRow, migrate_slave
from timekeeping import FakeClock, SystemClock
from trust import Authority, Credentials, Identity, Role

Say = Callable[..., SignedHead]


def now() -> datetime:
    """Within the life of certificates that were made this moment."""
    return datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki")


@pytest.fixture
def ours(authority: Authority) -> Credentials:
    return authority.issue(Identity(Role.ORCHESTRATOR, "central"))


@pytest.fixture
def say(ours: Credentials) -> Say:
    def signed(sequence: int, *, salt: str = "", name: str = "central") -> SignedHead:
        hash_ = hashlib.sha256(f"{sequence}{salt}".encode()).digest()
        return sign_head(name, sequence, hash_, now(), ours)

    return signed


@pytest.fixture
def kept(database_url: str, ours: Credentials) -> AuditHeads:
    engine = open_engine(database_url)
    migrate_slave(engine)
    return AuditHeads(engine, ours.authority, SystemClock())


def test_heads_are_kept_newest_first_and_a_repetition_is_no_fault(
    kept: AuditHeads, say: Say
) -> None:
    for sequence in (3, 7, 7, 3):
        kept.keep(say(sequence))
    assert [head.sequence for head in kept.heads("central", 10)] == [7, 3]
    assert kept.heads("central", 1) == [kept.heads("central", 10)[0]]
    assert kept.heads("other", 10) == []
    check_head(kept.heads("central", 1)[0], Path(kept._authority).read_bytes())


@pytest.mark.parametrize(("sequence", "salt"), [(7, "rewritten"), (5, ""), (3, "rewritten")])
def test_a_chain_that_was_cut_or_written_anew_is_refused(
    kept: AuditHeads, say: Say, sequence: int, salt: str
) -> None:
    kept.keep(say(3))
    kept.keep(say(7))
    with pytest.raises(ChainWentBackError, match="does not follow"):
        kept.keep(say(sequence, salt=salt))
    assert [head.sequence for head in kept.heads("central", 10)] == [7, 3]


def test_a_head_that_was_changed_or_signed_by_another_is_refused(
    kept: AuditHeads, say: Say, authority: Authority, tmp_path: Path
) -> None:
    true = say(3)
    stranger = Authority.create(tmp_path / "stranger").issue(Identity(Role.ORCHESTRATOR, "central"))
    slave = authority.issue(Identity(Role.SLAVE, "central"))
    forged = [
        true.model_copy(update={"sequence": 4}),
        true.model_copy(update={"hash": "00" * 32}),
        true.model_copy(update={"at": now() + timedelta(seconds=1)}),
        true.model_copy(update={"signature": "AAAA"}),
        true.model_copy(update={"signature": "no base64"}),
        true.model_copy(update={"certificate": "no certificate"}),
        sign_head("central", 3, bytes(32), now(), stranger),
        sign_head("central", 3, bytes(32), now(), slave),
        say(3, name="other"),
        # The key of one with the certificate of the other.
        sign_head("central", 3, bytes(32), now(), replace(stranger, certificate=slave.certificate)),
    ]
    for head in forged:
        with pytest.raises(HeadRefusedError):
            kept.keep(head)
    assert kept.heads("central", 10) == []


def test_a_head_from_before_or_after_its_signer_s_certificate_is_refused(
    kept: AuditHeads, ours: Credentials
) -> None:
    for days in (-1, 91):
        with pytest.raises(HeadRefusedError, match="not valid at that moment"):
            kept.keep(sign_head("central", 3, bytes(32), now() + timedelta(days=days), ours))


def test_who_holds_an_orchestrator_cannot_push_out_the_first_head_of_a_day(
    database_url: str, ours: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_heads, "_KEPT", 10)  # a thousand signatures take their time
    engine, clock = open_engine(database_url), FakeClock()
    migrate_slave(engine)
    kept = AuditHeads(engine, ours.authority, clock)

    def say(sequence: int) -> None:
        """What the moment claims is of no account: days are the witness's."""
        kept.keep(sign_head("central", sequence, bytes(32), now() + timedelta(days=1), ours))

    for day in range(3):
        for sequence in range(10 * day + 1, 10 * day + 5):
            say(sequence)
        clock.advance(24 * 3600)
    for forged in range(100, 130):
        say(forged)
    sequences = [head.sequence for head in kept.heads("central", MOST_HEADS)]
    assert sequences == [*range(129, 119, -1), 100, 21, 11, 1]


def test_heads_of_before_are_marked_once_a_day(database_url: str, ours: Credentials) -> None:
    engine = open_engine(database_url)
    migrate(engine, MIGRATIONS, room="slave", revision="0003")
    with engine.begin() as connection:
        for sequence, hours in ((1, 1), (2, 2), (5, 30), (6, 31)):
            at = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() + hours * 3600) * 10**6
            connection.execute(
                text(
                    "INSERT INTO slave_audit_head"
                    " VALUES ('central', :sequence, :hash, :at, 's', 'c')"
                ),
                {"sequence": sequence, "hash": bytes(32), "at": at},
            )
    migrate_slave(engine)
    with reading(engine) as session:
        marked = {row.sequence: row.first_of_day for row in session.scalars(select(AuditHeadRow))}
    assert marked == {1: date(2026, 1, 1), 2: None, 5: date(2026, 1, 2), 6: None}

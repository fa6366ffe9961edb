"""A data centre as witness of an orchestrator's audit chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from database import open_engine
from nfv_stack.contract.audit_heads import SignedHead, check_head, sign_head
from nfv_stack.contract.errors import HeadRefusedError
from nfv_stack.errors import ChainWentBackError
from nfv_stack.store.audit_heads import AuditHeads
from nfv_stack.store.tables import migrate_slave
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
    return AuditHeads(engine, ours.authority)


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

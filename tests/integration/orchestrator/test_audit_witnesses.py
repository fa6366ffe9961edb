"""Heads of the audit at data centres: what a changed database cannot hide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, update

from database import open_engine, writing
from nfv_stack.contract.audit_heads import SignedHead, sign_head
from nfv_stack.contract.client import SlaveClient
from nfv_stack.contract.errors import SlaveRefusedError, SlaveUnreachableError
from nfv_stack.errors import ChainWentBackError
from nfv_stack.store.audit_heads import AuditHeads
from nfv_stack.store.tables import migrate_slave
from orchestrator.audit.log import AuditLog
from orchestrator.audit.record import NO_HASH, Entry, record_hash
from orchestrator.audit.tables import AuditHeadRow, AuditRow, migrate_audit
from orchestrator.audit.witnesses import Witnesses
from problem_details import Problem
from timekeeping import SystemClock
from trust import Authority, Identity, Role

ENTRY = Entry("ann", "operator", "token", "127.0.0.1", "POST /x", "201", {"image": "ab"})


class Centre(SlaveClient):
    """A data centre with its own database, asked without a network between."""

    def __init__(self, name: str, heads: AuditHeads) -> None:
        self.name = name
        self.is_away = False
        self.foreign: list[SignedHead] = []
        self._heads = heads

    def keep_audit_head(self, head: SignedHead) -> None:
        self._there()
        try:
            self._heads.keep(head)
        except ChainWentBackError as error:
            raise SlaveRefusedError(self.name, Problem.of(error, 409)) from error

    def audit_heads(self, orchestrator: str, limit: int = 100) -> list[SignedHead]:
        self._there()
        return [*self.foreign, *self._heads.heads(orchestrator, limit)]

    def _there(self) -> None:
        if self.is_away:
            raise SlaveUnreachableError(f"{self.name} does not answer.")


class House:
    def __init__(self, folder: Path) -> None:
        authority = self.authority = Authority.create(folder / "pki")
        credentials = authority.issue(Identity(Role.ORCHESTRATOR, "central"))
        self.engine = open_engine(f"sqlite:///{folder / 'orchestrator.sqlite'}")
        migrate_audit(self.engine)
        self.audit = AuditLog(self.engine, SystemClock())
        self.centres = {name: self._centre(folder, name, authority) for name in ("dc-1", "dc-2")}
        self.witnesses = Witnesses(
            "central", self.audit, self.centres, credentials, SystemClock(), every_s=60
        )

    @staticmethod
    def _centre(folder: Path, name: str, authority: Authority) -> Centre:
        engine = open_engine(f"sqlite:///{folder / name}.sqlite")
        migrate_slave(engine)
        return Centre(name, AuditHeads(engine, authority.folder / "authority.pem", SystemClock()))

    def append(self, count: int = 1) -> None:
        for _ in range(count):
            self.audit.append(ENTRY)

    def fault(self) -> str:
        testimonies = self.witnesses.testimonies()
        return self.audit.verify([head for t in testimonies for head in t.heads]).fault


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_true_chain_leads_through_all_that_was_told(house: House) -> None:
    for _ in range(3):
        house.append(2)
        house.witnesses.tell()
    house.append()
    told = house.witnesses.testimonies()
    assert [[head.sequence for head in t.heads] for t in told] == [[6, 4, 2], [6, 4, 2]]
    assert house.fault() == ""


def test_nothing_is_told_twice_and_who_was_away_is_told_later(house: House) -> None:
    house.witnesses.tell()  # no record, no head
    house.append()
    house.centres["dc-2"].is_away = True
    house.witnesses.tell()
    assert list(house.witnesses.refusals) == ["dc-2"]
    away = house.witnesses.testimonies()[1]
    assert (away.heads, away.fault) == ((), "dc-2 does not answer.")
    house.centres["dc-2"].is_away = False
    house.append()
    house.witnesses.tell()
    assert house.witnesses.refusals == {}
    told = house.witnesses.testimonies()
    assert [[head.sequence for head in t.heads] for t in told] == [[2, 1], [2]]


def _cut_off_the_end(engine: Engine) -> None:
    with writing(engine) as session:
        session.execute(delete(AuditRow).where(AuditRow.sequence > 2))
        last = session.get_one(AuditRow, 2)
        head = session.get_one(AuditHeadRow, 1)
        head.sequence, head.hash = 2, last.own_hash


def _write_anew(engine: Engine) -> None:
    with writing(engine) as session:
        previous = NO_HASH
        for sequence in range(1, 5):
            row = session.get_one(AuditRow, sequence)
            row.who = "bob"
            entry = Entry(
                "bob", row.role, row.via, row.source, row.action, row.outcome, ENTRY.subjects
            )
            own = record_hash(sequence, row.at, entry, previous)
            session.execute(
                update(AuditRow)
                .where(AuditRow.sequence == sequence)
                .values(who="bob", previous_hash=previous, own_hash=own)
            )
            previous = own
        session.get_one(AuditHeadRow, 1).hash = previous


@pytest.mark.parametrize(
    ("forge", "fault"),
    [
        (_cut_off_the_end, "before the anchored 4"),
        (_write_anew, "is not the one that was anchored"),
    ],
)
def test_a_chain_that_was_forged_whole_shows_against_the_witnesses(
    house: House, forge: Callable[[Engine], None], fault: str
) -> None:
    house.append(4)
    house.witnesses.tell()
    forge(house.engine)
    assert house.audit.verify().is_whole  # by itself it looks true
    assert fault in house.fault()


def test_after_a_chain_was_set_back_no_data_centre_takes_its_heads(house: House) -> None:
    house.append(4)
    house.witnesses.tell()
    _cut_off_the_end(house.engine)
    house.append()
    again = Witnesses(
        "central",
        house.audit,
        house.centres,
        house.witnesses._credentials,
        SystemClock(),
        every_s=60,
    )
    again.tell()
    assert sorted(again.refusals) == ["dc-1", "dc-2"]
    assert "does not follow" in again.refusals["dc-1"]


def test_a_data_centre_that_shows_another_orchestrator_s_heads_is_named(house: House) -> None:
    """Signed and true, but of another chain: neither a fault of ours nor a proof for us."""
    house.append(2)
    house.witnesses.tell()
    other = house.authority.issue(Identity(Role.ORCHESTRATOR, "other"))
    foreign = sign_head("other", 9, bytes(32), SystemClock().now(), other)
    house.centres["dc-1"].foreign = [foreign]
    told = house.witnesses.testimonies()[0]
    assert [head.sequence for head in told.heads] == [2]
    assert told.fault == "1 heads are another orchestrator's"
    assert house.fault() == ""

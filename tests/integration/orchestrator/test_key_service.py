"""Keys on demand: each goes to one who still waits, or to the pool; none is promised for ever."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from database import open_engine
from key_management.contract import ConfirmRequest, ExtractAnswer, ExtractRequest
from key_management.errors import NoKeyAvailableError
from key_management.extraction import AliceEnd, BobEnd, KeyName
from key_management.ledger import KeyLedger
from key_management.sources.fake import FakeKeySource
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from orchestrator.events.bus import EventBus
from orchestrator.keys.pools import UnitPool
from orchestrator.keys.remote_ends import RemoteBobEnd
from orchestrator.keys.service import KeyService
from timekeeping import FakeClock

LINK = "alice--bob-1"


class Stack:
    """A slave stack's end of the key exchange; `meanwhile` happens during the confirmation."""

    def __init__(self, bob: BobEnd) -> None:
        self.bob = bob
        self.meanwhile: Callable[[], object] = lambda: None

    def extract_keys(self, link: str, request: ExtractRequest) -> ExtractAnswer:
        names = [KeyName(n.key_id, bytes.fromhex(n.vendor_key_id)) for n in request.names]
        held = self.bob.extract(link, request.epoch, names, request.sacrificed, request.turn)
        return ExtractAnswer(
            key_ids=sorted(held.key_ids), tag=held.tag.hex() if held.tag is not None else None
        )

    def confirm_keys(self, link: str, request: ConfirmRequest) -> None:
        self.bob.confirm(link, request.epoch, request.agreed)
        self.meanwhile()


class Link:
    def __init__(self, folder: Path) -> None:
        self.alice_unit = FakeKeySource()
        self.ledger = self._ledger(folder / "alice")
        self.stack = Stack(BobEnd(self._ledger(folder / "bob"), self.alice_unit.peer()))
        pool = UnitPool(
            LINK,
            AliceEnd(self.ledger, lambda: self.alice_unit),
            RemoteBobEnd(cast("Any", self.stack)),
            lambda: self.ledger.counts(LINK),
            self.ledger.capacity,
        )
        self.keys = KeyService(self.ledger, {LINK: pool}, EventBus(), pool_target_keys=8)

    @staticmethod
    def _ledger(folder: Path) -> KeyLedger:
        engine = open_engine(f"sqlite:///{folder / 'keys.sqlite'}")
        migrate_keys(engine)
        return KeyLedger(engine, WrappingKeys(folder / "wrapping"), FakeClock())

    def ask(self, operation_id: UUID) -> None:
        with pytest.raises(NoKeyAvailableError):
            self.keys.reserve_on_demand(LINK, operation_id)

    def reserved(self) -> int:
        return self.keys.counts(LINK)[KeyState.RESERVED]


@pytest.fixture
def link(tmp_path: Path) -> Link:
    return Link(tmp_path)


def test_who_waits_gets_a_key_of_its_own(link: Link) -> None:
    first, second = uuid4(), uuid4()
    link.ask(first)
    link.ask(second)
    link.alice_unit.produce(4)
    assert link.keys.serve_waiting(LINK, uuid4()) == 2
    held = [link.keys.reserve_on_demand(LINK, operation).key_id for operation in (first, second)]
    assert len(set(held)) == link.reserved() == 2
    assert link.keys.waiting_on_demand(LINK) == 0


def test_an_operation_that_ends_during_the_extraction_keeps_no_key(link: Link) -> None:
    operation_id = uuid4()
    link.ask(operation_id)
    link.alice_unit.produce(2)
    link.stack.meanwhile = lambda: link.keys.release(LINK, operation_id, "it waited long enough")
    assert link.keys.serve_waiting(LINK, uuid4()) == 0
    assert link.reserved() == 0
    assert link.keys.level(LINK) == 1, "the key is there for another"


def test_a_key_that_the_pool_gave_away_first_does_not_end_the_turn(link: Link) -> None:
    on_demand, pooled = uuid4(), uuid4()
    link.ask(on_demand)
    link.alice_unit.produce(4)
    taken: list[UUID] = []

    confirm = link.ledger.confirm

    def confirm_and_lose(*arguments: Any) -> int:
        number = confirm(*arguments)
        if not taken:
            taken.append(link.keys.reserve(LINK, pooled).key_id)
        return number

    link.ledger.confirm = confirm_and_lose  # type: ignore[method-assign]
    assert link.keys.serve_waiting(LINK, uuid4()) == 1
    assert link.keys.reserve_on_demand(LINK, on_demand).key_id not in taken
    assert link.reserved() == 2


def test_who_just_got_its_key_asks_for_no_second_one(link: Link) -> None:
    operation_id = uuid4()
    link.ask(operation_id)
    link.alice_unit.produce(4)
    held_by = link.ledger.held_by

    def look_and_be_overtaken(where: str, owner: UUID) -> Any:
        """The schedule hands over just after the ledger was asked, if it can."""
        link.ledger.held_by = held_by  # type: ignore[method-assign]
        found = held_by(where, owner)
        serving = threading.Thread(
            target=lambda: link.keys.serve_waiting(LINK, uuid4()), daemon=True
        )
        serving.start()
        serving.join(0.5)
        return found

    link.ledger.held_by = look_and_be_overtaken  # type: ignore[method-assign]
    with contextlib.suppress(NoKeyAvailableError):
        link.keys.reserve_on_demand(LINK, operation_id)
    assert wait_for(lambda: link.reserved() == 1)
    assert link.keys.waiting_on_demand(LINK) == 0


def test_a_pad_of_which_a_part_was_taken_out_of_use_is_taken_anew(link: Link) -> None:
    turns, operation = [uuid4(), uuid4()], uuid4()
    for turn in turns:
        link.alice_unit.produce(5)
        assert link.keys.drain(LINK, turn, at_most=4) == 4
    link.keys.reserve_pad(LINK, operation, 6)
    link.ledger.quarantine(LINK, turns[1], "doubt")
    with pytest.raises(NoKeyAvailableError):
        link.keys.reserve_pad(LINK, operation, 6)
    link.alice_unit.produce(12)
    link.keys.drain(LINK, uuid4(), at_most=11)
    pad = [record.key_id for record in link.keys.reserve_pad(LINK, operation, 6)]
    assert link.keys.blocks_of(LINK, operation) == pad, "none that was given up is among them"
    assert len(pad) == 6


def wait_for(holds: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline_s:
        threading.Event().wait(0.02)
    return holds()

"""Both ends of a link hold the same keys under the same ids, or neither holds them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from database import open_engine
from key_management.errors import KeyAgreementError, KeySourceError
from key_management.extraction import AliceEnd, BobEnd, Extraction, discard_remains
from key_management.ledger import KeyLedger, Message
from key_management.sources.fake import FakeKeySource
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import FakeClock

LINK = "alice--bob-1"


class Pair:
    """Two ends with stores of their own."""

    def __init__(self, folder: Path) -> None:
        self.alice_unit = FakeKeySource()
        self.bob_unit = self.alice_unit.peer()
        self.alice = self._ledger(folder / "alice")
        self.bob = self._ledger(folder / "bob")
        self.bob_end = BobEnd(self.bob, self.bob_unit)
        self.alice_end = AliceEnd(self.alice, lambda: self.alice_unit)
        self.extraction = Extraction(self.alice_end, self.bob_end)

    @staticmethod
    def _ledger(folder: Path) -> KeyLedger:
        engine = open_engine(f"sqlite:///{folder / 'keys.sqlite'}")
        migrate_keys(engine)
        return KeyLedger(engine, WrappingKeys(folder / "wrapping"), FakeClock())

    def same_keys(self) -> int:
        """How many keys are available at Alice; each must open to the same bytes at Bob."""
        count = 0
        while self.alice.counts(LINK)[KeyState.AVAILABLE]:
            owner, what = uuid4(), Message(uuid4(), bytes(32), "dc-1")
            key_id = self.alice.reserve(LINK, owner).key_id
            self.bob.reserve_by_id(LINK, key_id, owner)
            secret = []
            for end in (self.alice, self.bob):
                end.arm(LINK, key_id, what)
                secret.append(end.with_armed_key(LINK, key_id, what, bytes))
            assert secret[0] == secret[1]
            count += 1
        assert self.bob.counts(LINK)[KeyState.AVAILABLE] == 0
        return count


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_both_ends_hold_the_same_keys(pair: Pair) -> None:
    pair.alice_unit.produce(10)
    assert len(pair.extraction.extract(LINK, limit=100)) == 9, "one is sacrificed"
    assert pair.same_keys() == 9


def test_a_limit_is_kept_and_larger_turns_go_in_batches(pair: Pair) -> None:
    pair.alice_unit.produce(1200)
    assert len(pair.extraction.extract(LINK, limit=1100)) == 1100
    assert pair.alice.counts(LINK)[KeyState.AVAILABLE] == 1100
    assert pair.bob.counts(LINK)[KeyState.AVAILABLE] == 1100


def test_keys_that_bob_lacks_are_burned_at_alice(pair: Pair) -> None:
    pair.alice_unit.produce(1)
    pair.alice_unit.produce(9, missing_at_peer=4)
    assert len(pair.extraction.extract(LINK, limit=100)) == 5
    assert pair.alice.counts(LINK)[KeyState.BURNED] == 5
    assert pair.same_keys() == 5


def test_ends_that_disagree_burn_the_batch(pair: Pair) -> None:
    pair.alice_unit.produce(1)
    pair.alice_unit.produce(9, different_at_peer=1)
    with pytest.raises(KeyAgreementError):
        pair.extraction.extract(LINK, limit=100)
    for end in (pair.alice, pair.bob):
        counts = end.counts(LINK)
        assert counts[KeyState.BURNED] == sum(counts.values()) == 10


def test_an_empty_unit_gives_nothing(pair: Pair) -> None:
    assert len(pair.extraction.extract(LINK, limit=100)) == 0


def test_one_single_key_is_not_offered_unchecked(pair: Pair) -> None:
    pair.alice_unit.produce(1)
    assert len(pair.extraction.extract(LINK, limit=100)) == 0
    assert pair.alice.counts(LINK)[KeyState.AVAILABLE] == 0


@pytest.mark.parametrize("after_bob", [False, True])
def test_an_interrupted_confirmation_leaves_nothing_half_extracted(
    pair: Pair, after_bob: bool
) -> None:
    pair.alice_unit.produce(5)

    class Dies(BobEnd):
        def confirm(self, link: str, epoch: UUID, agreed: Collection[UUID]) -> None:
            if after_bob:
                super().confirm(link, epoch, agreed)
            raise ConnectionError("the power went")

    interrupted = Extraction(pair.alice_end, Dies(pair.bob, pair.bob_unit))
    with pytest.raises(ConnectionError):
        interrupted.extract(LINK, limit=100)
    assert discard_remains(pair.alice_end, pair.bob_end, LINK) == 5
    for end in (pair.alice, pair.bob):
        assert end.counts(LINK)[KeyState.AVAILABLE] == 0
        assert end.counts(LINK)[KeyState.PENDING] == 0
    pair.alice_unit.produce(3)
    assert len(pair.extraction.extract(LINK, limit=100)) == 2
    assert pair.same_keys() == 2


def test_a_silent_unit_is_an_error(pair: Pair) -> None:
    pair.alice_unit.produce(5)
    pair.bob_unit.silent = True
    with pytest.raises(KeySourceError):
        pair.extraction.extract(LINK, limit=100)
    assert pair.alice.counts(LINK)[KeyState.AVAILABLE] == 0

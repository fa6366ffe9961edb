"""The history of a pool is what came and went, and agrees with the states of its keys."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from database import open_engine
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import FakeClock

LINK = "alice--bob-1"


class Store:
    """A ledger, and keys to put into it."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.clock = FakeClock()
        engine = open_engine(database_url)
        migrate_keys(engine)
        self.ledger = KeyLedger(engine, WrappingKeys(folder / "wrapping"), self.clock)
        self._made = 0

    def make(self, link: str, count: int) -> None:
        epoch = uuid4()
        keys = []
        for _ in range(count):
            self._made += 1
            vendor_id, secret = self._made.to_bytes(8, "big"), self._made.to_bytes(32, "big")
            keys.append(ExtractedKey(uuid4(), vendor_id, bytearray(secret)))
        ids = self.ledger.add_pending(link, epoch, keys, emulated=True)
        assert self.ledger.confirm(link, epoch, ids) == count

    def use(self, count: int) -> None:
        for _ in range(count):
            owner, message = uuid4(), Message(uuid4(), bytes(32), "dc-1")
            key_id = self.ledger.reserve(LINK, owner).key_id
            self.ledger.arm(LINK, key_id, message)
            self.ledger.consume(LINK, key_id)


def test_what_comes_and_goes_is_told_by_interval(database_url: str, tmp_path: Path) -> None:
    store = Store(database_url, tmp_path)
    store.make("another--link", 7)
    store.make(LINK, 5)
    store.clock.advance(10)
    store.use(2)
    store.clock.advance(10)
    given_back = uuid4()
    store.ledger.reserve(LINK, given_back)
    store.ledger.release(given_back, "not needed")
    store.ledger.burn(LINK, store.ledger.reserve(LINK, uuid4()).key_id, "lost")
    store.make(LINK, 4)
    store.clock.advance(9)
    told = store.ledger.history(LINK, until=store.clock.now(), interval_s=10, intervals=4)
    assert [(i.made_keys, i.used_keys, i.lost_keys, i.level_keys) for i in told] == [
        (0, 0, 0, 0),
        (5, 0, 0, 5),
        (0, 2, 0, 3),
        (4, 0, 1, 6),
    ]
    assert told[-1].level_keys == store.ledger.counts(LINK)[KeyState.AVAILABLE]
    assert (told[1].begins_at - told[0].begins_at).total_seconds() == 10

"""The ledger on SQLite and MariaDB: a key protects one message, once, whoever asks at once."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from database import open_engine
from key_management.errors import (
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
    UnknownKeyError,
    WrappingKeyError,
)
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import ALLOWED, ERASED, MEANING, KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import FakeClock

LINK = "alice--bob-1"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    migrate_keys(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def wrapping(tmp_path: Path) -> WrappingKeys:
    return WrappingKeys(tmp_path / "wrapping")


@pytest.fixture
def ledger(engine: Engine, wrapping: WrappingKeys) -> KeyLedger:
    return KeyLedger(engine, wrapping, FakeClock())


def extracted(count: int) -> list[ExtractedKey]:
    return [
        ExtractedKey(uuid4(), secrets.token_bytes(8), bytearray(secrets.token_bytes(32)))
        for _ in range(count)
    ]


def fill(ledger: KeyLedger, count: int, epoch: UUID | None = None, link: str = LINK) -> list[UUID]:
    epoch = epoch or uuid4()
    ids = ledger.add_pending(link, epoch, extracted(count), emulated=True)
    assert ledger.confirm(link, epoch, ids) == count
    return ids


def message() -> Message:
    return Message(uuid4(), secrets.token_bytes(32), "dc-1")


def test_every_state_has_a_meaning_and_erased_ones_have_no_way_out() -> None:
    assert set(MEANING) == set(ALLOWED) == set(KeyState)
    assert all(not ALLOWED[state] for state in ERASED)
    assert KeyState.AVAILABLE not in ALLOWED[KeyState.ARMED]


def test_a_key_lives_from_pending_to_consumed(ledger: KeyLedger, engine: Engine) -> None:
    key = bytearray(secrets.token_bytes(32))
    known = bytes(key)
    epoch, key_id = uuid4(), uuid4()
    ledger.add_pending(LINK, epoch, [ExtractedKey(key_id, b"12345678", key)], emulated=True)
    assert not any(key), "the caller's buffer is wiped"
    with pytest.raises(NoKeyAvailableError):
        ledger.reserve(LINK, uuid4())
    ledger.confirm(LINK, epoch, [key_id])
    owner, what = uuid4(), message()
    assert ledger.reserve(LINK, owner).key_id == key_id
    ledger.arm(LINK, key_id, what)
    assert ledger.with_armed_key(LINK, key_id, what, bytes) == known
    ledger.consume(LINK, key_id)
    ledger.consume(LINK, key_id)
    with pytest.raises(KeyStateError):
        ledger.with_armed_key(LINK, key_id, what, bytes)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT wrapped, state FROM key_ledger")).one()
    assert row == (None, "CONSUMED")


def test_the_same_owner_gets_the_same_key_and_others_another(ledger: KeyLedger) -> None:
    fill(ledger, 2)
    first, second = uuid4(), uuid4()
    one = ledger.reserve(LINK, first)
    assert ledger.reserve(LINK, first) == one
    assert ledger.reserve(LINK, second).key_id != one.key_id
    with pytest.raises(NoKeyAvailableError):
        ledger.reserve(LINK, uuid4())


def test_a_key_armed_for_one_message_is_refused_to_another(ledger: KeyLedger) -> None:
    (key_id,) = fill(ledger, 1)
    ledger.reserve(LINK, uuid4())
    what = message()
    ledger.arm(LINK, key_id, what)
    ledger.arm(LINK, key_id, what)
    for other in (
        message(),
        Message(what.transfer_id, what.image_digest, "dc-2"),
        Message(what.transfer_id, secrets.token_bytes(32), what.destination),
    ):
        with pytest.raises(KeyAlreadyUsedError):
            ledger.arm(LINK, key_id, other)
        with pytest.raises(KeyAlreadyUsedError):
            ledger.with_armed_key(LINK, key_id, other, bytes)


def test_release_gives_back_what_was_unused_and_burns_what_was_armed(ledger: KeyLedger) -> None:
    fill(ledger, 2)
    calm, hurried = uuid4(), uuid4()
    unused = ledger.reserve(LINK, calm)
    armed = ledger.reserve(LINK, hurried)
    ledger.arm(LINK, armed.key_id, message())
    ledger.release(calm, "cancelled")
    ledger.release(hurried, "cancelled")
    assert ledger.get(LINK, unused.key_id).state is KeyState.AVAILABLE
    assert ledger.get(LINK, armed.key_id).state is KeyState.BURNED
    with pytest.raises(KeyStateError):
        ledger.reserve_by_id(LINK, armed.key_id, uuid4())


def test_what_the_other_end_lacks_is_burned(ledger: KeyLedger) -> None:
    epoch = uuid4()
    ids = ledger.add_pending(LINK, epoch, extracted(5), emulated=True)
    assert ledger.pending(LINK).keys() == {epoch}
    assert ledger.confirm(LINK, epoch, ids[:3]) == 3
    assert ledger.confirm(LINK, epoch, ids) == 0, "a late confirmation revives nothing"
    counts = ledger.counts(LINK)
    assert counts[KeyState.AVAILABLE] == 3
    assert counts[KeyState.BURNED] == 2
    assert sum(counts.values()) == 5
    assert ledger.pending(LINK) == {}


def test_the_same_key_never_enters_twice(ledger: KeyLedger) -> None:
    secret = secrets.token_bytes(32)
    first = ExtractedKey(uuid4(), b"a" * 8, bytearray(secret))
    again = ExtractedKey(uuid4(), b"b" * 8, bytearray(secret))
    zero = ExtractedKey(uuid4(), b"c" * 8, bytearray(32))
    assert ledger.add_pending(LINK, uuid4(), [first, zero], emulated=True) == [first.key_id]
    assert ledger.add_pending(LINK, uuid4(), [again], emulated=True) == []


def test_thirty_two_threads_never_share_a_key(ledger: KeyLedger) -> None:
    fill(ledger, 24)
    barrier = threading.Barrier(32)

    def take(_: int) -> UUID | None:
        barrier.wait(30)
        try:
            return ledger.reserve(LINK, uuid4()).key_id
        except NoKeyAvailableError:
            return None

    with ThreadPoolExecutor(32) as pool:
        taken = [key for key in pool.map(take, range(32)) if key is not None]
    assert len(taken) == len(set(taken)) == 24


def test_two_threads_cannot_arm_one_key_for_two_messages(ledger: KeyLedger) -> None:
    (key_id,) = fill(ledger, 1)
    ledger.reserve(LINK, uuid4())
    barrier = threading.Barrier(8)

    def arm(_: int) -> bool:
        barrier.wait(30)
        try:
            ledger.arm(LINK, key_id, message())
        except (KeyAlreadyUsedError, KeyStateError):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(arm, range(8))) == 1


def test_links_do_not_see_each_other_s_keys(ledger: KeyLedger) -> None:
    (key_id,) = fill(ledger, 1, link=LINK)
    with pytest.raises(UnknownKeyError):
        ledger.reserve_by_id("alice--BOB-1", key_id, uuid4())
    with pytest.raises(NoKeyAvailableError):
        ledger.reserve("alice--BOB-1", uuid4())


def test_a_drained_turn_s_wrapping_key_is_destroyed(
    ledger: KeyLedger, wrapping: WrappingKeys
) -> None:
    epoch = uuid4()
    (key_id,) = fill(ledger, 1, epoch)
    assert ledger.destroy_drained_epochs() == []
    ledger.burn(LINK, key_id, "test")
    assert ledger.destroy_drained_epochs() == [epoch]
    assert epoch not in wrapping.epochs()
    assert ledger.get(LINK, key_id).state is KeyState.BURNED


def test_an_altered_row_opens_nothing(ledger: KeyLedger, engine: Engine) -> None:
    fill(ledger, 2)
    first, second = ledger.reserve(LINK, uuid4()), ledger.reserve(LINK, uuid4())
    what = message()
    ledger.arm(LINK, first.key_id, what)
    with engine.begin() as connection:
        rows = dict(connection.execute(text("SELECT key_id, wrapped FROM key_ledger")).all())
        connection.execute(
            text("UPDATE key_ledger SET wrapped = :wrapped WHERE key_id = :key_id"),
            {"wrapped": rows[second.key_id.bytes], "key_id": first.key_id.bytes},
        )
    with pytest.raises(WrappingKeyError):
        ledger.with_armed_key(LINK, first.key_id, what, bytes)


def test_no_key_byte_stands_in_the_database_or_a_repr(
    ledger: KeyLedger, engine: Engine, database_url: str, tmp_path: Path
) -> None:
    secret = secrets.token_bytes(32)
    key = ExtractedKey(uuid4(), b"a" * 8, bytearray(secret))
    assert secret.hex() not in repr(key)
    assert repr(bytearray(secret)) not in repr(key)
    ledger.add_pending(LINK, uuid4(), [key], emulated=True)
    with engine.connect() as connection:
        for row in connection.execute(text("SELECT * FROM key_ledger")).all():
            assert not any(isinstance(v, bytes) and secret in v for v in row)
    for file in tmp_path.rglob("*.sqlite*"):
        assert secret not in file.read_bytes()


def test_keys_that_come_in_while_others_drain_stay_readable(ledger: KeyLedger) -> None:
    """A batch's wrapping key exists before its first row does; a drain must not take it then."""
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set():
            ledger.destroy_drained_epochs()

    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        for _ in range(20):
            (key_id,) = fill(ledger, 1)
            what = message()
            ledger.reserve_by_id(LINK, key_id, uuid4())
            ledger.arm(LINK, key_id, what)
            assert len(ledger.with_armed_key(LINK, key_id, what, bytes)) == 32
            ledger.consume(LINK, key_id)
    finally:
        stop.set()
        drainer.join(10)


def test_it_tells_whom_unused_keys_are_promised_to(ledger: KeyLedger) -> None:
    fill(ledger, 3)
    fill(ledger, 1, link="alice--bob-2")
    assert ledger.owners_of_reserved([LINK]) == set()
    waits, sends, elsewhere = uuid4(), uuid4(), uuid4()
    ledger.reserve(LINK, waits)
    armed = ledger.reserve(LINK, sends)
    ledger.arm(LINK, armed.key_id, Message(sends, bytes(32), "dc-1"))
    ledger.reserve("alice--bob-2", elsewhere)
    assert ledger.owners_of_reserved([LINK]) == {waits}
    assert ledger.owners_of_reserved([LINK, "alice--bob-2"]) == {waits, elsewhere}
    ledger.release(waits, "it ended")
    assert ledger.owners_of_reserved([LINK]) == set()

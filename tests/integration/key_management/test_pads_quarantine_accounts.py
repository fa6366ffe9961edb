"""Many keys for one message, quarantine, expiry and accounts, on SQLite and MariaDB."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from database import open_engine
from key_management.errors import (
    AccountsDifferError,
    KeyAlreadyUsedError,
    KeyStateError,
    NoKeyAvailableError,
    UnknownKeyError,
    WrappingKeyError,
)
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import KeyState
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
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path, clock: FakeClock) -> KeyLedger:
    return KeyLedger(engine, WrappingKeys(tmp_path / "wrapping"), clock)


def pending(
    ledger: KeyLedger, count: int, *, epoch: UUID | None = None, turn: UUID | None = None
) -> dict[UUID, bytes]:
    keys = {uuid4(): secrets.token_bytes(32) for _ in range(count)}
    ledger.add_pending(
        LINK,
        epoch or uuid4(),
        [ExtractedKey(key_id, b"12345678", bytearray(key)) for key_id, key in keys.items()],
        emulated=True,
        turn=turn,
    )
    return keys


def fill(
    ledger: KeyLedger, count: int, *, epoch: UUID | None = None, turn: UUID | None = None
) -> dict[UUID, bytes]:
    epoch = epoch or uuid4()
    keys = pending(ledger, count, epoch=epoch, turn=turn)
    assert ledger.confirm(LINK, epoch, keys) == count
    return keys


def message() -> Message:
    return Message(uuid4(), secrets.token_bytes(32), "dc-1")


def counts(ledger: KeyLedger) -> dict[KeyState, int]:
    return {s: n for s, n in ledger.check_account(LINK).counts.items() if n}


def test_a_pad_is_reserved_armed_read_and_erased_as_a_whole(ledger: KeyLedger) -> None:
    keys = fill(ledger, 12)
    owner, what = uuid4(), message()
    reserved = [record.key_id for record in ledger.reserve_many(LINK, owner, 10)]
    assert [record.key_id for record in ledger.reserve_many(LINK, owner, 10)] == reserved
    assert [record.key_id for record in ledger.held_by_all(LINK, owner)] == reserved
    order = list(reversed(reserved))
    ledger.arm_all(LINK, order, what)
    ledger.arm_all(LINK, order, what)
    seen: list[bytearray] = []

    def look(joined: bytearray) -> bytes:
        seen.append(joined)
        return bytes(joined)

    assert ledger.with_armed_keys(LINK, order, what, look) == b"".join(keys[i] for i in order)
    assert not any(seen[0]), "wiped afterwards"
    assert len(seen[0]) == 320
    ledger.consume_all(LINK, order)
    ledger.consume_all(LINK, order)
    assert counts(ledger) == {KeyState.CONSUMED: 10, KeyState.AVAILABLE: 2}
    with pytest.raises(KeyStateError):
        ledger.with_armed_keys(LINK, order, what, bytes)
    with pytest.raises(KeyAlreadyUsedError):
        ledger.arm_all(LINK, order, message())


def test_all_or_none_and_the_error_counts(ledger: KeyLedger) -> None:
    fill(ledger, 5)
    with pytest.raises(NoKeyAvailableError, match="holds 5 keys; 6 are needed") as refused:
        ledger.reserve_many(LINK, uuid4(), 6)
    assert refused.value.extensions == {"link": LINK, "level_keys": 5, "missing_keys": 1}
    with pytest.raises(NoKeyAvailableError, match="2 stay in reserve") as refused:
        ledger.reserve_many(LINK, uuid4(), 4, floor=2)
    assert refused.value.extensions["missing_keys"] == 1
    assert len(ledger.reserve_many(LINK, uuid4(), 3, floor=2)) == 3
    assert counts(ledger) == {KeyState.RESERVED: 3, KeyState.AVAILABLE: 2}


def test_the_other_end_takes_the_same_ids_or_none(ledger: KeyLedger) -> None:
    ids = list(fill(ledger, 4))
    owner = uuid4()
    with pytest.raises(UnknownKeyError):
        ledger.reserve_by_ids(LINK, [*ids[:2], uuid4()], owner)
    assert counts(ledger) == {KeyState.AVAILABLE: 4}
    taken = ledger.reserve_by_ids(LINK, ids[:3], owner)
    assert {record.key_id for record in taken} == set(ids[:3])
    assert ledger.reserve_by_ids(LINK, ids[:3], owner) == taken
    with pytest.raises(KeyStateError):
        ledger.reserve_by_ids(LINK, ids[2:], uuid4())
    with pytest.raises(KeyStateError, match="other keys"):
        ledger.reserve_by_ids(LINK, ids[3:], owner)
    assert counts(ledger) == {KeyState.RESERVED: 3, KeyState.AVAILABLE: 1}


def test_a_pad_with_one_used_block_arms_nothing(ledger: KeyLedger) -> None:
    fill(ledger, 3)
    ids = [record.key_id for record in ledger.reserve_many(LINK, uuid4(), 3)]
    ledger.arm(LINK, ids[1], message())
    with pytest.raises(KeyAlreadyUsedError):
        ledger.arm_all(LINK, ids, message())
    assert counts(ledger) == {KeyState.RESERVED: 2, KeyState.ARMED: 1}


def test_burning_for_an_owner_leaves_others_alone(ledger: KeyLedger) -> None:
    ids = list(fill(ledger, 5))
    mine, theirs = uuid4(), uuid4()
    ledger.reserve_by_id(LINK, ids[0], mine)
    ledger.reserve_by_id(LINK, ids[1], theirs)
    ledger.reserve_by_id(LINK, ids[2], mine)
    ledger.arm(LINK, ids[2], message())
    assert ledger.burn_for(LINK, [*ids[:4], uuid4()], mine, "test") == 3
    assert ledger.burn_for(LINK, ids[:4], mine, "test") == 0
    assert counts(ledger) == {KeyState.BURNED: 3, KeyState.RESERVED: 1, KeyState.AVAILABLE: 1}
    assert ledger.get(LINK, ids[1]).owner == theirs


def test_a_quarantined_turn_is_given_to_nobody_until_it_is_released(ledger: KeyLedger) -> None:
    good, bad = uuid4(), uuid4()
    fill(ledger, 2, turn=good)
    ids = list(fill(ledger, 4, turn=bad))
    owner, armed = uuid4(), uuid4()
    ledger.reserve_by_id(LINK, ids[0], owner)
    ledger.reserve_by_id(LINK, ids[1], armed)
    ledger.arm(LINK, ids[1], message())
    assert ledger.quarantine(LINK, bad, "QBER above its limit") == 3
    assert ledger.quarantine(LINK, bad, "again") == 0
    assert ledger.held_by(LINK, owner) is None, "who had reserved one finds it gone"
    assert ledger.get(LINK, ids[1]).state is KeyState.ARMED, "what is under way goes on"
    (one,) = ledger.quarantined(LINK)
    assert (one.turn, one.keys, one.reason) == (bad, 3, "QBER above its limit")
    assert len(ledger.reserve_many(LINK, uuid4(), 2)) == 2
    with pytest.raises(NoKeyAvailableError):
        ledger.reserve(LINK, uuid4())
    with pytest.raises(KeyStateError):
        ledger.reserve_by_id(LINK, ids[2], uuid4())
    assert ledger.release_quarantined(LINK, bad) == 3
    assert ledger.quarantined(LINK) == []
    assert len(ledger.reserve_many(LINK, uuid4(), 3)) == 3


def test_a_quarantined_turn_can_be_burned(ledger: KeyLedger) -> None:
    turn = uuid4()
    fill(ledger, 2, turn=turn)
    ledger.quarantine(LINK, turn, "doubt")
    assert ledger.burn_quarantined(LINK, turn) == 2
    assert counts(ledger) == {KeyState.BURNED: 2}
    assert ledger.release_quarantined(LINK, turn) == 0


def test_what_the_other_end_never_confirmed_is_not_released(ledger: KeyLedger) -> None:
    turn, epoch = uuid4(), uuid4()
    unconfirmed = pending(ledger, 2, epoch=epoch, turn=turn)
    fill(ledger, 1, turn=turn)
    assert ledger.quarantine(LINK, turn, "doubt") == 3
    assert ledger.confirm(LINK, epoch, unconfirmed) == 0
    assert ledger.release_quarantined(LINK, turn) == 1
    assert counts(ledger) == {KeyState.AVAILABLE: 1, KeyState.BURNED: 2}


def test_old_keys_expire_and_their_wrapping_key_goes(ledger: KeyLedger, clock: FakeClock) -> None:
    old = list(fill(ledger, 3))
    ledger.reserve_by_id(LINK, old[0], uuid4())
    clock.advance(100)
    fill(ledger, 2)
    assert ledger.expire(LINK, clock.now() - timedelta(seconds=100)) == 0
    clock.advance(1)
    assert ledger.expire(LINK, clock.now() - timedelta(seconds=100)) == 2
    assert counts(ledger) == {
        KeyState.EXPIRED: 2,
        KeyState.RESERVED: 1,
        KeyState.AVAILABLE: 2,
    }
    assert ledger.destroy_drained_epochs() == []
    ledger.burn(LINK, old[0], "test")
    assert len(ledger.destroy_drained_epochs()) == 1
    with pytest.raises(KeyStateError):
        ledger.reserve_by_id(LINK, old[1], uuid4())


def test_demand_is_what_left_the_pool_for_use(ledger: KeyLedger, clock: FakeClock) -> None:
    fill(ledger, 10)
    start = clock.now()
    ledger.reserve_many(LINK, uuid4(), 4)
    clock.advance(10)
    ids = [record.key_id for record in ledger.reserve_many(LINK, uuid4(), 2)]
    ledger.burn_all(LINK, ids, "test")
    ledger.reserve(LINK, uuid4())
    assert ledger.taken_since(LINK, start) == 5
    assert ledger.taken_since(LINK, start + timedelta(seconds=5)) == 1


def test_a_row_that_vanished_or_came_from_nowhere_shows(ledger: KeyLedger, engine: Engine) -> None:
    gone, *_ = fill(ledger, 3)
    assert ledger.check_account(LINK).made == 3
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM key_ledger WHERE key_id = :gone"), {"gone": gone.bytes}
        )
    with pytest.raises(AccountsDifferError, match=r"3 keys .* were made, and 2 are accounted for"):
        ledger.check_account(LINK)


def test_32_threads_take_single_keys_and_pads_and_no_key_twice(ledger: KeyLedger) -> None:
    keys = fill(ledger, 300)
    what = {n: message() for n in range(32)}

    def take(n: int) -> list[bytes]:
        owner = uuid4()
        got: list[bytes] = []
        try:
            if n % 2:
                ids = [record.key_id for record in ledger.reserve_many(LINK, owner, 8 + n % 5)]
                ledger.arm_all(LINK, ids, what[n])
                joined = ledger.with_armed_keys(LINK, ids, what[n], bytes)
                got = [joined[start : start + 32] for start in range(0, len(joined), 32)]
                ledger.consume_all(LINK, ids)
            else:
                for _ in range(6):
                    one = ledger.reserve(LINK, uuid4())
                    ledger.arm(LINK, one.key_id, what[n])
                    got.append(ledger.with_armed_key(LINK, one.key_id, what[n], bytes))
                    ledger.consume(LINK, one.key_id)
        except NoKeyAvailableError:
            pass
        return got

    with ThreadPoolExecutor(32) as threads:
        taken = [key for some in threads.map(take, range(32)) for key in some]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(keys.values())
    assert counts(ledger)[KeyState.CONSUMED] == len(taken)
    # Singles: 16 x 6; pads: 16 threads of 8 to 12 keys each.
    pads = sum(8 + n % 5 for n in range(1, 32, 2))
    assert len(taken) == 96 + pads


def test_keys_whose_wrapping_key_was_not_restored_are_burned_and_the_rest_stays(
    ledger: KeyLedger, engine: Engine, tmp_path: Path, clock: FakeClock
) -> None:
    """A database comes back from a backup, the folder `wrapping` never does."""
    fill(ledger, 3)
    owner = uuid4()
    ledger.reserve(LINK, owner)
    assert ledger.burn_unreadable() == 0
    for file in (tmp_path / "wrapping").glob("*.key"):
        file.unlink()
    restored = KeyLedger(engine, WrappingKeys(tmp_path / "wrapping"), clock)
    fill(restored, 2)
    assert restored.burn_unreadable() == 3
    assert counts(restored) == {KeyState.AVAILABLE: 2, KeyState.BURNED: 3}
    assert restored.held_by(LINK, owner) is None
    assert restored.burn_unreadable() == 0


def test_a_store_none_of_whose_keys_can_be_opened_does_not_start_unless_somebody_says_so(
    ledger: KeyLedger, engine: Engine, tmp_path: Path, clock: FakeClock
) -> None:
    """A mistyped `state_dir` is a folder without keys, and burning cannot be undone."""
    fill(ledger, 3)
    mistyped = WrappingKeys(tmp_path / "wrapping_")
    (tmp_path / "wrapping_" / f"{uuid4()}.key").write_bytes(bytes(32))  # of another store
    wrong = KeyLedger(engine, mistyped, clock)
    for start in (wrong.must_open, wrong.burn_unreadable):
        with pytest.raises(WrappingKeyError, match="wrapping_") as refused:
            start()
        assert str(mistyped.given_up) in (refused.value.next_step or "")
    assert counts(ledger) == {KeyState.AVAILABLE: 3}
    ledger.must_open()  # the right folder has lost nothing
    assert ledger.burn_unreadable() == 0
    mistyped.given_up.touch()
    assert wrong.burn_unreadable() == 3
    assert counts(ledger) == {KeyState.BURNED: 3}
    assert not mistyped.given_up.exists()  # said once, for once


def test_a_stray_file_among_the_wrapping_keys_stops_nothing(
    ledger: KeyLedger, tmp_path: Path
) -> None:
    fill(ledger, 2)
    for name in ("notes.key", "backup of 7.key", f"{{{uuid4()}}}.key"):
        (tmp_path / "wrapping" / name).write_text("mine")
    assert ledger.burn_unreadable() == 0
    assert ledger.destroy_drained_epochs() == []
    assert counts(ledger) == {KeyState.AVAILABLE: 2}


def test_a_turn_that_another_process_emptied_and_filled_again_is_not_burned(
    ledger: KeyLedger, engine: Engine, tmp_path: Path, clock: FakeClock
) -> None:
    """Between a look at the rows and a look at the files: the keys of then are not those of now."""
    fill(ledger, 1)  # of another turn, which stays
    epoch = uuid4()
    first = fill(ledger, 1, epoch=epoch)

    class Meanwhile(WrappingKeys):
        looks = 0

        def epochs(self) -> set[UUID]:
            self.looks += 1
            if self.looks == 1:
                return super().epochs()
            if self.looks == 2:
                for key_id in first:
                    ledger.burn(LINK, key_id, "used up")
                assert ledger.destroy_drained_epochs() == [epoch]
                found = super().epochs()
                fill(ledger, 1, epoch=epoch)
                return found
            return super().epochs()

    slow = KeyLedger(engine, Meanwhile(tmp_path / "wrapping"), clock)
    assert slow.burn_unreadable() == 0
    assert counts(ledger) == {KeyState.AVAILABLE: 2, KeyState.BURNED: 1}

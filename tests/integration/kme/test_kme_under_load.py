"""32 threads ask both KMEs, and take keys for images besides: no key twice, the accounts hold."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from database import open_engine
from key_management.errors import NoKeyAvailableError
from key_management.kme.deliveries import Deliveries
from key_management.kme.directory import Directory, KmeLink
from key_management.kme.endpoints import STATUS_OF
from key_management.kme.errors import KeysNotFoundError, PeerRefusedError
from key_management.kme.fake import FakePeer
from key_management.kme.service import DeliveredKey, Kme
from key_management.kme.settings import LimitTable
from key_management.kme.tables import DeliveryState, migrate_kme
from key_management.ledger import ExtractedKey, KeyLedger, Message
from key_management.states import KeyState
from key_management.tables import migrate_keys
from key_management.wrapping import WrappingKeys
from timekeeping import SystemClock
from trust import Identity, Role

LINK = "alice--bob-1"
SAES = {"kme-a": "enc-1", "kme-b": "dec-1"}
THREADS = 32


class Pair:
    def __init__(self, urls: dict[str, str], folder: Path) -> None:
        self.ledgers: dict[str, KeyLedger] = {}
        self.kmes: dict[str, Kme] = {}
        self.deliveries: dict[str, Deliveries] = {}
        self.engines = {name: open_engine(url, pool_size=40) for name, url in urls.items()}
        peers = {name: FakePeer(STATUS_OF) for name in urls}
        for name, engine in self.engines.items():
            migrate_keys(engine)
            migrate_kme(engine)
            (other,) = set(urls) - {name}
            clock = SystemClock()
            self.ledgers[name] = KeyLedger(engine, WrappingKeys(folder / name), clock)
            self.deliveries[name] = Deliveries(engine, clock)
            self.kmes[name] = Kme(
                Directory(
                    name,
                    {SAES[name]: Identity(Role.SAE, SAES[name])},
                    {SAES[other]: other},
                    [KmeLink(LINK, other, name == "kme-a")],
                ),
                self.ledgers[name],
                self.deliveries[name],
                {other: peers[other]},
                LimitTable(),
                clock,
                accept_emulated_keys=True,
            )
        for name, peer in peers.items():
            peer.kme = self.kmes[name]

    def fill(self, count: int) -> set[bytes]:
        keys = {uuid4(): secrets.token_bytes(32) for _ in range(count)}
        epoch = uuid4()
        for ledger in self.ledgers.values():
            extracted = [ExtractedKey(i, b"12345678", bytearray(k)) for i, k in keys.items()]
            ledger.add_pending(LINK, epoch, extracted, emulated=True)
            ledger.confirm(LINK, epoch, keys)
        return set(keys.values())


@pytest.fixture
def pair(database_url: str, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair({"kme-a": database_url, "kme-b": f"sqlite:///{tmp_path / 'b.sqlite'}"}, tmp_path)
    yield pair
    for engine in pair.engines.values():
        engine.dispose()


def test_32_threads_at_both_ends_never_share_a_key(pair: Pair) -> None:
    made = pair.fill(400)

    def ask(here: str, there: str) -> list[bytes]:
        """Two keys of two blocks, fetched by the slave; both have the same."""
        mine = pair.kmes[here].new_keys(SAES[here], SAES[there], number=2, size_bit=512)
        ids = [key.key_id for key in mine]
        theirs = pair.kmes[there].keys_by_ids(SAES[there], SAES[here], ids)
        assert [key.key for key in mine] == [key.key for key in theirs]
        return [bytes(key.key[s : s + 32]) for key in mine for s in (0, 32)]

    def take() -> list[bytes]:
        """A key for an image, from the same store."""
        ledger = pair.ledgers["kme-a"]
        message = Message(uuid4(), secrets.token_bytes(32), "dc-1")
        one = ledger.reserve(LINK, uuid4())
        ledger.arm(LINK, one.key_id, message)
        key = ledger.with_armed_key(LINK, one.key_id, message, bytes)
        ledger.consume(LINK, one.key_id)
        return [key]

    def work(n: int) -> list[bytes]:
        got: list[bytes] = []
        for _ in range(3):
            try:
                if n % 4 == 0:
                    got += take()
                elif n % 4 == 3:
                    got += ask("kme-b", "kme-a")
                else:
                    got += ask("kme-a", "kme-b")
            except (NoKeyAvailableError, PeerRefusedError):
                pass
        return got

    with ThreadPoolExecutor(THREADS) as threads:
        used = [block for blocks in threads.map(work, range(THREADS)) for block in blocks]
    assert len(used) == len(set(used))
    assert set(used) <= made
    # 24 threads x 3 requests x 4 blocks, 8 threads x 3 keys: all of them were there.
    assert len(used) == 24 * 3 * 4 + 8 * 3
    for name, ledger in pair.ledgers.items():
        counts = ledger.check_account(LINK).counts
        assert counts[KeyState.RESERVED] == counts[KeyState.ARMED] == counts[KeyState.BURNED] == 0
        assert pair.deliveries[name].counts()[DeliveryState.DELIVERED] == 24 * 3 * 2


def test_one_id_asked_by_32_threads_is_delivered_once(pair: Pair) -> None:
    pair.fill(3)
    (key,) = pair.kmes["kme-a"].new_keys("enc-1", "dec-1", number=1, size_bit=None)

    def fetch(_: int) -> list[DeliveredKey]:
        try:
            return pair.kmes["kme-b"].keys_by_ids("dec-1", "enc-1", [key.key_id])
        except KeysNotFoundError:
            return []

    with ThreadPoolExecutor(THREADS) as threads:
        got = [one for some in threads.map(fetch, range(THREADS)) for one in some]
    assert [bytes(one.key) for one in got] == [bytes(key.key)]

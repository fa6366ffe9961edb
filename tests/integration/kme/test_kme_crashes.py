"""`kill -9` of a KME in the middle of a request for keys, at either end and either direction.

Afterwards both KMEs start again: nothing is delivered twice, no block is left promised to nobody,
what both ends do not agree on is burned, and the next request is served.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import tomlkit
from kme_house import LINK, House, Site, build_house, eventually, served

from key_management.errors import KeyManagementError
from key_management.kme.tables import DeliveryState
from key_management.states import KeyState
from timekeeping import SystemClock

SCRIPT = Path(__file__).parents[2] / "e2e" / "serve_until_fail_point.py"
KEYS = 8
FETCHING = 3
BLOCKS_A_KEY = 2
SIZE_BIT = 512

# Who asks, which end is killed, and where.
POINTS = [
    (master, killed, where)
    for master, killed, places in (
        ("enc-1", "alice", "opened reserved accepted armed agreed taken read answering"),
        ("enc-1", "bob", "opened joined armed accepting"),
        ("dec-1", "bob", "allocated joined agreed taken"),
        ("dec-1", "alice", "reserved armed allocating"),
    )
    for where in places.split()
]


@contextmanager
def served_until(site: Site, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """The KME in a process of its own, that dies at the fail point."""
    file = site.folder / "kme.toml"
    file.write_text(tomlkit.dumps(site.document()))
    with (site.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "kme", str(file), where], stdout=log, stderr=log
        )
        try:
            wait_until_it_answers(site, process)
            yield process
        finally:
            process.kill()
            process.wait(20)


def wait_until_it_answers(site: Site, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert process.poll() is None, (site.folder / "log").read_text()
        try:
            return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    with site.http(site.credentials) as client:
        eventually(answers)


def is_settled(site: Site) -> bool:
    with site.deliveries() as deliveries:
        soon = SystemClock().now() + timedelta(hours=1)
        return not deliveries.unsettled(soon) and not deliveries.not_erased()


def settled_counts(house: House) -> list[dict[KeyState, int]]:
    found = []
    for site in (house.alice, house.bob):
        with site.ledger() as ledger:
            found.append(ledger.check_account(LINK).counts)
    return found


@pytest.mark.parametrize(("master", "killed", "where"), POINTS)
def test_a_killed_kme_delivers_nothing_twice(
    tmp_path: Path, master: str, killed: str, where: str
) -> None:
    house = build_house(tmp_path)
    house.fill(KEYS * BLOCKS_A_KEY)
    slave = "dec-1" if master == "enc-1" else "enc-1"
    asking = house.alice if master == "enc-1" else house.bob
    dying, living = (house.alice, house.bob) if killed == "alice" else (house.bob, house.alice)
    with served(living.settings), served_until(dying, where) as process:
        with pytest.raises(KeyManagementError):
            asking.client(master).enc_keys(slave, number=FETCHING, size_bit=SIZE_BIT)
        assert process.wait(20) == -9

    # Both start again; what nobody fetched is over then.
    for site in (house.alice, house.bob):
        site.more = {"settle_interval_s": 0.1, "limits": {"delivery_lifetime_s": 0.000001}}
    with house.open():
        eventually(lambda: is_settled(house.alice) and is_settled(house.bob))
    for site, count in zip((house.alice, house.bob), settled_counts(house), strict=True):
        assert count[KeyState.RESERVED] == count[KeyState.ARMED] == 0, site.name
        assert sum(count.values()) == KEYS * BLOCKS_A_KEY
        lost = count[KeyState.BURNED] + count[KeyState.CONSUMED]
        assert lost in (0, FETCHING * BLOCKS_A_KEY)
        with site.deliveries() as deliveries:
            assert deliveries.counts()[DeliveryState.WAITING] == 0

    house.alice.more = house.bob.more = {}
    left_over = settled_counts(house)[0][KeyState.AVAILABLE] // BLOCKS_A_KEY
    with house.open():
        mine = asking.client(master).enc_keys(slave, number=left_over, size_bit=SIZE_BIT)
        fetching = house.bob if slave == "dec-1" else house.alice
        theirs = fetching.client(slave).dec_keys(master, [key.key_id for key in mine])
        assert [key.key for key in theirs] == [key.key for key in mine]
        blocks = [bytes(key.key[start : start + 32]) for key in mine for start in (0, 32)]
        assert len(set(blocks)) == len(blocks)
        assert set(blocks) <= set(house.keys.values())
    assert settled_counts(house)[0][KeyState.AVAILABLE] == 0
    assert settled_counts(house)[1][KeyState.AVAILABLE] == 0

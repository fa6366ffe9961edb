"""An old backup of one end's database comes back: nothing is delivered twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kme_house import LINK, House, Site, build_house

from key_management.etsi014.errors import KmeRefusedError, KmeUnavailableError
from key_management.kme.tables import DeliveryState
from key_management.states import KeyState


def back_up(site: Site) -> Path:
    backup = site.folder.parent / f"{site.name}.backup"
    backup.mkdir()
    for file in site.folder.glob("kme.sqlite*"):
        shutil.copy(file, backup / file.name)
    return backup


def restore(site: Site, backup: Path) -> None:
    for file in site.folder.glob("kme.sqlite*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, site.folder / file.name)


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = build_house(tmp_path)
    house.fill(6)
    return house


def test_a_slave_that_had_its_key_gets_it_no_second_time(house: House) -> None:
    with house.open():
        one, two = house.alice.client("enc-1").enc_keys("dec-1", number=2)
    backup = back_up(house.bob)
    with house.open():
        assert len(house.bob.client("dec-1").dec_keys("enc-1", [one.key_id])) == 1
    restore(house.bob, backup)
    with house.open():
        for key in (one, two):  # nobody can tell any more which one was delivered
            with pytest.raises(KmeRefusedError, match="not found on KME"):
                house.bob.client("dec-1").dec_keys("enc-1", [key.key_id])
        (new,) = house.alice.client("enc-1").enc_keys("dec-1")
        (same,) = house.bob.client("dec-1").dec_keys("enc-1", [new.key_id])
        assert new.key == same.key
    with house.bob.deliveries() as deliveries:
        assert deliveries.counts()[DeliveryState.EXPIRED] == 2


def test_an_undisturbed_database_delivers_after_a_restart(house: House) -> None:
    with house.open():
        one, two = house.alice.client("enc-1").enc_keys("dec-1", number=2)
        assert len(house.bob.client("dec-1").dec_keys("enc-1", [one.key_id])) == 1
    with house.open():
        assert len(house.bob.client("dec-1").dec_keys("enc-1", [two.key_id])) == 1


@pytest.mark.parametrize(("master", "slave"), [("enc-1", "dec-1"), ("dec-1", "enc-1")])
def test_blocks_used_after_alice_s_backup_are_refused_and_burned(
    house: House, master: str, slave: str
) -> None:
    asking = house.alice if master == "enc-1" else house.bob
    backup = back_up(house.alice)
    with house.open():
        used = asking.client(master).enc_keys(slave, number=4)
    restore(house.alice, backup)
    with house.alice.ledger() as ledger:
        assert ledger.counts(LINK)[KeyState.AVAILABLE] == 6, "it forgot"
    with house.open():
        with pytest.raises(KmeUnavailableError):
            asking.client(master).enc_keys(slave, number=6)
        house.fill(2)
        new = asking.client(master).enc_keys(slave, number=2)
    assert not {bytes(key.key) for key in used} & {bytes(key.key) for key in new}

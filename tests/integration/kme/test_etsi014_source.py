"""ETSI 014 as a key source: one pair of KMEs, as a vendor's, feeds the stores of another pair."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from kme_house import LINK, House, Site, build_house, eventually

from key_management.errors import KeySourceError
from key_management.sources.etsi014 import Etsi014Source, open_source
from key_management.states import KeyState

TARGET = 40


def source_options(vendor: Site, sae: str, peer_sae: str) -> dict[str, str]:
    credentials = vendor.saes[sae]
    return {
        "url": vendor.url,
        "peer_sae": peer_sae,
        "certificate": str(credentials.certificate),
        "key": str(credentials.key),
        "authority": str(vendor.credentials.authority),
    }


@pytest.fixture
def vendor(tmp_path: Path) -> House:
    return build_house(tmp_path)


@pytest.fixture
def ours(tmp_path: Path, vendor: House) -> House:
    house = build_house(tmp_path, names=("kme-c", "kme-d"), authority=vendor.authority)
    for site, options in (
        (house.alice, source_options(vendor.alice, "enc-1", "dec-1")),
        (house.bob, source_options(vendor.bob, "dec-1", "enc-1")),
    ):
        site.link_more = {
            "filled_by": "source",
            "source": "etsi014",
            "source_options": options,
            "target_keys": TARGET,
            "fill_interval_s": 0.1,
        }
    return house


def available(site: Site) -> int:
    with site.ledger() as ledger:
        return ledger.check_account(LINK).counts[KeyState.AVAILABLE]


def test_a_pair_of_kmes_fills_another_pair(vendor: House, ours: House) -> None:
    vendor.fill(200)
    with vendor.open(), ours.open():
        eventually(lambda: available(ours.alice) >= TARGET)
        mine = ours.alice.client("enc-1").enc_keys("dec-1", number=5)
        theirs = ours.bob.client("dec-1").dec_keys("enc-1", [key.key_id for key in mine])
        assert [key.key for key in mine] == [key.key for key in theirs]
        assert {bytes(key.key) for key in mine} <= set(vendor.keys.values())
        assert all(key.emulated for key in mine), "the vendor's mark goes on"
        eventually(lambda: available(ours.alice) >= TARGET)
    assert available(ours.bob) == available(ours.alice)
    with vendor.alice.ledger() as ledger:
        used = ledger.check_account(LINK).counts
    assert used[KeyState.CONSUMED] + used[KeyState.AVAILABLE] == 200


def test_the_driver_at_both_ends(vendor: House) -> None:
    alice = open_source({**source_options(vendor.alice, "enc-1", "dec-1"), "at_once": 4})
    bob = open_source({**source_options(vendor.bob, "dec-1", "enc-1"), "at_once": 4})
    with pytest.raises(KeySourceError, match="does not answer"):
        alice.new_keys(1)
    with vendor.open():
        assert alice.new_keys(3) == [], "an empty store is no fault"
        vendor.fill(10)
        taken = alice.new_keys(10)
        assert len(taken) == 10
        assert all(len(key.vendor_key_id) == 16 for key in taken)
        assert isinstance(alice, Etsi014Source)
        assert alice.emulated
        ids = [key.vendor_key_id for key in taken]
        found = bob.keys_by_ids([*ids[:2], uuid4().bytes, *ids[2:]])
        assert {k.vendor_key_id: k.key for k in found} == {k.vendor_key_id: k.key for k in taken}
        assert bob.keys_by_ids(ids) == [], "the vendor delivers once"
        assert alice.new_keys(1) == []
    alice.close()
    bob.close()

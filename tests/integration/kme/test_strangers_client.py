"""A client that somebody else wrote gets its keys at both ends, by its classes and its command."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from etsi_qkd_014_client.client import QKD014Client
from etsi_qkd_014_client.data import DataError, DataKeyContainer, DataStatus
from kme_house import House, Site, build_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = build_house(tmp_path_factory.mktemp("stranger"))
    with house.open():
        yield house


def client(site: Site, sae: str) -> QKD014Client:
    credentials = site.saes[sae]
    return QKD014Client(
        f"127.0.0.1:{site.port}",
        str(credentials.certificate),
        str(credentials.key),
        str(site.credentials.authority),
    )


@pytest.mark.parametrize(("master", "slave"), [("enc-1", "dec-1"), ("dec-1", "enc-1")])
def test_two_keys_reach_both_ends_once(house: House, master: str, slave: str) -> None:
    sites = {sae: site for site in (house.alice, house.bob) for sae in site.saes}
    house.fill(3)
    asking, fetching = client(sites[master], master), client(sites[slave], slave)
    code, status = asking.get_status(slave)
    assert code == 200
    assert isinstance(status, DataStatus)
    assert status.stored_key_count >= 3
    assert (status.master_sae_id, status.slave_sae_id) == (master, slave)

    code, mine = asking.get_key(slave, number=2, size=128)
    assert code == 200
    assert isinstance(mine, DataKeyContainer)
    ids = [key.key_id for key in mine.keys]
    code, theirs = fetching.get_key_with_key_IDs(master, ids)
    assert code == 200
    assert isinstance(theirs, DataKeyContainer)
    assert [(key.key_id, key.key) for key in theirs.keys] == [
        (key.key_id, key.key) for key in mine.keys
    ]
    assert len(set(key.key for key in mine.keys)) == 2

    code, refused = fetching.get_key_with_key_IDs(master, ids)
    assert code == 400
    assert isinstance(refused, DataError)
    assert refused.message == "one or more keys specified are not found on KME"


def test_its_simple_request_and_its_errors(house: House) -> None:
    house.fill(1)
    asking = client(house.alice, "enc-1")
    code, one = asking.get_key("dec-1")
    assert code == 200
    assert isinstance(one, DataKeyContainer)
    assert len(one.keys) == 1
    code, refused = asking.get_key("dec-1", size=257)
    assert (code, refused.message) == (400, "size shall be a multiple of 8")
    code, refused = client(house.bob, "dec-2").get_key_with_key_IDs("enc-1", [one.keys[0].key_id])
    assert code == 401
    assert isinstance(refused, DataError)


def run(site: Site, sae: str, *arguments: str) -> str:
    """The command, as `sae`; what it prints."""
    credentials = site.saes[sae]
    options = {
        "-H": f"127.0.0.1:{site.port}",
        "-c": str(credentials.certificate),
        "-k": str(credentials.key),
        "-r": str(site.credentials.authority),
    }
    command = [str(Path(sys.executable).parent / "qkd014-client")]
    command += [part for option in options.items() for part in option]
    answer = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return answer.stdout


def test_its_command_fetches_one_key_at_both_ends(house: House) -> None:
    house.fill(1)
    assert "Response code : 200" in run(house.alice, "enc-1", "get_status", "dec-1")
    given = run(house.alice, "enc-1", "get_key", "dec-1")
    (key_id,) = re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", given)
    fetch = ("get_key_with_id", key_id, "enc-1")
    assert run(house.bob, "dec-1", *fetch) == given
    assert "Response code : 400" in run(house.bob, "dec-1", *fetch)

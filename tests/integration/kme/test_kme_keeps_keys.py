"""Known key bytes are nowhere but in the standard's answers: not in databases, logs or errors."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import tomlkit
from kme_house import LINK, House, build_house, eventually
from sqlalchemy import text

from database import open_engine
from key_management.errors import KeyManagementError
from key_management.etsi014.errors import KmeUnavailableError


def traces(key: bytes) -> list[bytes]:
    """A key as it might show: raw, hex, base64, as Python prints it, and its beginning."""
    return [
        key,
        key.hex().encode(),
        base64.b64encode(key),
        repr(bytearray(key)).encode(),
        key[:8],
        key[:8].hex().encode(),
    ]


def serve(house: House) -> list[subprocess.Popen[bytes]]:
    processes = []
    for site in (house.alice, house.bob):
        file = site.folder / "kme.toml"
        file.write_text(tomlkit.dumps(site.document()))
        log = (site.folder / "log").open("wb")
        processes.append(
            subprocess.Popen(
                [str(Path(sys.executable).parent / "qnfv"), "kme", "serve", "--settings", file],
                stdout=log,
                stderr=log,
            )
        )
        log.close()
    return processes


def answers(house: House) -> bool:
    try:
        for site, sae, other in ((house.alice, "enc-1", "dec-1"), (house.bob, "dec-1", "enc-1")):
            site.client(sae).status(other)
    except KeyManagementError:
        return False
    return True


def test_no_key_byte_stands_in_a_file_a_log_or_an_error(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.fill(12)
    said: list[bytes] = []
    processes = serve(house)
    try:
        eventually(lambda: answers(house))
        master, slave = house.alice.client("enc-1"), house.bob.client("dec-1")
        mine = master.enc_keys("dec-1", number=4, size_bit=512)
        fetched = slave.dec_keys("enc-1", [key.key_id for key in mine[:2]])
        assert [key.key for key in fetched] == [key.key for key in mine[:2]]
        for wrong in ([mine[0].key_id], [uuid4()]):
            with pytest.raises(KeyManagementError) as refused:
                slave.dec_keys("enc-1", wrong)
            said.append(str(refused.value).encode())
        with pytest.raises(KeyManagementError) as refused:
            house.bob.client("dec-2").dec_keys("enc-1", [mine[2].key_id])
        said.append(str(refused.value).encode())
        # A fault inside, with keys at hand: the wrapping keys are gone.
        for file in (house.bob.folder / "wrapping").glob("*.key"):
            file.unlink()
        with pytest.raises(KmeUnavailableError, match="wrapping key") as failed:
            slave.dec_keys("enc-1", [mine[3].key_id])
        said.append(str(failed.value).encode())
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            assert process.wait(20) == 0 or process.returncode == -15
    logs = [site.folder / "log" for site in (house.alice, house.bob)]
    assert all(b"delivered" in log.read_bytes() for log in logs), "the logs are the right ones"
    databases = [file for file in tmp_path.rglob("*.sqlite*") if file.stat().st_size]
    assert len(databases) >= 2
    for key in [*house.keys.values(), *(bytes(key.key) for key in mine)]:
        for trace in traces(key):
            for file in (*logs, *databases):
                assert trace not in file.read_bytes(), file.name
            assert not any(trace in words for words in said)
    assert all(key.hex() not in repr(one) for key in house.keys.values() for one in mine)
    with house.alice.ledger() as ledger:
        ledger.check_account(LINK)


def test_the_books_are_shown_and_a_missing_row_is_an_error(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    gone, *_ = house.fill(5)
    file = tmp_path / "kme.toml"
    file.write_text(tomlkit.dumps(house.alice.document()))
    command = [str(Path(sys.executable).parent / "qnfv"), "kme", "accounts", "--settings", file]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert f"{LINK}: 5 made = 0 pending + 5 available" in shown.stdout
    engine = open_engine(house.alice.database_url)
    with engine.begin() as connection:
        connection.execute(
            text("DELETE FROM key_ledger WHERE key_id = :gone"), {"gone": gone.bytes}
        )
    engine.dispose()
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 1
    assert "5 keys" in shown.stderr
    assert "4 are accounted for" in " ".join(shown.stderr.split())

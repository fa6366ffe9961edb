"""The bytes of living keys stand nowhere in a laboratory's files but wrapped."""

from __future__ import annotations

import base64
from uuid import UUID

from e2e_house import House
from sqlalchemy import create_engine, text

from key_management.ledger import KeyLedger
from key_management.wrapping import WrappingKeys


def living_keys(house: House) -> list[bytes]:
    """The keys in Alice's store, opened as only its own process should."""
    state = house.lab.layout.folder / "orchestrator"
    wrapping = WrappingKeys(state / "wrapping")
    engine = create_engine(f"sqlite:///{state / 'orchestrator.sqlite'}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT key_id, link, epoch, wrapped FROM key_ledger WHERE wrapped IS NOT NULL")
        ).all()
    engine.dispose()
    keys = []
    for key_id, link, epoch, wrapped in rows:
        context = KeyLedger._context(UUID(bytes=key_id), link, UUID(bytes=epoch))
        keys.append(bytes(wrapping.unwrap(UUID(bytes=epoch), wrapped, context)))
    return keys


def test_no_file_of_the_laboratory_holds_a_key(house: House, small_image: str) -> None:
    deployment = house.deploy(small_image, "dc-1")
    assert house.ended(deployment["operation_id"])["state"] == "COMPLETED"
    keys = living_keys(house)
    assert len(keys) > 10, "there is something to look for"
    looks = [
        look
        for key in keys
        for look in (key, key.hex().encode(), key.hex(" ").encode(), base64.b64encode(key)[:40])
    ]
    searched = 0
    for file in house.lab.layout.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            searched += 1
            assert not any(look in content for look in looks), f"a key stands in {file}"
    assert searched > 30
    house.remove(deployment)

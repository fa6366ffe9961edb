"""The bytes of keys stand nowhere in a laboratory's files but wrapped, and in no answer.

What stays in the memory of the processes after a key was used is looked for and told, not judged:
Python may keep copies (docs/threat-model.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from e2e_house import House
from sqlalchemy import create_engine, text

from key_management.ledger import KeyLedger
from key_management.wrapping import WrappingKeys
from orchestrator.accounts.identity import Role
from orchestrator.accounts.rules import ENDPOINTS

_PIECE_BYTES, _OVERLAP_BYTES = 16 * 1024**2, 128
NEED_PARAMETERS = {"/api/v1/network/paths"}


def living_keys(house: House) -> dict[UUID, bytes]:
    """The keys in Alice's store by their ids, opened as only its own process should."""
    state = house.lab.layout.folder / "orchestrator"
    wrapping = WrappingKeys(state / "wrapping")
    engine = create_engine(f"sqlite:///{state / 'orchestrator.sqlite'}")
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT key_id, link, epoch, wrapped FROM key_ledger WHERE wrapped IS NOT NULL")
        ).all()
    engine.dispose()
    keys = {}
    for key_id, link, epoch, wrapped in rows:
        context = KeyLedger._context(UUID(bytes=key_id), link, UUID(bytes=epoch))
        keys[UUID(bytes=key_id)] = bytes(wrapping.unwrap(UUID(bytes=epoch), wrapped, context))
    return keys


def looks_of(key: bytes) -> list[bytes]:
    """The ways in which a key may be written."""
    return [key, key.hex().encode(), key.hex(" ").encode(), base64.b64encode(key)[:40]]


def memory_of(pid: int) -> Iterator[bytes]:
    """What a core dump of the process would hold, piece by piece; pieces overlap."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            if not rights.startswith("r") or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            for at in range(start, end, _PIECE_BYTES):
                memory.seek(at)
                try:
                    yield memory.read(min(_PIECE_BYTES + _OVERLAP_BYTES, end - at))
                except OSError:  # a page that cannot be read now
                    continue


def copies_in_memory(pid: int, looks: list[bytes]) -> int:
    """Pieces of memory in which one of `looks` stands."""
    return sum(any(look in piece for look in looks) for piece in memory_of(pid))


def test_no_file_of_the_laboratory_holds_a_key(house: House, small_image: str) -> None:
    deployment = house.deploy(small_image, "dc-1")
    assert house.ended(deployment["operation_id"])["state"] == "COMPLETED"
    keys = living_keys(house)
    assert len(keys) > 10, "there is something to look for"
    search_files(house, [look for key in keys.values() for look in looks_of(key)])
    house.remove(deployment)


def search_files(house: House, looks: list[bytes]) -> None:
    searched = 0
    for file in house.lab.layout.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            searched += 1
            assert not any(look in content for look in looks), f"a key stands in {file}"
    assert searched > 30


def test_a_key_that_was_used_is_in_no_file_and_no_answer(
    house: House, small_image: str, record_property: Callable[[str, object], None]
) -> None:
    before = living_keys(house)
    assert before, "there is a key to be used"
    deployment = house.deploy(small_image, "dc-1")
    operation = house.ended(deployment["operation_id"])
    assert operation["state"] == "COMPLETED"
    used = next(
        UUID(one["key_id"])
        for one in house.get("/api/v1/transfers")
        if one["transfer_id"] == deployment["operation_id"]
    )
    key = before[used]
    looks = looks_of(key)
    assert used not in living_keys(house), "it was erased"
    search_files(house, looks)
    for answer in answers(house):
        assert not any(look in answer for look in looks)
    for name in ("orchestrator", "dc-1"):
        pid = house.lab.processes[name].pid
        assert pid is not None
        control = (
            house.lab.layout.token_file.read_bytes().strip()
            if name == "orchestrator"
            else (b"slave.sqlite")
        )
        assert copies_in_memory(pid, [control]), "memory can be searched"
        copies = copies_in_memory(pid, looks)
        record_property(f"copies of a used key in the memory of {name}", copies)
        print(f"{name}: {copies} pieces of memory hold the key that was used")
    house.remove(deployment)


def answers(house: House) -> Iterator[bytes]:
    """What REST tells to whoever may read."""
    readable = (*ENDPOINTS[Role.VIEWER], *ENDPOINTS[Role.OPERATOR])
    paths = {
        e.removeprefix("GET ") for e in readable if e.startswith("GET /api/v1") and "{" not in e
    }
    for path in sorted(paths - NEED_PARAMETERS):
        yield json.dumps(house.client.get(path)).encode()

"""TL1.md: vectors, round trips, and bytes of all kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdn_client.errors import MalformedAnswer
from sdn_client.tl1 import (
    MAX_BLOCK_BYTES,
    Acknowledgement,
    Answer,
    Autonomous,
    BlockReader,
    Command,
    CommandReader,
    patch_table,
    port_range,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "tl1"


def vectors(name: str) -> list[Any]:
    rows = json.loads((VECTORS / name).read_text())["vectors"]
    return [pytest.param(row, id=row["name"]) for row in rows]


@pytest.mark.parametrize("row", vectors("commands.json"))
def test_commands(row: dict[str, Any]) -> None:
    command = Command(row["verb"], row["aid"], row["ctag"], tuple(row["rest"]))
    assert command.encode() == row["text"].encode()
    assert list(CommandReader().feed(row["text"].encode())) == [command]


@pytest.mark.parametrize("row", vectors("answers.json"))
def test_answers(row: dict[str, Any]) -> None:
    (block,) = BlockReader().feed(row["text"].encode())
    match block:
        case Answer():
            assert (block.ctag, block.code, block.more) == (row["ctag"], row["code"], row["more"])
            if row["table"] is not None:
                assert patch_table([block]) == {tuple(pair) for pair in row["table"]}
        case Acknowledgement():
            assert block.code == row["code"]
        case Autonomous():
            assert row["code"] is None


@pytest.mark.parametrize("row", vectors("malformed.json"))
def test_what_is_no_table_is_not_believed(row: dict[str, Any]) -> None:
    def read() -> None:
        blocks = BlockReader().feed(row["text"].encode())
        patch_table(block for block in blocks if isinstance(block, Answer))

    with pytest.raises(MalformedAnswer):
        read()


def test_blocks_come_whole_however_the_bytes_are_cut() -> None:
    texts = [row.values[0]["text"].encode() for row in vectors("answers.json")]
    stream = b"\r\n".join(texts)
    whole = list(BlockReader().feed(stream))
    reader = BlockReader()
    assert [b for at in range(len(stream)) for b in reader.feed(stream[at : at + 1])] == whole
    assert len(whole) == len(texts)


def test_a_block_without_end_is_refused() -> None:
    def read() -> None:
        reader = BlockReader()
        for _ in range(MAX_BLOCK_BYTES // 65536 + 1):
            list(reader.feed(b'"' + b"x" * 65535))

    with pytest.raises(MalformedAnswer, match="more than"):
        read()


@pytest.mark.parametrize("field", ["a\nb", "é", "\x7f"])
def test_what_cannot_be_written_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="ASCII"):
        Command("ACT-USER", field).encode()


@pytest.mark.parametrize(("verb", "ctag"), [("act user", "1"), ("ACT-USER", "1:2"), ("X;Y", "1")])
def test_a_command_cannot_smuggle_another(verb: str, ctag: str) -> None:
    with pytest.raises(ValueError, match="no TL1 command"):
        Command(verb, ctag=ctag).encode()


@pytest.mark.parametrize(
    ("aid", "ports"), [("1", [1]), ("1&&3", [1, 2, 3]), ("1&2&9", [1, 2, 9]), ("1&&2&7", [1, 2, 7])]
)
def test_ranges_of_ports(aid: str, ports: list[int]) -> None:
    assert port_range(aid) == ports


@pytest.mark.parametrize("aid", ["", "1&", "a", "1&&&3", "1&&65536&&2", "1&&99999", "-1"])
def test_what_names_no_ports(aid: str) -> None:
    with pytest.raises(MalformedAnswer):
        port_range(aid)


printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@given(
    printable, st.from_regex(r"[A-Za-z0-9]{1,6}", fullmatch=True), st.lists(printable, max_size=3)
)
def test_commands_come_back(aid: str, ctag: str, rest: list[str]) -> None:
    command = Command("ENT-PATCH", aid, ctag, tuple(rest) or ("",))
    after = Command("RTRV-PATCH", ctag="9")
    assert list(CommandReader().feed(command.encode() + after.encode())) == [command, after]


@given(st.dictionaries(st.integers(1, 300), st.integers(301, 600), max_size=80))
def test_tables_come_back(joined: dict[int, int]) -> None:
    pairs = {b: a for a, b in joined.items()}  # no port twice
    lines = tuple(f'"{a},{b}"' for b, a in pairs.items())
    data = Answer("2", "COMPLD", lines).encode("POLATIS", "26-05-04 12:00:00")
    (block,) = BlockReader().feed(data)
    assert isinstance(block, Answer)
    assert patch_table([block]) == {(a, b) for b, a in pairs.items()}


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_are_blocks_or_malformed(pieces: list[bytes]) -> None:
    reader = BlockReader()
    try:
        for piece in pieces:
            patch_table(b for b in reader.feed(piece) if isinstance(b, Answer))
    except MalformedAnswer:
        pass

"""The audit chain: canonical bytes as in docs/audit.md, and what breaks a chain."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.audit.chain import EMPTY, walk
from orchestrator.audit.record import (
    NO_HASH,
    Entry,
    Head,
    Record,
    canonical_bytes,
    record_hash,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "audit" / "chain.json"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDS = ("who", "role", "via", "source", "action", "outcome")

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
entries = st.builds(
    Entry,
    who=texts,
    role=texts,
    via=texts,
    source=texts,
    action=texts,
    outcome=texts,
    subjects=st.dictionaries(texts, texts, max_size=4),
)
moments = st.integers(-(2**40), 2**52).map(lambda us: EPOCH + timedelta(microseconds=us))


def chained(contents: list[tuple[datetime, Entry]]) -> list[Record]:
    records: list[Record] = []
    previous = NO_HASH
    for number, (at, entry) in enumerate(contents, 1):
        own = record_hash(number, at, entry, previous)
        records.append(Record(number, at, entry, previous, own))
        previous = own
    return records


def head_of(records: list[Record]) -> Head:
    return Head(records[-1].sequence, records[-1].hash) if records else EMPTY


chains = st.lists(st.tuples(moments, entries), max_size=8).map(chained)
some_chains = st.lists(st.tuples(moments, entries), min_size=1, max_size=8).map(chained)


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text()))
def test_bytes_and_hashes_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    entry = Entry(**{word: vector[word] for word in WORDS}, subjects=vector["subjects"])
    at = EPOCH + timedelta(microseconds=vector["at_us"])
    previous = bytes.fromhex(vector["previous"])
    assert (
        canonical_bytes(vector["sequence"], at, entry, previous).hex()
        == (vector["canonical_bytes"])
    )
    assert record_hash(vector["sequence"], at, entry, previous).hex() == vector["hash"]


@given(chains)
def test_a_true_chain_is_whole(records: list[Record]) -> None:
    verdict = walk(records, head_of(records))
    assert verdict.is_whole
    assert (verdict.records, verdict.head) == (len(records), head_of(records))


@given(some_chains, st.data())
def test_a_changed_record_is_found(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    word = data.draw(st.sampled_from(WORDS))
    forged = replace(
        records[at],
        entry=replace(records[at].entry, **{word: getattr(records[at].entry, word) + "x"}),
    )
    head = head_of(records)
    assert not walk([*records[:at], forged, *records[at + 1 :]], head).is_whole
    # Also where the forger computes the record's own hash anew.
    forged = replace(forged, hash=forged.true_hash)
    assert not walk([*records[:at], forged, *records[at + 1 :]], head).is_whole


@given(some_chains, st.data())
def test_a_record_that_is_gone_is_found(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    verdict = walk([*records[:at], *records[at + 1 :]], head_of(records))
    assert not verdict.is_whole
    assert verdict.records == at


@given(some_chains, st.randoms())
def test_another_order_is_found(records: list[Record], random: Any) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    assert walk(shuffled, head_of(records)).is_whole == (shuffled == records)


@given(some_chains, st.data())
def test_a_cut_tail_with_its_head_is_found_by_an_anchor_alone(
    records: list[Record], data: st.DataObject
) -> None:
    kept = records[: data.draw(st.integers(0, len(records) - 1))]
    assert walk(kept, head_of(kept)).is_whole
    assert not walk(kept, head_of(kept), [head_of(records)]).is_whole


@given(some_chains, st.data())
def test_a_chain_written_anew_is_found_by_an_anchor_alone(
    records: list[Record], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(records) - 1))
    contents = [(record.at, record.entry) for record in records]
    contents[at] = (contents[at][0], replace(contents[at][1], who=contents[at][1].who + "x"))
    forged = chained(contents)
    assert walk(forged, head_of(forged)).is_whole
    assert not walk(forged, head_of(forged), [head_of(records)]).is_whole


@given(some_chains, st.data())
def test_an_older_anchor_holds(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records)))
    assert walk(records, head_of(records), [head_of(records[:at])]).is_whole


def test_the_end_of_a_text_cannot_move_into_the_next() -> None:
    at = EPOCH
    one = Entry("ab", "c", "", "", "", "")
    other = Entry("a", "bc", "", "", "", "")
    assert record_hash(1, at, one, NO_HASH) != record_hash(1, at, other, NO_HASH)

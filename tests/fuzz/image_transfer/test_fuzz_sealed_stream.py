"""A bounded run of the fuzz target, for every test run."""

from __future__ import annotations

import random

import fuzz_sealed_stream as target
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@given(st.binary(max_size=2000))
@settings(max_examples=60, deadline=None)
def test_any_bytes(data):
    target.feed(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_vectors(seed):
    chance = random.Random(seed)
    for _ in range(60):
        target.feed(target._mutated(chance.choice(target._SEEDS), chance))


def test_honest_stream_is_taken():
    """The target would notice if everything were refused."""
    target.feed(b"\x03")

"""A bounded run of the fuzz target, for every test run."""

from __future__ import annotations

import random

import fuzz_docker_archive as target
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@given(st.binary(max_size=3000))
@settings(max_examples=60, deadline=None)
def test_any_bytes(data: bytes) -> None:
    target.feed(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_archives(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(80):
        target.feed(target.mutated(chance.choice(target.SEEDS), chance))


def test_honest_archives_are_taken(monkeypatch) -> None:
    """The target would notice if everything were refused."""
    for image_id, archive in (
        (target.IMAGE_ID, target.ARCHIVE),
        (target._LAYER_FREE_ID, target._LAYER_FREE),
    ):
        target.feed(archive)
        target._inspect(archive, image_id)

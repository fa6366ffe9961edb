"""The relay message: one encoding, a pad and a MAC key that serve once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from key_management.relay.errors import NoRouteError, RelayForgedError, RelayMessageError
from key_management.relay.message import Envelope, Route, open_sealed, parse, seal
from key_management.relay.routes import HopLink, widest_route

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "relay" / "message.json").read_text())

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    hops = draw(st.integers(1, 8))
    count = draw(st.integers(2, 9))
    nodes = draw(st.lists(names, min_size=hops + 1, max_size=hops + 1, unique=True))
    links = draw(st.lists(names, min_size=hops, max_size=hops))
    ids = draw(st.lists(st.uuids(), min_size=2 * count + 3, max_size=2 * count + 3, unique=True))
    return Envelope(
        Route(ids[0], draw(names), tuple(nodes), tuple(links)),
        draw(st.integers(0, hops - 1)),
        ids[1],
        tuple(ids[2 : count + 2]),
        tuple(ids[count + 2 :]),
        draw(st.booleans()),
    )


def an_envelope(count: int = 3) -> Envelope:
    route = Route(uuid4(), "centre--far", ("centre", "one", "far"), ("c--o", "o--f"))
    ids = tuple(uuid4() for _ in range(2 * count + 1))
    return Envelope(route, 0, uuid4(), ids[:count], ids[count:], emulated=True)


@given(envelopes(), st.randoms(use_true_random=False))
def test_what_is_sealed_opens_to_the_same_keys_and_says_the_same(envelope, random) -> None:
    count = len(envelope.key_ids)
    keys, pad = (
        bytearray(random.randbytes(32 * count)),
        bytearray(random.randbytes(32 * count + 32)),
    )
    message = seal(envelope, keys, pad)
    assert parse(message) == envelope
    assert open_sealed(message, pad) == keys


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_our_own_words(noise: bytes) -> None:
    for data in (noise, b"QNFVRELY" + noise):
        with pytest.raises(RelayMessageError):
            parse(data)


def test_every_flipped_bit_is_noticed() -> None:
    envelope = an_envelope(2)
    pad = bytearray(range(96))
    message = seal(envelope, bytearray(64), pad)
    for place in range(len(message)):
        altered = bytearray(message)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises((RelayMessageError, RelayForgedError)):
            open_sealed(bytes(altered), pad)


def test_every_cut_and_every_added_byte_is_refused() -> None:
    message = seal(an_envelope(2), bytearray(64), bytearray(96))
    for end in range(len(message)):
        with pytest.raises(RelayMessageError):
            parse(message[:end])
    with pytest.raises(RelayMessageError):
        parse(message + b"\0")


def test_a_pad_is_never_stretched_or_cut() -> None:
    envelope = an_envelope(3)
    for keys, pad in ((95, 128), (97, 128), (96, 127), (96, 129), (96, 96), (0, 0)):
        with pytest.raises(RelayMessageError):
            seal(envelope, bytearray(keys), bytearray(pad))


@pytest.mark.parametrize(
    "change",
    [
        {"hop": 2},
        {"key_ids": ()},
        {"block_ids": (UUID(int=1),)},
        {"key_ids": (UUID(int=1), UUID(int=1), UUID(int=2))},
    ],
)
def test_an_envelope_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(RelayMessageError):
        replace(an_envelope(), **change)


@pytest.mark.parametrize(
    ("nodes", "links"),
    [
        (("a",), ()),
        (("a", "b", "a"), ("x", "y")),
        (("a", "b"), ("x", "y")),
        (tuple("abcdefghij"), tuple("123456789")),
        (("a", ""), ("x",)),
        (("a", "ä"), ("x",)),
    ],
)
def test_a_route_that_cannot_be_is_refused(nodes: tuple[str, ...], links: tuple[str, ...]) -> None:
    with pytest.raises(RelayMessageError):
        Route(uuid4(), "r", nodes, links)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["title"])
def test_the_published_vectors(vector: dict[str, object]) -> None:
    message, pad = bytes.fromhex(vector["message"]), bytearray.fromhex(vector["pad"])
    envelope = parse(message)
    assert envelope.route.nodes == tuple(vector["nodes"])
    assert open_sealed(message, pad) == bytearray.fromhex(vector["keys"])
    assert seal(envelope, bytearray.fromhex(vector["keys"]), pad) == message


# --- the way ---------------------------------------------------------------------------------


def links(*triples: str) -> list[HopLink]:
    return [HopLink(triple, triple[0], triple[1]) for triple in triples]


def test_the_widest_way_wins_over_the_shortest() -> None:
    net = links("az", "ab", "bz")
    way = widest_route(net, {"az": 10, "ab": 50, "bz": 40}, "a", "z")
    assert [link.name for link in way] == ["ab", "bz"]


def test_among_equally_wide_ways_the_shortest_wins() -> None:
    net = links("az", "ab", "bz")
    assert [
        link.name for link in widest_route(net, dict.fromkeys(("az", "ab", "bz"), 9), "a", "z")
    ] == ["az"]


def test_links_go_one_way_and_silent_ones_are_left_out() -> None:
    with pytest.raises(NoRouteError, match="No chain"):
        widest_route(links("za"), {"za": 5}, "a", "z")
    with pytest.raises(NoRouteError, match="No chain"):
        widest_route(links("ab", "bz"), {"ab": 5}, "a", "z")


def test_the_poorest_link_is_named_when_keys_are_missing() -> None:
    with pytest.raises(NoRouteError, match="bz has 3 keys left"):
        widest_route(links("ab", "bz"), {"ab": 50, "bz": 3}, "a", "z", least_keys=4)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"), st.integers(0, 99)),
        max_size=14,
    )
)
def test_no_way_is_wider_than_the_one_found(edges: list[tuple[str, str, int]]) -> None:
    net = [HopLink(f"l{i}", a, b) for i, (a, b, _) in enumerate(edges) if a != b]
    keys = {f"l{i}": count for i, (_, _, count) in enumerate(edges)}

    def widest(node: str, seen: frozenset[str]) -> int:
        if node == "f":
            return 1000
        return max(
            (
                min(keys[link.name], widest(link.to_node, seen | {link.to_node}))
                for link in net
                if link.from_node == node and link.to_node not in seen
            ),
            default=-1,
        )

    best = widest("a", frozenset("a"))
    if best < 0:
        with pytest.raises(NoRouteError):
            widest_route(net, keys, "a", "f", least_keys=0)
    else:
        way = widest_route(net, keys, "a", "f", least_keys=0)
        assert min(keys[link.name] for link in way) == best
        assert way[0].from_node == "a"
        assert way[-1].to_node == "f"

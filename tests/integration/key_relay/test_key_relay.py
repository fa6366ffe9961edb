"""Relayed keys: the same at both ends, fresh pads each hop, and after any fault nothing unknown."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from relay_house import FAR, Chain, NodeAwayError

from key_management.errors import KeyAgreementError, NoKeyAvailableError
from key_management.relay.errors import (
    NoRouteError,
    RelayBurnedError,
    RelayForgedError,
    RelayMessageError,
)
from key_management.relay.message import parse
from key_management.relay.node import Leg
from key_management.states import KeyState
from problem_details import ProblemError


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def away() -> None:
    raise NodeAwayError("It does not answer.", next_step="Wait.")


class KilledError(BaseException):
    """The process is gone: nobody handles it."""


def killed() -> None:
    raise KilledError


def test_both_ends_hold_the_same_keys_at_the_price_that_the_document_names(chain: Chain) -> None:
    kept = chain.origin.fill(chain.relayed, 10)
    assert len(kept) == 10
    assert chain.spent() == {hop.name: {"CONSUMED": 12, "AVAILABLE": 28} for hop in chain.hops}, (
        "11 keys and a tag on each hop"
    )
    assert chain.same_keys() == 10
    chain.assert_both_ends_agree()


def test_every_hop_has_other_blocks_and_another_ciphertext(chain: Chain) -> None:
    chain.origin.fill(chain.relayed, 5)
    messages = [reached.messages[0] for reached in chain.reached.values()]
    blocks = [block for message in messages for block in parse(message).block_ids]
    assert len(blocks) == len(set(blocks)) == 21
    assert len({message[-112:] for message in messages}) == 3


def test_a_batch_is_no_larger_than_the_way_allows(chain: Chain) -> None:
    assert len(chain.origin.fill(chain.relayed, 60)) == 38
    with pytest.raises(NoRouteError, match="has 0 keys left"):
        chain.origin.fill(chain.relayed, 1)
    chain.assert_both_ends_agree()


def test_keys_over_an_emulated_hop_are_emulated_at_both_ends(tmp_path: Path) -> None:
    for place, emulated in enumerate([None, 0, 1, 2]):
        chain = Chain(tmp_path / str(place), keys=0)
        for number, hop in enumerate(chain.hops):
            chain.produce(hop, 10, emulated=number == emulated)
        (key_id, *_) = chain.origin.fill(chain.relayed, 2)
        for name in ("centre", "far"):
            found = chain.places[name].ledger.get(FAR, key_id).emulated
            assert found is (emulated is not None), (emulated, name)


def test_a_key_tells_its_route(chain: Chain) -> None:
    key_id = chain.origin.fill(chain.relayed, 1)[0]
    turn = chain.places["centre"].ledger.get(FAR, key_id).turn
    assert turn is not None
    record = chain.origin.record(turn)
    assert record is not None
    assert record.nodes == ["centre", "one", "two", "far"]
    assert chain.places["far"].ledger.get(FAR, key_id).turn == turn


def test_a_node_that_lacks_keys_costs_nobody_any(chain: Chain) -> None:
    late = chain.reached["two"]
    two = chain.places["two"].ledger
    late.before["reserve"] = lambda: two.reserve_many("two--far", uuid4(), 35) and None
    with pytest.raises(NoKeyAvailableError):
        chain.origin.fill(chain.relayed, 10)
    assert chain.level("centre", "centre--one") == 40
    assert chain.level("one", "centre--one") == 40
    assert chain.level("two", "one--two") == 40
    (row,) = chain.origin.routes()
    assert (row.state, row.settled) == ("FAILED", True)


@pytest.mark.parametrize("name", ["one", "two", "far"])
@pytest.mark.parametrize("request_", ["reserve", "carry"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_node_that_goes_silent_burns_what_may_have_been_used(
    chain: Chain, name: str, request_: str, when: str
) -> None:
    reached = chain.reached[name]
    getattr(reached, when)[request_] = away
    reached.before["withdraw"] = away
    with pytest.raises(NodeAwayError):
        chain.origin.fill(chain.relayed, 5)
    assert chain.places["centre"].ledger.counts(FAR)[KeyState.AVAILABLE] == 0
    (row,) = chain.origin.routes()
    assert row.settled is False, "the silent node has still to be told"
    reached.before.clear()
    reached.after.clear()
    chain.origin.settle({FAR: chain.relayed})
    (row,) = chain.origin.routes()
    assert row.settled is True
    assert len(chain.origin.fill(chain.relayed, 5)) == 5
    assert chain.same_keys() == 5
    for place in chain.places.values():
        for hop in chain.hops:
            counts = place.ledger.counts(hop.name)
            assert counts[KeyState.RESERVED] == counts[KeyState.ARMED] == 0


@pytest.mark.parametrize("name", ["one", "two", "far"])
@pytest.mark.parametrize("request_", ["reserve", "carry", "finish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_origin_that_is_killed_leaves_nothing_open(
    chain: Chain, name: str, request_: str, when: str
) -> None:
    getattr(chain.reached[name], when)[request_] = killed
    with contextlib.suppress(KilledError):
        chain.origin.fill(chain.relayed, 5)
    chain.reached[name].before.clear()
    chain.reached[name].after.clear()
    chain.places["centre"].restart()
    chain.open_origin()
    chain.origin.settle({FAR: chain.relayed})
    chain.assert_both_ends_agree()
    assert all(row.settled for row in chain.origin.routes())
    chain.origin.fill(chain.relayed, 5)
    assert chain.same_keys() in (5, 10)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *(
            (name, step)
            for name in ("one", "two", "far")
            for step in ("arm_all", "with_armed_keys", "consume_all")
        ),
        ("far", "add_pending"),
    ],
)
def test_a_node_that_is_killed_while_it_carries_burns_rather_than_not_knowing(
    chain: Chain, name: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = chain.places[name]
    original = getattr(place.ledger, step)

    def killed_after(*arguments: object, **named: object) -> object:
        original(*arguments, **named)
        monkeypatch.setattr(place.ledger, step, original)
        raise KilledError

    monkeypatch.setattr(place.ledger, step, killed_after)
    with pytest.raises(KilledError):
        chain.origin.fill(chain.relayed, 5)
    place.restart()
    chain.places["centre"].restart()
    chain.open_origin()
    message = chain.reached[name].messages[0]
    route_id = parse(message).route.route_id
    if step == "consume_all":  # its answer was stored: the same question gets the same bytes
        first, second = (place.node.carry(route_id, message) for _ in range(2))
        assert first == second
    else:
        with pytest.raises(RelayBurnedError):
            place.node.carry(route_id, message)
    chain.origin.settle({FAR: chain.relayed})
    chain.assert_both_ends_agree()
    assert len(chain.origin.fill(chain.relayed, 5)) == 5
    assert chain.same_keys() == 5


@pytest.mark.parametrize("place", [9, 20, 60, 200, -1, -20, -150])
def test_an_altered_message_is_refused_and_its_blocks_are_burned(chain: Chain, place: int) -> None:
    def alter(message: bytes) -> bytes:
        altered = bytearray(message)
        altered[place] ^= 1
        return bytes(altered)

    chain.reached["two"].alter = alter
    with pytest.raises((RelayForgedError, RelayMessageError)):
        chain.origin.fill(chain.relayed, 5)
    chain.assert_both_ends_agree()
    assert chain.level("one", "one--two") == 33, "five keys, one to compare, one for the tag"
    assert chain.places["far"].ledger.counts(FAR)[KeyState.AVAILABLE] == 0


def test_a_mac_key_serves_one_verification(chain: Chain) -> None:
    reached = chain.reached["one"]
    seen: list[Exception] = []

    def forge(message: bytes) -> bytes:
        try:
            forged = message[:-1] + bytes([message[-1] ^ 1])
            reached.place.node.carry(parse(message).route.route_id, forged)
        except RelayForgedError as error:
            seen.append(error)
        return message

    reached.alter = forge
    with pytest.raises(RelayBurnedError):
        chain.origin.fill(chain.relayed, 5)
    assert seen, "the true message came too late"


def test_another_message_of_the_same_route_is_refused(chain: Chain) -> None:
    chain.origin.fill(chain.relayed, 5)
    message = chain.reached["one"].messages[0]
    node = chain.places["one"].node
    with pytest.raises(RelayMessageError):
        node.carry(parse(message).route.route_id, message[:-1] + bytes([message[-1] ^ 1]))
    with pytest.raises(RelayMessageError):
        chain.places["two"].node.carry(parse(message).route.route_id, message)
    with pytest.raises(RelayMessageError):
        node.carry(uuid4(), message)


def test_an_end_that_holds_other_keys_is_noticed(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = chain.places["far"].ledger
    keep: Callable[..., object] = ledger.add_pending

    def spoiled(link: str, epoch: object, keys: list, **named: object) -> object:
        keys[1].key[0] ^= 1
        return keep(link, epoch, keys, **named)

    monkeypatch.setattr(ledger, "add_pending", spoiled)
    with pytest.raises(KeyAgreementError):
        chain.origin.fill(chain.relayed, 5)
    for name in ("centre", "far"):
        counts = chain.places[name].ledger.counts(FAR)
        assert counts[KeyState.AVAILABLE] == counts[KeyState.PENDING] == 0
    chain.assert_both_ends_agree()


def test_a_reservation_that_outlasts_its_withdrawal_keeps_nothing(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin heard nothing in time and withdrew, while the node was still reserving."""
    place = chain.places["one"]
    reserve = place.ledger.reserve_by_ids

    def overtaken(link: str, ids: object, owner: UUID) -> object:
        place.node.withdraw(owner, "no answer in time", burn=True)
        return reserve(link, ids, owner)

    monkeypatch.setattr(place.ledger, "reserve_by_ids", overtaken)
    with pytest.raises(RelayBurnedError):
        chain.origin.fill(chain.relayed, 5)
    monkeypatch.undo()
    counts = place.ledger.counts("centre--one")
    assert counts[KeyState.RESERVED] == counts[KeyState.ARMED] == 0
    filled = 0
    for _ in range(3):  # what the two ends differ about leaves the pool, and the hop goes on
        with contextlib.suppress(ProblemError):
            filled += len(chain.origin.fill(chain.relayed, 5))
    assert filled >= 5


@pytest.mark.parametrize("told_before_the_end", [1, 2, 3])
def test_an_origin_that_is_killed_while_it_gives_up_burns_the_rest(
    chain: Chain, told_before_the_end: int
) -> None:
    told = 0

    def count_and_die() -> None:
        nonlocal told
        told += 1
        if told == told_before_the_end:
            raise KilledError

    chain.reached["two"].before["reserve"] = away
    chain.reached["two"].before["withdraw"] = away
    for name in ("one", "far"):
        chain.reached[name].after["withdraw"] = count_and_die
    with contextlib.suppress(KilledError, NodeAwayError):
        chain.origin.fill(chain.relayed, 5)
    for reached in chain.reached.values():
        reached.before.clear()
        reached.after.clear()
    chain.places["centre"].restart()
    chain.open_origin()
    chain.origin.settle({FAR: chain.relayed})
    first = chain.hops[0]
    counts = [
        chain.places[name].ledger.counts(first.name)[KeyState.AVAILABLE]
        for name in (first.from_node, first.to_node)
    ]
    assert counts[0] <= counts[1], "free where it is allocated, gone at the other end"
    assert len(chain.origin.fill(chain.relayed, 5)) == 5
    assert chain.same_keys() == 5


def test_a_late_request_of_a_route_that_was_withdrawn_finds_it_closed(chain: Chain) -> None:
    node, route_id = chain.places["one"].node, uuid4()
    node.withdraw(route_id, "the origin gave it up", burn=True)
    with pytest.raises(RelayBurnedError):
        node.reserve(Leg(route_id, FAR, 3, outgoing_link="one--two"))
    assert chain.level("one", "one--two") == 40


def test_no_key_is_stored_in_the_clear(chain: Chain, tmp_path: Path) -> None:
    taken: list[bytes] = []
    centre = chain.places["centre"].ledger
    add = centre.add_pending

    def look(link: str, epoch: object, keys: list, **named: object) -> object:
        taken.extend(bytes(key.key) for key in keys)
        return add(link, epoch, keys, **named)

    centre.add_pending = look  # type: ignore[method-assign]
    chain.origin.fill(chain.relayed, 8)
    assert len(taken) == 9
    for file in tmp_path.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(key in content for key in taken), file.name

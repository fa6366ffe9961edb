"""Where light comes out, and with what loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.fibre_plant.light import Light, both_directions, dark_ports, follow_all
from emulators.fibre_plant.relay import Relay
from sdn_client.topology import load_topology

LAB = load_topology(Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml")


def lit(*pairs: tuple[int, int], cut: frozenset[str] = frozenset()) -> Light:
    return follow_all(LAB, both_directions("polatis-1", list(pairs)), cut)


def ways(light: Light) -> set[tuple[str, str]]:
    return {(path.source.name, path.target.name) for path in light.paths}


def test_without_mirrors_all_is_dark() -> None:
    assert lit() == Light((), ())


@pytest.mark.parametrize(
    ("port", "bob", "km", "loss_db"),
    [(2, "bob-1", 5, 2.548), (3, "bob-2", 15, 4.548), (4, "bob-3", 25, 6.548)],
)
def test_alice_reaches_a_bob_over_one_passage(
    port: int, bob: str, km: float, loss_db: float
) -> None:
    light = lit((1, port))
    assert ways(light) == {("alice", bob), (bob, "alice")}
    for end in ("alice", bob):
        channel = light.quantum_channel(end)
        assert channel is not None
        assert channel.loss_db == pytest.approx(loss_db)
        assert channel.fibre_km == km
    others = {"bob-1", "bob-2", "bob-3"} - {bob}
    assert all(light.quantum_channel(other) is None for other in others)


def test_a_classical_path_over_two_virtual_switches() -> None:
    light = lit((5, 7), (17, 18))
    assert ways(light) == {("co-1", "dc-1"), ("dc-1", "co-1")}
    path = next(path for path in light.paths if path.source.name == "co-1")
    assert path.loss_db == pytest.approx(2 * 1.548 + 0.2 * 5.01)
    assert path.fibres == ("jumper-1", "classical-spool-1")
    assert light.classical_path_from("node-1", "dc-1")
    assert not light.classical_path_from("node-1", "dc-2")
    assert light.quantum_channel("co-1") is None


@pytest.mark.parametrize("missing", [[(5, 7)], [(17, 18)], [(5, 8), (17, 18)]])
def test_half_a_classical_path_is_dark(missing: list[tuple[int, int]]) -> None:
    light = lit(*missing)
    assert not light.classical_path_from("node-1", "dc-1")


@pytest.mark.parametrize("cut", ["quantum-spool-1", "jumper-1", "classical-spool-1"])
def test_a_cut_fibre_is_dark_both_ways(cut: str) -> None:
    whole = lit((1, 2), (5, 7), (17, 18))
    light = lit((1, 2), (5, 7), (17, 18), cut=frozenset({cut}))
    expected = {p for p in ways(whole) if ("alice" in p) != cut.startswith("quantum")}
    assert ways(light) == expected
    assert light.alarms == ()


@pytest.mark.parametrize(
    ("pair", "culprit"), [((1, 5), "alice"), ((1, 7), "alice"), ((5, 2), "co-1")]
)
def test_light_of_the_wrong_kind_is_an_alarm_and_no_path(
    pair: tuple[int, int], culprit: str
) -> None:
    light = lit(pair)
    assert light.paths == ()
    assert any(culprit in alarm for alarm in light.alarms)


def test_light_that_comes_back_by_another_jumper_lights_the_other_interface() -> None:
    light = lit((5, 7), (17, 21), (8, 6))
    assert ways(light) == {("co-1", "co-2"), ("co-2", "co-1")}
    assert light.alarms == ()


@given(st.permutations(range(1, 33)), st.integers(0, 16))
def test_any_mirrors_give_an_answer_and_light_is_reversible(ports: list[int], count: int) -> None:
    pairs = [(ports[2 * i], ports[2 * i + 1]) for i in range(count)]
    light = lit(*pairs)
    there = {(p.source.name, p.target.name): p for p in light.paths}
    for (a, b), path in there.items():
        assert a != b
        assert there[b, a].loss_db == pytest.approx(path.loss_db)
        assert path.source.kind is path.target.kind


def test_a_port_in_two_cross_connects_is_refused() -> None:
    with pytest.raises(ValueError, match="port 2"):
        both_directions("polatis-1", [(1, 2), (2, 3)])


def test_relay_arguments() -> None:
    relay = Relay.parse("dc-1=127.0.0.1:7001->127.0.0.2:7101")
    assert relay == Relay("dc-1", ("127.0.0.1", 7001), ("127.0.0.2", 7101))


@pytest.mark.parametrize(
    "text", ["", "dc-1", "dc-1=1", "dc-1=a:1", "dc-1=a:b->c:d", "=a:1->b:2", "dc=a:1->b:99999"]
)
def test_relay_arguments_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Relay.parse(text)


@pytest.mark.parametrize(
    ("cut", "ports"),
    [
        (set(), []),
        ({"quantum-spool-1"}, [2]),
        ({"jumper-1"}, [7, 17]),
        ({"classical-spool-1", "jumper-2"}, [8, 18, 21]),
    ],
)
def test_a_cut_fibre_darkens_the_ports_at_its_ends(cut: set[str], ports: list[int]) -> None:
    assert dark_ports(LAB, "polatis-1", cut) == ports
    assert dark_ports(LAB, "polatis-2", cut) == []

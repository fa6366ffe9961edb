"""Path computation: the lab's paths, budgets, detours, and reasons when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdn_client.errors import (
    BandwidthTooLow,
    KindsMixed,
    LossOverBudget,
    NoPath,
    PortInUse,
    SdnError,
)
from sdn_client.paths import LightPath, PathFinder
from sdn_client.topology import (
    BandwidthClass,
    CrossConnect,
    LightKind,
    PortRef,
    Topology,
    load_topology,
    parse_topology,
)

LAB_FILE = Path(__file__).parents[3] / "emulators" / "lab" / "topology.toml"
LAB = load_topology(LAB_FILE)
Q, C = LightKind.QUANTUM, LightKind.CLASSICAL


def ring(spool_km: float, budget_db: float = 7.0, detour_km: float = 0.1) -> Topology:
    """Bob behind one long spool at vs-1, or behind two jumpers and a short one at vs-3."""
    return parse_topology(
        f"""
        quantum_loss_budget_db = {budget_db}
        nodes = [{{name = "n1"}}, {{name = "n2"}}]
        chassis = [{{name = "s", datapath_id = 1, ports = 12, cross_connect_loss_db = 1.5}}]
        virtual_switches = [
          {{name = "vs-1", chassis = "s", owner = "n1", ports = ["1-4"]}},
          {{name = "vs-2", chassis = "s", owner = "n1", ports = ["5-8"]}},
          {{name = "vs-3", chassis = "s", owner = "n2", ports = ["9-12"]}},
        ]
        end_points = [
          {{name = "alice", node = "n1", kind = "quantum", role = "transmitter", port = "s:1"}},
          {{name = "bob-4", node = "n2", kind = "quantum", role = "receiver"}},
          {{name = "bob-5", node = "n2", kind = "quantum", role = "receiver"}},
        ]
        fibres = [
          {{name = "near", a = "s:2", b = "bob-5", km = {spool_km}, kind = "quantum"}},
          {{name = "j1", a = "s:3", b = "s:5", km = 0, kind = "both"}},
          {{name = "j2", a = "s:6", b = "s:9", km = 0, kind = "quantum"}},
          {{name = "far", a = "s:10", b = "bob-4", km = {detour_km}, kind = "quantum"}},
        ]
        """
    )


@pytest.mark.parametrize(
    ("bob", "port", "loss_db"), [("bob-1", 2, 2.548), ("bob-2", 3, 4.548), ("bob-3", 4, 6.548)]
)
def test_each_bob_of_the_lab_is_one_passage_away(bob: str, port: int, loss_db: float) -> None:
    path = PathFinder(LAB).find("alice", bob, Q)
    assert path.cross_connects == (CrossConnect("polatis-1", 1, port),)
    assert path.loss_db == pytest.approx(loss_db)
    assert path.loss_db <= LAB.quantum_loss_budget_db


def test_a_data_centre_is_two_passages_and_a_jumper_away() -> None:
    path = PathFinder(LAB).find("node-1", "dc-2", C)
    assert (path.from_end_point, path.to_end_point) == ("co-1", "dc-2")
    assert [str(x) for x in path.cross_connects] == ["polatis-1:5-8", "polatis-1:21-22"]
    assert path.fibres == ("jumper-2", "classical-spool-2")
    assert path.km == pytest.approx(15.01)


def test_a_busy_interface_is_replaced_by_the_free_one() -> None:
    path = PathFinder(LAB).find("node-1", "dc-2", C, in_use={PortRef("polatis-1", 5): "x"})
    assert path.from_end_point == "co-2"


def test_ports_in_use_are_named_with_their_users() -> None:
    in_use = {PortRef("polatis-1", 5): "circuit a", PortRef("polatis-1", 6): "circuit b"}
    with pytest.raises(PortInUse, match="polatis-1:5 in use by circuit a") as caught:
        PathFinder(LAB).find("node-1", "dc-2", C, in_use=in_use)
    assert caught.value.extensions["ports"] == ["polatis-1:5"]


def test_a_disabled_port_is_as_if_unplugged() -> None:
    with pytest.raises(NoPath, match="alice to bob-1"):
        PathFinder(LAB).find("alice", "bob-1", Q, disabled=[PortRef("polatis-1", 2)])


def test_kinds_do_not_mix() -> None:
    with pytest.raises(KindsMixed):
        PathFinder(LAB).find("alice", "dc-1", Q)
    with pytest.raises(NoPath, match=r"node-9 has no quantum end point"):
        PathFinder(
            parse_topology(
                LAB_FILE.read_text() + '\n[[nodes]]\nname = "node-9"\n',
            )
        ).find("alice", "node-9", Q)


def test_the_reason_tells_where_the_light_goes() -> None:
    with pytest.raises(LossOverBudget) as caught:
        PathFinder(ring(1, detour_km=23)).find("alice", "bob-4", Q)
    assert caught.value.detail == (
        "bob-4: best path 9.1 dB, budget 7.0 dB: 23 km of fibre cost 4.6 dB,"
        " two additional passages cost 3.0 dB."
    )


def test_fewest_passages_win_over_least_loss() -> None:
    path = PathFinder(ring(20)).find("alice", "n2", Q)
    assert path.to_end_point == "bob-5"  # 5.5 dB over one passage, not 4.52 dB over three
    assert path.passages == 1


def test_a_path_over_the_budget_gives_way_to_one_with_less_loss() -> None:
    path = PathFinder(ring(40)).find("alice", "n2", Q)
    assert (path.to_end_point, path.passages) == ("bob-4", 3)
    assert path.loss_db == pytest.approx(4.52)


def test_a_fibre_for_both_kinds_admits_either() -> None:
    assert "j1" in PathFinder(ring(1)).find("alice", "bob-4", Q).fibres


def test_nothing_leads_from_an_end_point_to_itself() -> None:
    with pytest.raises(NoPath):
        PathFinder(LAB).find("co-1", "co-1", C)


def check(path: LightPath, topology: Topology) -> None:
    """Follow the light by hand: it gets from one end to the other, and loses what was said."""
    port = topology.port_of(path.from_end_point)
    facing = topology.facing(port)
    assert facing is not None
    loss_db = facing.loss_db
    for cross_connect in path.cross_connects:
        topology.check_cross_connect(cross_connect)
        (out,) = set(cross_connect.ports) - {port}
        facing = topology.facing(out)
        assert facing is not None
        assert facing.kind.admits(path.kind)
        chassis = topology.chassis_named(cross_connect.chassis)
        loss_db += chassis.cross_connect_loss_db + facing.loss_db
        if isinstance(facing.end, PortRef):
            port = facing.end
    assert not isinstance(facing.end, PortRef)
    assert facing.end.name == path.to_end_point
    assert path.loss_db == pytest.approx(loss_db)
    assert len(set(path.ports)) == len(path.ports)


@given(
    st.sets(st.integers(1, 28), max_size=12),
    st.sampled_from(["alice", "node-1", "co-1", "dc-1", "bob-2"]),
    st.sampled_from(["bob-1", "bob-3", "dc-2", "node-4", "co-2", "dc-1"]),
    st.sampled_from([Q, C]),
)
def test_every_path_found_is_one_that_light_can_go(
    busy: set[int], from_: str, to: str, kind: LightKind
) -> None:
    in_use = {PortRef("polatis-1", n): f"circuit {n}" for n in busy}
    try:
        path = PathFinder(LAB).find(from_, to, kind, in_use=in_use)
    except SdnError:
        return
    check(path, LAB)
    assert not set(path.ports) & set(in_use)
    if kind is Q:
        assert path.loss_db <= LAB.quantum_loss_budget_db


# --- alternatives, reserved ports, bandwidth


def with_two_jumpers(text: str = "") -> Topology:
    second = """
        [[fibres]]
        name = "jumper-3b"
        a = "polatis-1:10"
        b = "polatis-1:27"
        km = 0.5
        kind = "classical"
        """
    return parse_topology(LAB_FILE.read_text() + second + text)


def test_alternatives_come_best_first_and_differ() -> None:
    finder = PathFinder(with_two_jumpers())
    paths = finder.alternatives("co-1", "dc-3", C, at_most=5)
    assert paths[0] == finder.find("co-1", "dc-3", C)
    assert [p.fibres for p in paths[:2]] == [
        ("jumper-3", "classical-spool-3"),
        ("jumper-3b", "classical-spool-3"),
    ]
    assert len(set(paths)) == len(paths)
    assert [p.passages for p in paths] == sorted(p.passages for p in paths)


def test_alternatives_between_nodes_use_any_end_point() -> None:
    paths = PathFinder(with_two_jumpers()).alternatives("node-1", "dc-3", C, at_most=4)
    assert {p.from_end_point for p in paths} == {"co-1", "co-2"}
    assert len(paths) == 4


def test_no_alternative_is_over_budget_or_over_a_closed_port() -> None:
    finder = PathFinder(ring(spool_km=1.0, budget_db=4.0))
    assert len(finder.alternatives("alice", "bob-5", Q, at_most=9)) == 1
    closed = [PortRef("polatis-1", 9)]
    (only,) = PathFinder(with_two_jumpers()).alternatives("co-1", "dc-3", C, disabled=closed)
    assert only.fibres == ("jumper-3b", "classical-spool-3")
    with pytest.raises(NoPath):
        PathFinder(LAB).alternatives("co-1", "dc-3", C, disabled=closed)


def test_no_path_leads_over_a_reserved_port() -> None:
    text = LAB_FILE.read_text().replace(
        'ports = ["1-16"]', 'ports = ["1-16"]\nreserved_ports = [9]'
    )
    with pytest.raises(NoPath):
        PathFinder(parse_topology(text)).find("node-1", "dc-3", C)


def test_an_end_point_offers_its_bandwidth_and_no_more() -> None:
    finder = PathFinder(LAB)
    assert finder.find("co-1", "dc-3", C, bandwidth=BandwidthClass.G10).to_end_point == "dc-3"
    with pytest.raises(BandwidthTooLow, match="co-1 offers 10G, not 100G"):
        finder.find("co-1", "dc-3", C, bandwidth=BandwidthClass.G100)


def test_of_a_node_the_fast_end_point_is_taken() -> None:
    text = LAB_FILE.read_text()
    for end in ("co-2", "dc-3"):
        text = text.replace(f'name = "{end}"', f'name = "{end}"\nbandwidth_class = "100G"')
    path = PathFinder(parse_topology(text)).find("node-1", "dc-3", C, bandwidth=BandwidthClass.G40)
    assert path.from_end_point == "co-2"

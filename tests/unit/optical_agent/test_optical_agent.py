"""The agent as a controller sees it, over the fake device."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_bench import AgentBench, GatedDevice, PickyDevice, UnreadableDevice
from scripted_controller import Peer, add, delete, pair_of, with_barriers

from sdn_client.drivers.fake import FakeCircuitDriver, Fault
from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.structures import (
    Action,
    ApplyActions,
    Instruction,
    Match,
    Output,
    OxmField,
)
from sdn_client.topology import CrossConnect, PortRef, Topology

Start = Callable[..., AgentBench]
IN_PORT_1 = Match.in_port(1).fields[0]
# Pairs of the laboratory that may be joined at the same time.
EIGHT = [(5, 7), (6, 8), (1, 2), (10, 11), (12, 13), (17, 18), (21, 22), (25, 26)]


def codes(errors: list[of.ErrorMessage]) -> list[tuple[int, int, int]]:
    return [(e.xid, e.type, e.code) for e in errors]


# --- who it says it is


def test_what_opendaylight_asks_before_it_lists_a_node(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(of.FeaturesRequest(2))
    features = peer.receive_one(of.FeaturesReply)
    assert (features.datapath_id, features.n_tables, features.auxiliary_id) == (1, 1, 0)
    assert peer.barrier() == []
    peer.send(of.RoleRequest(3, c.ControllerRole.NO_CHANGE, 0))
    assert peer.receive() == of.RoleReply(3, c.ControllerRole.EQUAL, 2**64 - 1)
    peer.send(of.RoleRequest(4, c.ControllerRole.MASTER, 0))
    assert peer.receive() == of.RoleReply(4, c.ControllerRole.MASTER, 0)
    (description,) = peer.multipart(mp.RawBody(c.MultipartType.DESC))
    assert isinstance(description, mp.Description)
    assert description.datapath == "polatis-1"
    assert peer.multipart(mp.RawBody(c.MultipartType.METER_FEATURES)) == [mp.no_meters()]
    assert peer.multipart(mp.RawBody(c.MultipartType.GROUP_FEATURES)) == [mp.no_groups()]
    ports = peer.ports()
    assert sorted(ports) == list(range(1, 33))
    assert (ports[7].name, ports[7].config, ports[7].state) == ("polatis-1-p7", 0, c.STATE_LIVE)
    assert len({p.hw_addr for p in ports.values()}) == 32
    assert peer.flows() == []
    peer.send(of.SetConfig(5, 0, 0xFFFF), of.GetConfigRequest(6), of.GetAsyncRequest(7))
    assert peer.receive() == of.GetConfigReply(6, 0, 0xFFFF)
    assert isinstance(peer.receive(), of.GetAsyncReply)


def test_statistics_of_ports_and_tables(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    (stats,) = peer.multipart(mp.PortStatsRequest())
    assert isinstance(stats, mp.PortStatsReply)
    assert [p.port_no for p in stats.ports] == list(range(1, 33))
    assert set(stats.ports[0].counters) == {c.NO_COUNTER}
    (one,) = peer.multipart(mp.PortStatsRequest(3))
    assert isinstance(one, mp.PortStatsReply)
    assert [p.port_no for p in one.ports] == [3]
    peer.send(add(1, 2))
    assert peer.multipart(mp.RawBody(c.MultipartType.TABLE)) == [
        mp.TableReply((mp.TableStats(0, 1),))
    ]
    assert peer.multipart(mp.AggregateRequest()) == [mp.AggregateReply(1)]


def test_a_virtual_switch_shows_its_own_ports_and_datapath(start_bench: Start) -> None:
    bench = start_bench(virtual_switch="vs-2")
    peer = bench.controller.accept()
    peer.send(of.FeaturesRequest(2))
    assert peer.receive_one(of.FeaturesReply).datapath_id == 0x102
    assert {n: p.name for n, p in peer.ports().items()} == {
        n: f"vs-2-p{n}" for n in (17, 18, 19, 20)
    }
    bench.device.table.add(CrossConnect("polatis-1", 1, 2))  # another agent's
    peer.send(add(17, 18), add(1, 3, xid=9))
    assert codes(peer.barrier()) == [(9, c.ErrorType.FLOW_MOD_FAILED, c.FlowModFailed.PERMISSION)]
    assert peer.pairs() == {(17, 18)}
    peer.send(of.FlowMod(1, c.FlowCommand.DELETE))
    assert peer.barrier() == []
    assert bench.table() == {(1, 2)}


# --- cross-connects


def test_a_flow_is_a_cross_connect_and_the_device_says_so(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(2, 1, cookie=77))
    assert peer.barrier() == []
    assert bench.table() == {(1, 2)}
    (flow,) = peer.flows()
    assert (pair_of(flow), flow.priority, flow.cookie) == ((2, 1), 100, 77)
    peer.send(add(2, 1, cookie=78))  # again: no error, and the later cookie
    assert peer.barrier() == []
    assert [f.cookie for f in peer.flows()] == [78]
    assert bench.device.batches == 1


def test_what_somebody_else_changed_in_the_device_is_told(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, cookie=77))
    assert peer.barrier() == []
    bench.device.table.clear()
    bench.device.table.add(CrossConnect("polatis-1", 5, 7))
    (flow,) = peer.flows()
    assert (pair_of(flow), flow.priority, flow.cookie) == ((5, 7), 0x8000, 0)


@pytest.mark.parametrize(
    "mod",
    [
        delete(1),
        delete(2),
        of.FlowMod(8, c.FlowCommand.DELETE),
        of.FlowMod(8, c.FlowCommand.DELETE, table_id=c.TABLE_ALL),
        of.FlowMod(8, c.FlowCommand.DELETE, out_port=2),
        of.FlowMod(8, c.FlowCommand.DELETE, Match.in_port(1), out_port=2),
        of.FlowMod(8, c.FlowCommand.DELETE, cookie=77, cookie_mask=0xFF),
        of.FlowMod(8, c.FlowCommand.DELETE_STRICT, Match.in_port(1), priority=5),
    ],
)
def test_what_parts_it(bench: AgentBench, mod: of.FlowMod) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, cookie=77))
    assert peer.barrier() == []
    peer.send(mod)
    assert peer.barrier() == []
    assert bench.table() == set()
    assert peer.flows() == []


@pytest.mark.parametrize(
    "mod",
    [
        delete(5),
        delete(4000),
        of.FlowMod(8, c.FlowCommand.DELETE_STRICT),  # a flow that matches everything: none
        of.FlowMod(8, c.FlowCommand.DELETE, out_port=5),
        of.FlowMod(8, c.FlowCommand.DELETE, Match.in_port(1), out_port=1),
        of.FlowMod(8, c.FlowCommand.DELETE, out_group=1),
        of.FlowMod(8, c.FlowCommand.DELETE, cookie=76, cookie_mask=0xFF),
    ],
)
def test_what_fits_no_flow_parts_nothing(bench: AgentBench, mod: of.FlowMod) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, cookie=77))
    assert peer.barrier() == []
    peer.send(mod)
    assert peer.barrier() == []
    assert bench.table() == {(1, 2)}


def test_statistics_of_some_flows(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, cookie=1), add(5, 7, cookie=2))
    for request, expected in [
        (mp.FlowRequest(Match.in_port(1)), {(1, 2)}),
        (mp.FlowRequest(out_port=7), {(5, 7)}),
        (mp.FlowRequest(cookie=2, cookie_mask=3), {(5, 7)}),
        (mp.FlowRequest(table_id=3), set()),
        (mp.FlowRequest(out_group=3), set()),
        (mp.FlowRequest(Match((OxmField(c.OXM_BASIC, 5, b"\x08\x00"),))), set()),
        (mp.FlowRequest(Match.in_port(c.PORT_CONTROLLER)), set()),
        (mp.FlowRequest(Match((IN_PORT_1,) * 2)), set()),
    ]:
        assert {pair_of(f) for f in peer.flows(request)} == expected


def test_the_end_of_a_flow_is_told_to_who_asked_for_it(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(2, 1, cookie=77, flags=c.FLAG_SEND_FLOW_REMOVED), add(5, 7))
    assert peer.barrier() == []
    peer.send(of.FlowMod(8, c.FlowCommand.DELETE), of.BarrierRequest(9))
    removed = peer.receive_one(of.FlowRemoved)
    assert (removed.match, removed.cookie, removed.priority) == (Match.in_port(2), 77, 100)
    assert removed.reason == c.REASON_FLOW_DELETE
    assert peer.receive() == of.BarrierReply(9)


def _changed(**changes: Any) -> of.FlowMod:
    return dataclasses.replace(add(1, 2), **changes)


def _with_actions(*actions: Output | Action) -> of.FlowMod:
    return _changed(instructions=(ApplyActions(actions),))


E = c.ErrorType


@pytest.mark.parametrize(
    ("mod", "error"),
    [
        (_changed(command=1), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_COMMAND)),
        (_changed(command=2), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_COMMAND)),
        (_changed(command=9), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_COMMAND)),
        (_changed(table_id=1), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_TABLE_ID)),
        (_changed(command=3, table_id=1), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_TABLE_ID)),
        (_changed(idle_timeout_s=5), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_TIMEOUT)),
        (_changed(hard_timeout_s=5), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_TIMEOUT)),
        (_changed(flags=0x8000), (E.FLOW_MOD_FAILED, c.FlowModFailed.BAD_FLAGS)),
        (_changed(buffer_id=3), (E.BAD_REQUEST, c.BadRequest.BUFFER_UNKNOWN)),
        (_changed(match=Match()), (E.BAD_MATCH, c.BadMatch.BAD_WILDCARDS)),
        (
            _changed(match=Match((IN_PORT_1, OxmField(c.OXM_BASIC, 5, b"\x08\x00")))),
            (E.BAD_MATCH, c.BadMatch.BAD_FIELD),
        ),
        (
            _changed(match=Match((OxmField(c.OXM_BASIC, 0, bytes(8), has_mask=True),))),
            (E.BAD_MATCH, c.BadMatch.BAD_MASK),
        ),
        (_changed(match=Match((IN_PORT_1,) * 2)), (E.BAD_MATCH, c.BadMatch.DUPLICATE_FIELD)),
        (
            _changed(match=Match.in_port(c.PORT_CONTROLLER)),
            (E.BAD_MATCH, c.BadMatch.BAD_VALUE),
        ),
        (_changed(instructions=()), (E.BAD_INSTRUCTION, c.BadInstruction.UNSUPPORTED)),
        (
            _changed(instructions=(Instruction(1, bytes(4)),)),
            (E.BAD_INSTRUCTION, c.BadInstruction.UNSUPPORTED),
        ),
        (
            _changed(instructions=(ApplyActions((Output(2),)), Instruction(6, bytes(4)))),
            (E.BAD_INSTRUCTION, c.BadInstruction.UNSUPPORTED),
        ),
        (_with_actions(), (E.BAD_ACTION, c.BadAction.BAD_ARGUMENT)),
        (_with_actions(Output(2), Output(3)), (E.BAD_ACTION, c.BadAction.TOO_MANY)),
        (_with_actions(Action(22, bytes(4))), (E.BAD_ACTION, c.BadAction.BAD_TYPE)),
        (_with_actions(Output(c.PORT_CONTROLLER)), (E.BAD_ACTION, c.BadAction.BAD_OUT_PORT)),
        (_with_actions(Output(33)), (E.BAD_ACTION, c.BadAction.BAD_OUT_PORT)),
        (_with_actions(Output(1)), (E.BAD_ACTION, c.BadAction.BAD_ARGUMENT)),
        # the guard: quantum and classical light, two partitions, no partition
        (_with_actions(Output(5)), (E.FLOW_MOD_FAILED, c.FlowModFailed.PERMISSION)),
        (_with_actions(Output(19)), (E.FLOW_MOD_FAILED, c.FlowModFailed.PERMISSION)),
        (_with_actions(Output(32)), (E.FLOW_MOD_FAILED, c.FlowModFailed.PERMISSION)),
    ],
)
def test_what_a_fibre_cannot_do_or_must_not(
    bench: AgentBench, mod: of.FlowMod, error: tuple[int, int]
) -> None:
    peer = bench.controller.accept()
    peer.send(mod)
    (refusal,) = peer.barrier()
    assert (refusal.xid, refusal.type, refusal.code) == (mod.xid, *error)
    assert refusal.data == of.encode(mod)
    assert bench.table() == set()
    assert bench.device.batches == 0


def test_a_port_in_use_is_refused_and_never_taken_over(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2))
    assert peer.barrier() == []
    peer.send(add(1, 3, xid=21), add(4, 2, xid=22))
    overlap = (E.FLOW_MOD_FAILED, c.FlowModFailed.OVERLAP)
    assert sorted(codes(peer.barrier())) == [(21, *overlap), (22, *overlap)]
    assert bench.table() == {(1, 2)}
    assert bench.device.batches == 1


# --- barriers and batches


def test_a_barrier_waits_for_the_mirrors_and_echo_does_not(
    start_bench: Start, lab: Topology
) -> None:
    device = GatedDevice(lab)
    peer = start_bench(device).controller.accept()
    peer.send(add(1, 2), of.BarrierRequest(11), of.FeaturesRequest(12))
    assert device.begun.acquire(timeout=20)
    peer.send(of.EchoRequest(13, b"alive?"))
    assert peer.receive() == of.EchoReply(13, b"alive?")
    assert peer.is_silent(0.1)
    device.gate.set()
    assert peer.receive() == of.BarrierReply(11)
    assert peer.receive_one(of.FeaturesReply).xid == 12


def test_eight_pairs_with_barriers_between_switch_together(
    start_bench: Start, lab: Topology
) -> None:
    device = GatedDevice(lab)
    bench = start_bench(device)
    peer = bench.controller.accept()
    peer.send(*with_barriers([add(a, b) for a, b in EIGHT]))
    assert device.begun.acquire(timeout=20)
    assert peer.is_silent(0.1)
    device.gate.set()
    assert [peer.receive_one(of.BarrierReply).xid for _ in EIGHT] == list(range(500, 508))
    assert bench.table() == set(EIGHT)
    assert device.batches == 1


def test_what_comes_while_mirrors_turn_is_the_next_batch(start_bench: Start, lab: Topology) -> None:
    device = GatedDevice(lab)
    bench = start_bench(device)
    peer = bench.controller.accept()
    peer.send(add(*EIGHT[0]), of.BarrierRequest(1))
    assert device.begun.acquire(timeout=20)
    peer.send(*with_barriers([add(a, b) for a, b in EIGHT[1:]]))
    peer.send(of.EchoRequest(2))
    assert peer.receive() == of.EchoReply(2)
    device.gate.set()
    assert [peer.receive_one(of.BarrierReply).xid for _ in EIGHT] == [1, *range(500, 507)]
    assert device.batches == 2


def test_changes_of_one_port_keep_their_order(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2), delete(1), add(1, 3), delete(3), add(4, 1), of.BarrierRequest(9))
    assert peer.receive() == of.BarrierReply(9)
    assert bench.table() == {(1, 4)}
    assert bench.device.batches == 3  # a tear-down and the join behind it are one


def test_one_bob_is_replaced_by_another_in_one_batch(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(*with_barriers([add(1, 2), add(5, 7)]))
    assert peer.errors_until_barrier(500) == peer.errors_until_barrier(501) == []
    peer.send(*with_barriers([delete(1), delete(5), add(1, 3), add(7, 6)]))
    assert [peer.receive_one(of.BarrierReply).xid for _ in range(4)] == [500, 501, 502, 503]
    assert bench.table() == {(1, 3), (6, 7)}
    assert bench.device.batches == 2


def test_a_flow_that_is_replaced_by_one_of_the_same_pair_is_another(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, cookie=11, flags=c.FLAG_SEND_FLOW_REMOVED))
    assert peer.barrier() == []
    peer.send(*with_barriers([delete(2), add(2, 1, cookie=12)]))
    assert peer.receive_one(of.FlowRemoved).cookie == 11
    assert [peer.receive_one(of.BarrierReply).xid for _ in range(2)] == [500, 501]
    assert [(pair_of(f), f.cookie) for f in peer.flows()] == [((2, 1), 12)]


def test_a_replacement_that_fails_still_ends_what_it_replaces(
    start_bench: Start, lab: Topology
) -> None:
    device = PickyDevice(lab, broken=(1, 3))
    bench = start_bench(device)
    peer = bench.controller.accept()
    peer.send(add(1, 2))
    assert peer.barrier() == []
    peer.send(*with_barriers([delete(1, xid=1), add(1, 3, xid=2), add(5, 7, xid=3)]))
    assert peer.errors_until_barrier(500) == []
    unknown = [(2, E.FLOW_MOD_FAILED, c.FlowModFailed.UNKNOWN)]
    assert codes(peer.errors_until_barrier(501)) == unknown
    assert peer.errors_until_barrier(502) == []
    assert bench.table() == {(5, 7)}
    assert device.asked == [1, 3, 1, 1, 1]


def test_a_tear_down_names_one_port_and_frees_both(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2))
    assert peer.barrier() == []
    # The flow of port 2 hangs on the tear-down of port 1, although they name different ports.
    peer.send(*with_barriers([add(3, 2, xid=30), delete(1), add(3, 2, xid=31)]))
    assert codes(peer.errors_until_barrier(500)) == [(30, E.FLOW_MOD_FAILED, 3)]
    assert peer.errors_until_barrier(501) == []
    assert peer.errors_until_barrier(502) == []
    assert bench.table() == {(2, 3)}


def test_a_look_waits_for_what_was_asked_before(start_bench: Start, lab: Topology) -> None:
    device = GatedDevice(lab)
    peer = start_bench(device).controller.accept()
    peer.send(add(1, 2), of.MultipartRequest(5, mp.FlowRequest()), delete(1), of.BarrierRequest(6))
    assert device.begun.acquire(timeout=20)
    device.gate.set()
    reply = peer.receive_one(of.MultipartReply)
    assert isinstance(reply.content, mp.FlowReply)
    assert [pair_of(f) for f in reply.content.flows] == [(1, 2)]
    assert peer.receive() == of.BarrierReply(6)


@pytest.mark.parametrize("fault", ["broken", "unseen"])
def test_in_a_batch_the_guilty_are_refused_alone(
    start_bench: Start, lab: Topology, fault: str
) -> None:
    device = PickyDevice(lab, **{fault: (12, 13)})
    bench = start_bench(device)
    peer = bench.controller.accept()
    mods = [add(a, b, xid=a) for a, b in EIGHT]
    peer.send(*with_barriers(mods))
    for n, mod in enumerate(mods):
        expected = [(12, E.FLOW_MOD_FAILED, c.FlowModFailed.UNKNOWN)] if mod.xid == 12 else []
        assert codes(peer.errors_until_barrier(500 + n)) == expected
    assert bench.table() == set(EIGHT) - {(12, 13)}
    assert device.asked == [8, *[1] * 8]


def test_a_port_that_somebody_else_took_meanwhile(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    bench.device.table.add(CrossConnect("polatis-1", 3, 4))
    peer.send(add(1, 2, xid=1), add(5, 7, xid=2), add(3, 10, xid=3))
    assert codes(peer.barrier()) == [(3, E.FLOW_MOD_FAILED, c.FlowModFailed.OVERLAP)]
    assert bench.table() == {(1, 2), (3, 4), (5, 7)}


def test_a_pair_that_must_not_be_does_not_hold_up_the_others(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(1, 2, xid=1), add(3, 5, xid=2), add(6, 8, xid=3))
    assert codes(peer.barrier()) == [(2, E.FLOW_MOD_FAILED, c.FlowModFailed.PERMISSION)]
    assert bench.table() == {(1, 2), (6, 8)}
    assert bench.device.batches == 1


# --- the device comes and goes


def test_without_its_device_there_is_no_switch(start_bench: Start, lab: Topology) -> None:
    bench = start_bench(FakeCircuitDriver(lab, connected=False))
    with pytest.raises(TimeoutError):
        bench.controller.accept(0.2)
    bench.device.come_back("polatis-1")
    peer = bench.controller.accept()
    bench.device.lose("polatis-1")
    assert peer.ends()
    with pytest.raises(TimeoutError):
        bench.controller.accept(0.2)


@pytest.mark.parametrize("fault", [Fault.LOSE_BEFORE, Fault.LOSE_AFTER])
def test_a_device_lost_in_mid_batch_confirms_nothing(bench: AgentBench, fault: Fault) -> None:
    peer = bench.controller.accept()
    bench.device.fail_next(fault)
    peer.send(*with_barriers([add(1, 2), add(5, 7)]))
    with pytest.raises(ConnectionError):
        peer.receive()
    bench.device.come_back("polatis-1")
    peer = bench.controller.accept()
    assert peer.pairs() == bench.table()
    assert peer.pairs() == (set() if fault is Fault.LOSE_BEFORE else {(1, 2), (5, 7)})


def test_another_s_hand_on_other_ports_is_no_affair_of_ours(start_bench: Start) -> None:
    bench = start_bench(virtual_switch="vs-2")
    peer = bench.controller.accept()
    peer.send(add(17, 18))
    assert peer.barrier() == []
    bench.device.table.add(CrossConnect("polatis-1", 1, 2))  # of vs-1
    bench.device.come_back("polatis-1")
    assert peer.pairs() == {(17, 18)}
    bench.device.table.clear()
    bench.device.come_back("polatis-1")
    assert peer.ends()
    assert bench.controller.accept().pairs() == set()


def test_a_device_that_cannot_be_read_is_no_switch(start_bench: Start, lab: Topology) -> None:
    device = UnreadableDevice(lab)
    bench = start_bench(device)
    with pytest.raises(TimeoutError):
        bench.controller.accept(0.2)
    device.readable = True
    peer = bench.controller.accept()
    device.readable = False
    peer.send(of.MultipartRequest(1, mp.FlowRequest()))
    assert peer.ends()
    device.readable = True
    assert bench.controller.accept().pairs() == set()


def test_cookies_outlive_a_connection(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(2, 1, cookie=77))
    assert peer.barrier() == []
    peer.socket.close()
    (flow,) = bench.controller.accept().flows()
    assert (pair_of(flow), flow.cookie) == ((2, 1), 77)


def test_lost_light_is_a_link_down(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.ports()
    bench.device.darken(PortRef("polatis-1", 18), PortRef("polatis-1", 3))
    told = [peer.port_status() for _ in range(2)]
    assert [(t.reason, t.port.port_no, t.port.state) for t in told] == [
        (c.REASON_PORT_MODIFY, 3, c.STATE_LINK_DOWN),
        (c.REASON_PORT_MODIFY, 18, c.STATE_LINK_DOWN),
    ]
    assert peer.ports()[3].state == c.STATE_LINK_DOWN
    bench.device.darken(PortRef("polatis-1", 18))
    back = peer.port_status().port
    assert (back.port_no, back.state) == (3, c.STATE_LIVE)


def test_what_a_controller_does_not_want_to_hear_is_not_said(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(add(2, 1, flags=c.FLAG_SEND_FLOW_REMOVED), of.SetAsync(1, (0, 0), (3, 3), (0, 0)))
    peer.send(of.GetAsyncRequest(2))
    assert peer.receive() == of.GetAsyncReply(2, (0, 0), (3, 3), (0, 0))
    bench.device.darken(PortRef("polatis-1", 18))
    peer.send(delete(1), of.BarrierRequest(3))
    with pytest.raises(AssertionError, match="BarrierReply"):
        peer.port_status()


# --- roles


def test_a_slave_changes_nothing(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(of.RoleRequest(1, c.ControllerRole.SLAVE, 5), add(1, 2, xid=2))
    assert isinstance(peer.receive(), of.RoleReply)
    assert codes(peer.barrier()) == [(2, E.BAD_REQUEST, c.BadRequest.IS_SLAVE)]
    assert bench.table() == set()


def test_an_old_election_and_an_unknown_role_are_refused(bench: AgentBench) -> None:
    peer = bench.controller.accept()
    peer.send(of.RoleRequest(1, c.ControllerRole.MASTER, 5))
    assert peer.receive() == of.RoleReply(1, c.ControllerRole.MASTER, 5)
    peer.send(of.RoleRequest(2, c.ControllerRole.MASTER, 4), of.RoleRequest(3, 9, 6))
    failed = E.ROLE_REQUEST_FAILED
    assert codes(peer.barrier()) == [
        (2, failed, c.RoleRequestFailed.STALE),
        (3, failed, c.RoleRequestFailed.BAD_ROLE),
    ]


# --- hostile peers


@pytest.mark.parametrize(
    ("hex_", "error"),
    [
        ("0414000c0000002100000000", (1, 6)),  # a barrier with a body
        ("040e000800000021", (1, 6)),  # a FLOW_MOD without anything
        ("0112000800000021", (1, 0)),  # OpenFlow 1.0
        ("0463000800000021", (1, 1)),  # no such type
        ("0404001000000021000000aa00000001", (1, 3)),  # an experimenter
        ("0415000800000021", (1, 1)),  # a barrier's answer, from a controller
        ("04120010000000210007000000000000", (1, 2)),  # statistics of groups
        ("0412001000000021000c000000000000", (1, 2)),  # TABLE_FEATURES
        ("04120018000000210004000000000000000000ff00000000", (1, 11)),  # no port 255
        ("040f001000000021" + "0000000000000001", (6, 3)),  # GROUP_MOD
        ("041d001000000021" + "0000000000000001", (12, 10)),  # METER_MOD
    ],
)
def test_bad_bytes_are_an_error_of_this_message_alone(
    bench: AgentBench, hex_: str, error: tuple[int, int]
) -> None:
    peer = bench.controller.accept()
    peer.send_raw(hex_)
    assert codes(peer.barrier()) == [(0x21, *error)]


@pytest.mark.parametrize(
    "hex_",
    [
        "0414000700000021",  # a frame of 7 bytes
        "474554202f20485454502f312e310d0a0d0a",  # an HTTP client
        "0414000800000021",  # no greeting
        "0400000c0000000100010002",  # a HELLO element of 2 bytes
        "0100000800000001",  # OpenFlow 1.0 alone
        "040000100000000100010008" + "00000002",  # a bitmap with 1.0 alone
    ],
)
def test_who_does_not_speak_openflow_1_3_is_left(bench: AgentBench, hex_: str) -> None:
    peer = bench.controller.accept(greet=False)
    peer.send_raw(hex_)
    assert peer.ends()
    assert bench.controller.accept().pairs() == set()


@pytest.mark.parametrize("hello", ["0600000800000001", "040000100000000100010008000000" + "12"])
def test_a_later_version_settles_on_ours(bench: AgentBench, hello: str) -> None:
    peer = bench.controller.accept(greet=False)
    peer.send_raw(hello)
    peer.receive_one(of.Hello)
    assert peer.barrier() == []


def test_a_controller_that_never_reads_is_left(start_bench: Start) -> None:
    bench = start_bench(idle_s=0.2)
    peer = bench.controller.accept()
    flood(peer)
    again = bench.controller.accept()
    assert again.barrier() == []


def flood(peer: Peer) -> None:
    """Ask for long answers and read none, until the switch hangs up."""
    asked = of.encode(of.MultipartRequest(1, mp.RawBody(c.MultipartType.PORT_DESC))) * 1000
    peer.socket.settimeout(5)
    deadline = time.monotonic() + 20
    try:
        while time.monotonic() < deadline:
            peer.socket.sendall(asked)
    except (ConnectionError, TimeoutError):
        return
    pytest.fail("the switch swallows everything")


def test_a_silent_controller_is_probed_and_left(start_bench: Start) -> None:
    bench = start_bench(idle_s=0.1)
    peer = bench.controller.accept()
    begun = time.monotonic()
    assert peer.socket.recv(8)[1] == of.EchoRequest.TYPE
    assert peer.socket.recv(8) == b""
    assert time.monotonic() - begun < 5
    bench.controller.accept()


def test_a_flood_of_requests_is_bounded_and_all_are_answered(
    start_bench: Start, lab: Topology
) -> None:
    device = GatedDevice(lab)
    peer = start_bench(device).controller.accept()
    peer.send(add(1, 2))
    assert device.begun.acquire(timeout=20)
    peer.send(*(of.BarrierRequest(n) for n in range(5000)))
    device.gate.set()
    assert [peer.receive_one(of.BarrierReply).xid for _ in range(5000)] == list(range(5000))

"""Any burst of requests ends as if each had been finished before the next one began."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from agent_bench import AgentBench, PickyDevice
from scripted_controller import add, pair_of

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import messages as of
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.structures import ApplyActions, Match, Output
from sdn_client.topology import Topology

# Ports of one partition: 1 to 4 quantum, 5 to 9 classical, 10 to 14 empty; 20 is another's.
PORTS = [*range(1, 15), 20]


@dataclass
class StrictSwitch:
    """A switch that does one thing after the other, and what it would say."""

    broken: frozenset[int]
    table: set[frozenset[int]] = field(default_factory=set)

    def answer(self, message: of.Message) -> list[object]:
        match message:
            case of.FlowMod(command=c.FlowCommand.ADD):
                code = self._add(message)
                return [] if code is None else [("error", message.xid, code)]
            case of.FlowMod():
                self._delete(message)
                return []
            case of.BarrierRequest():
                return [("barrier", message.xid)]
            case of.MultipartRequest():
                return [("table", message.xid, frozenset(self.table))]
        raise AssertionError(message)

    def _add(self, mod: of.FlowMod) -> int | None:
        a, b = port_of(mod), output_of(mod)
        if 20 in (a, b) or ({a, b} & set(range(1, 5)) and {a, b} & set(range(5, 10))):
            return c.FlowModFailed.PERMISSION
        if any({a, b} & pair and pair != {a, b} for pair in self.table):
            return c.FlowModFailed.OVERLAP
        if self.broken == {a, b}:
            return c.FlowModFailed.UNKNOWN
        self.table.add(frozenset({a, b}))
        return None

    def _delete(self, mod: of.FlowMod) -> None:
        port = port_of(mod) if mod.match.fields else None
        self.table = {p for p in self.table if port is not None and port not in p}


def port_of(mod: of.FlowMod) -> int:
    port: int = struct.unpack("!I", mod.match.fields[0].payload)[0]
    return port


def output_of(mod: of.FlowMod) -> int:
    (instruction,) = mod.instructions
    assert isinstance(instruction, ApplyActions)
    (output,) = instruction.actions
    assert isinstance(output, Output)
    return output.port


def burst(rng: random.Random) -> list[of.Message]:
    """Up to 60 requests with xids of their own, a barrier at the end."""
    messages: list[of.Message] = []
    for xid in range(rng.randint(5, 60)):
        match rng.choices(["add", "delete", "barrier", "look", "clear"], [50, 25, 30, 5, 1])[0]:
            case "add":
                messages.append(add(*rng.sample(PORTS, 2), xid=xid))
            case "delete":
                port = Match.in_port(rng.choice(PORTS))
                messages.append(of.FlowMod(xid, c.FlowCommand.DELETE_STRICT, port))
            case "barrier":
                messages.append(of.BarrierRequest(xid))
            case "look":
                messages.append(of.MultipartRequest(xid, mp.FlowRequest()))
            case "clear":
                messages.append(of.FlowMod(xid, c.FlowCommand.DELETE))
    return [*messages, of.BarrierRequest(999)]


def heard(message: of.Message) -> object:
    match message:
        case of.ErrorMessage():
            return "error", message.xid, message.code
        case of.BarrierReply():
            return "barrier", message.xid
        case of.MultipartReply(content=mp.FlowReply() as reply):
            return "table", message.xid, frozenset(frozenset(pair_of(f)) for f in reply.flows)
    raise AssertionError(message)


def between_barriers(said: list[object]) -> list[set[object]]:
    """What was said in front of each barrier's answer: there the order is free."""
    parts: list[set[object]] = [set()]
    for one in said:
        parts[-1].add(one)
        if isinstance(one, tuple) and one[0] == "barrier":
            parts.append(set())
    return parts


@pytest.mark.parametrize("seed", range(25))
def test_a_burst_ends_as_if_done_one_by_one(
    start_bench: Callable[..., AgentBench], lab: Topology, seed: int
) -> None:
    rng = random.Random(seed)
    # A mirror that does not move, so that batches are refused as a whole.
    broken = (10, rng.choice([11, 12, 13])) if seed % 2 else (0, 0)
    bench = start_bench(PickyDevice(lab, broken=broken if seed % 2 else None))
    peer = bench.controller.accept()
    switch = StrictSwitch(frozenset(broken))
    for _ in range(4):
        messages = burst(rng)
        expected = [said for message in messages for said in switch.answer(message)]
        batches_before = bench.device.batches
        if rng.random() < 0.5:
            peer.send(*messages)
        else:
            for message in messages:
                peer.send(message)
        said = [heard(peer.receive()) for _ in expected]
        assert between_barriers(said) == between_barriers(expected)
        assert {frozenset(pair) for pair in bench.table()} == switch.table
        changes = sum(isinstance(m, of.FlowMod) for m in messages)
        assert bench.device.batches - batches_before <= changes

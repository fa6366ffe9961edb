"""Answers to multipart requests, cut into messages of legal length. No sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sdn_client.openflow13 import constants as c
from sdn_client.openflow13 import multipart as mp
from sdn_client.openflow13.messages import FlowRemoved, MultipartReply
from sdn_client.openflow13.structures import ApplyActions, Match, Output, Port
from sdn_client.optical_agent.table import Flow

_PER_MESSAGE = 500  # the longest element has 112 bytes, a message holds 65535
_T = TypeVar("_T")


def _parts(
    xid: int, elements: Sequence[_T], body: Callable[[tuple[_T, ...]], mp.Body]
) -> Iterator[MultipartReply]:
    for at in range(0, max(1, len(elements)), _PER_MESSAGE):
        more = c.MULTIPART_MORE if at + _PER_MESSAGE < len(elements) else 0
        yield MultipartReply(xid, body(tuple(elements[at : at + _PER_MESSAGE])), more)


def port_descriptions(xid: int, ports: Sequence[Port]) -> Iterator[MultipartReply]:
    return _parts(xid, ports, mp.PortDescriptionReply)


def port_statistics(xid: int, ports: Sequence[Port], uptime_s: float) -> Iterator[MultipartReply]:
    """No counters: mirrors count nothing."""
    stats = [mp.PortStats(p.port_no, *_split(uptime_s)) for p in ports]
    return _parts(xid, stats, mp.PortStatsReply)


def flow_statistics(xid: int, flows: Sequence[tuple[Flow, float]]) -> Iterator[MultipartReply]:
    """Each flow with its age in seconds."""
    return _parts(xid, [_flow_stats(flow, age_s) for flow, age_s in flows], mp.FlowReply)


def aggregate(xid: int, flow_count: int) -> MultipartReply:
    return MultipartReply(xid, mp.AggregateReply(flow_count))


def table_statistics(xid: int, flow_count: int) -> MultipartReply:
    return MultipartReply(xid, mp.TableReply((mp.TableStats(0, flow_count),)))


def flow_removed(flow: Flow, age_s: float) -> FlowRemoved:
    seconds, nanoseconds = _split(age_s)
    return FlowRemoved(
        0,
        Match.in_port(flow.in_port),
        flow.priority,
        flow.cookie,
        duration_s=seconds,
        duration_ns=nanoseconds,
    )


def _flow_stats(flow: Flow, age_s: float) -> mp.FlowStats:
    return mp.FlowStats(
        Match.in_port(flow.in_port),
        (ApplyActions((Output(flow.out_port),)),),
        flow.priority,
        flow.cookie,
        *_split(age_s),
        flags=flow.flags,
    )


def _split(seconds: float) -> tuple[int, int]:
    whole = int(seconds)
    return whole, int((seconds - whole) * 1e9)

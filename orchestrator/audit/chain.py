"""Whether records form one whole chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.audit.record import NO_HASH, Head, Record

EMPTY = Head(0, NO_HASH)


@dataclass(frozen=True)
class Verdict:
    """What a walk along the chain found."""

    records: int
    """Records that hold, from the first on."""
    head: Head
    """The last of them."""
    fault: str = ""
    """Where and how the chain is broken; empty where it is whole."""

    @property
    def is_whole(self) -> bool:
        return not self.fault


def walk(records: Iterable[Record], head: Head, anchor: Head | None = None) -> Verdict:
    """Follow `records`, which come in order, from the first one to `head`.

    `anchor` is a head that was noted earlier, somewhere else: without one, a chain that was cut at
    its end or written anew together with its head cannot be told from a true one.
    """
    last = EMPTY
    anchor_seen = anchor is None or anchor == EMPTY
    for record in records:
        fault = _fault_of(record, last)
        if not fault and anchor is not None and record.sequence == anchor.sequence:
            anchor_seen = True
            if record.hash != anchor.hash:
                fault = f"record {record.sequence} is not the one that was anchored"
        if fault:
            return Verdict(last.sequence, last, fault)
        last = Head(record.sequence, record.hash)
    return Verdict(last.sequence, last, _fault_at_end(last, head, anchor, anchor_seen))


def _fault_of(record: Record, last: Head) -> str:
    if record.sequence != last.sequence + 1:
        return (
            f"record {last.sequence + 1} is missing; after {last.sequence} comes {record.sequence}"
        )
    if record.previous != last.hash:
        return f"record {record.sequence} does not follow the record before it"
    if record.hash != record.true_hash:
        return f"record {record.sequence} was changed"
    return ""


def _fault_at_end(last: Head, head: Head, anchor: Head | None, anchor_seen: bool) -> str:
    if last != head:
        return f"the chain ends at record {last.sequence}, its head says {head.sequence}"
    if anchor is not None and not anchor_seen:
        return f"the chain ends at record {last.sequence}, before the anchored {anchor.sequence}"
    return ""

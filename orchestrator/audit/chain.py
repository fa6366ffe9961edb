"""Whether records form one whole chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
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


def walk(records: Iterable[Record], head: Head, anchors: Collection[Head] = ()) -> Verdict:
    """Follow `records`, which come in order, from the first one to `head`.

    `anchors` are heads that were noted earlier, somewhere else: without one, a chain that was cut
    at its end or written anew together with its head cannot be told from a true one.
    """
    last = EMPTY
    noted = defaultdict[int, set[bytes]](set)
    for anchor in anchors:
        noted[anchor.sequence].add(anchor.hash)
    for record in records:
        fault = _fault_of(record, last)
        if not fault and noted.get(record.sequence, {record.hash}) != {record.hash}:
            fault = f"record {record.sequence} is not the one that was anchored"
        if fault:
            return Verdict(last.sequence, last, fault)
        last = Head(record.sequence, record.hash)
    return Verdict(last.sequence, last, _fault_at_end(last, head, max(noted, default=0)))


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


def _fault_at_end(last: Head, head: Head, anchored: int) -> str:
    if last != head:
        return f"the chain ends at record {last.sequence}, its head says {head.sequence}"
    if last.sequence < anchored:
        return f"the chain ends at record {last.sequence}, before the anchored {anchored}"
    return ""

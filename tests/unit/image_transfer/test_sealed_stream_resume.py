"""A transfer that is broken anywhere, any number of times, still delivers exactly the image."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from image_transfer import ImageReceiver, MemorySink, ReceiverState
from image_transfer.errors import HeaderRefused, StreamBroken, TransferComplete

SIZES = st.sampled_from([0, 1, 1023, 1024, 1025, 4096, 5000])


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """Random chunks and chunks of zeros."""
    size = draw(SIZES)
    chunks = [
        bytes(1024) if draw(st.booleans()) else os.urandom(1024) for _ in range(-(-size // 1024))
    ]
    return b"".join(chunks)[:size]


@given(image=images(), zero_records=st.booleans())
@settings(max_examples=40, deadline=None)
def test_round_trip(transfer_of, image, zero_records):
    transfer = transfer_of.of(image)
    receiver = transfer.receiver(sink := MemorySink())
    stream = transfer.stream(receiver.issue_attempt(), zero_records=zero_records)
    report = transfer.deliver(receiver, stream.data)
    assert bytes(sink.content) == image
    assert sink.finished
    assert report.plain_bytes == len(image)
    assert report.zero_chunks == sum(r[0] >> 1 & 1 for r in stream.records)


def test_resume_at_every_record_boundary_uses_fresh_keys(transfer):
    receiver = transfer.receiver(sink := MemorySink())
    streams = []
    for taken in range(5):
        ticket = receiver.issue_attempt()
        assert (ticket.number, ticket.start_chunk) == (taken + 1, taken)
        stream = transfer.stream(ticket)
        streams.append(stream)
        if taken == 4:
            break
        with contextlib.suppress(StreamBroken):
            transfer.deliver(receiver, stream.header + stream.commitment + stream.records[0])
    transfer.deliver(receiver, stream.data)
    assert bytes(sink.content) == transfer.image
    # The same chunk never left twice under one key.
    assert len({s.commitment for s in streams}) == 5
    assert len({s.records[-1] for s in streams}) == 5


class Life(RuleBasedStateMachine):
    """The life of one transfer: tickets, cuts, replays and flips until it is complete."""

    transfer_of: type

    @initialize(image=images())
    def announce(self, image: bytes) -> None:
        self.transfer = self.transfer_of.of(image)
        self.sink = MemorySink()
        self.receiver: ImageReceiver = self.transfer.receiver(self.sink)
        self.sent: list[bytes] = []
        self.numbers = [0]
        self.mark = 0

    def waiting(self) -> bool:
        return self.receiver.state is ReceiverState.WAITING

    def attempt(self) -> bytes:
        ticket = self.receiver.issue_attempt()
        assert ticket.number > self.numbers[-1]
        assert ticket.start_chunk == self.receiver.mark
        self.numbers.append(ticket.number)
        data = self.transfer.stream(ticket, zero_records=True).data
        self.sent.append(data)
        return data

    @precondition(waiting)
    @rule(part=st.floats(0, 1, exclude_max=True))
    def cut(self, part: float) -> None:
        data = self.attempt()
        with contextlib.suppress(StreamBroken):
            self.transfer.deliver(self.receiver, data[: int(part * len(data))])

    @precondition(waiting)
    @rule(part=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
    def flip(self, part: float, mask: int) -> None:
        data = bytearray(self.attempt())
        data[int(part * len(data))] ^= mask
        with contextlib.suppress(StreamBroken, HeaderRefused):
            self.transfer.deliver(self.receiver, bytes(data))
        assert self.receiver.state is ReceiverState.WAITING

    @precondition(lambda self: self.waiting() and self.sent)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        recorded = data.draw(st.sampled_from(self.sent))
        self.receiver.issue_attempt()
        self.numbers.append(self.numbers[-1] + 1)
        mark = self.receiver.mark
        with contextlib.suppress(HeaderRefused):
            self.transfer.deliver(self.receiver, recorded)
        assert self.receiver.mark == mark

    @precondition(waiting)
    @rule()
    def finish(self) -> None:
        self.transfer.deliver(self.receiver, self.attempt())
        assert self.receiver.state is ReceiverState.COMPLETE

    @precondition(lambda self: not self.waiting())
    @rule()
    def ask_after_the_end(self) -> None:
        with pytest.raises(TransferComplete):
            self.receiver.issue_attempt()

    @invariant()
    def the_sink_holds_a_true_beginning(self) -> None:
        if not hasattr(self, "receiver"):
            return
        assert self.receiver.mark >= self.mark
        self.mark = self.receiver.mark
        content = bytes(self.sink.content)
        complete = self.receiver.state is ReceiverState.COMPLETE
        assert self.transfer.image.startswith(content)
        assert self.sink.finished == complete
        assert (self.mark == self.transfer.announcement.chunk_count) == complete
        assert len(content) == self.receiver.bytes_done


def test_any_life_of_a_transfer(transfer_of):
    Life.transfer_of = transfer_of
    case = Life.TestCase()
    case.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
    case.runTest()

"""The receiver's behaviour around the stream: strangers, stalls, sinks, tickets, giving up."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from image_transfer import ImageReceiver, MemorySink, ReceiverLimits, ReceiverState, read_header
from image_transfer.errors import (
    AttemptsExhausted,
    HeaderMalformed,
    PeerStalled,
    QuotaExceeded,
    SinkFailed,
    StaleAttempt,
    StreamTruncated,
    Superseded,
    TransferBusy,
    TransferCancelled,
    TransferComplete,
    TransferPoisoned,
)

SOON = ReceiverLimits(record_timeout_s=0.3, commitment_timeout_s=0.3)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_chunks_reach_the_sink_while_the_sender_still_sends(transfer, sink, pool, ends):
    receiver = transfer.receiver(sink)
    near, far = ends
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    received = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    assert sink.wait_for(1024)
    assert receiver.state is ReceiverState.RECEIVING
    near.sendall(b"".join(stream.records[1:]))
    assert sink.wait_for(4096)
    assert not sink.finished, "the last chunk stays back until the stream has ended"
    near.shutdown(socket.SHUT_WR)
    assert received.result(10).plain_bytes == len(transfer.image)
    assert bytes(sink.content) == transfer.image


def test_progress_names_the_bytes_that_the_sink_has(transfer, sink):
    seen: list[int] = []
    receiver = ImageReceiver(transfer.announcement, sink, progress=seen.append)
    transfer.complete(receiver)
    assert seen == [1024, 2048, 3072, 4096, 4396]


def test_image_over_quota_is_refused(transfer, sink):
    limits = ReceiverLimits(quota_bytes=len(transfer.image) - 1)
    with pytest.raises(QuotaExceeded):
        transfer.receiver(sink, limits)
    transfer.receiver(sink, ReceiverLimits(quota_bytes=len(transfer.image)))


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"QNFVSEAL\x01\x01\xff\xff"])
def test_stranger_without_a_header_is_turned_away_at_once(ends, data):
    near, far = ends
    near.sendall(data)
    if len(data) < 12:
        near.shutdown(socket.SHUT_WR)
    with pytest.raises((HeaderMalformed, StreamTruncated)):
        read_header(far, timeout_s=5)


def test_silent_stranger_is_cut_off(ends):
    with pytest.raises(PeerStalled):
        read_header(ends[1], timeout_s=0.2)


def trickle(connection: socket.socket, data: bytes, stop: threading.Event) -> None:
    for byte in data:
        if stop.wait(0.02):
            return
        connection.sendall(bytes([byte]))


def test_trickled_header_is_cut_off(transfer, sink, pool, ends):
    near, far = ends
    header = transfer.stream(transfer.receiver(sink).issue_attempt()).header
    stop = threading.Event()
    sending = pool.submit(trickle, near, header, stop)
    started = time.monotonic()
    with pytest.raises(PeerStalled):
        read_header(far, timeout_s=0.3)
    assert time.monotonic() - started < 3
    stop.set()
    sending.result(5)


def test_trickled_record_is_cut_off_and_the_transfer_goes_on(transfer, sink, pool, ends):
    near, far = ends
    receiver = transfer.receiver(sink, SOON)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    stop = threading.Event()
    sending = pool.submit(trickle, near, stream.records[1], stop)
    with pytest.raises(PeerStalled):
        receiver.receive(far, read_header(far), transfer.keys)
    stop.set()
    sending.result(5)
    assert receiver.mark == 1
    transfer.complete(receiver)
    assert bytes(sink.content) == transfer.image


def test_half_open_peer_before_the_commitment_keeps_nobody_out(transfer, sink, pool, ends):
    near, far = ends
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header)
    half_open = threading.Event()  # its header was accepted

    def keys(header):
        half_open.set()
        return transfer.keys(header)

    stranger = pool.submit(lambda: receiver.receive(far, read_header(far), keys))
    assert half_open.wait(10)
    transfer.deliver(receiver, stream.data)
    assert bytes(sink.content) == transfer.image
    near.sendall(stream.commitment)
    with pytest.raises(TransferComplete):
        stranger.result(10)


def test_stranger_displaces_nobody(transfer, sink, pool, ends):
    near, far = ends
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    received = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    assert sink.wait_for(1024)
    with pytest.raises(StaleAttempt):
        transfer.deliver(receiver, stream.data)
    assert receiver.state is ReceiverState.RECEIVING
    near.sendall(b"".join(stream.records[1:]))
    near.shutdown(socket.SHUT_WR)
    received.result(10)
    assert bytes(sink.content) == transfer.image


def test_two_connections_with_one_ticket_and_only_one_is_received(transfer, sink, pool):
    receiver = transfer.receiver(sink)
    data = transfer.stream(receiver.issue_attempt()).data
    together = threading.Barrier(2)

    def deliver() -> bool:
        together.wait(10)
        try:
            transfer.deliver(receiver, data)
        except (StaleAttempt, TransferComplete):
            return False
        return True

    outcomes = [pool.submit(deliver) for _ in range(2)]
    assert sorted(o.result(10) for o in outcomes) == [False, True]
    assert bytes(sink.content) == transfer.image


def test_new_ticket_ends_the_attempt_under_way(transfer, sink, pool, ends):
    near, far = ends
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    hanging = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    assert sink.wait_for(1024)
    ticket = receiver.issue_attempt()
    assert ticket.start_chunk == 1
    with pytest.raises(Superseded):
        hanging.result(10)
    transfer.deliver(receiver, transfer.stream(ticket).data)
    assert bytes(sink.content) == transfer.image


def test_no_ticket_while_the_sink_holds_the_attempt(transfer, sink, pool, ends):
    near, far = ends
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    hanging = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    assert sink.wait_for(1024)
    sink.gate.clear()
    near.sendall(stream.records[1] + stream.records[2])
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(TransferBusy):
        receiver.issue_attempt(timeout_s=0.3)
    sink.gate.set()
    ticket = receiver.issue_attempt()
    assert hanging.exception(10) is not None
    transfer.deliver(receiver, transfer.stream(ticket).data)
    assert bytes(sink.content) == transfer.image


def test_slow_sink_slows_the_sender_down(transfer_of, pool, ends):
    """Back-pressure: what was read ahead is a few chunks and the kernel's buffers."""
    near, far = ends
    transfer = transfer_of.of(os.urandom(4 << 20))
    receiver = transfer.receiver(sink := MemorySink())
    sink.gate.clear()
    data = transfer.stream(receiver.issue_attempt()).data
    received = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    near.settimeout(0.5)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += near.send(data[sent : sent + 4096])
    assert sent < 2 << 20
    sink.gate.set()
    near.settimeout(10)
    near.sendall(data[sent:])
    near.shutdown(socket.SHUT_WR)
    received.result(20)
    assert bytes(sink.content) == transfer.image


@pytest.mark.parametrize("fail_at", [0, 2000, 4096])
def test_full_sink_ends_the_transfer(transfer, fail_at):
    sink = MemorySink(fail_at=fail_at)
    receiver = transfer.receiver(sink)
    with pytest.raises(SinkFailed, match="no space left") as caught:
        transfer.complete(receiver)
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(sink.aborted, SinkFailed)
    assert not sink.finished
    with pytest.raises(TransferPoisoned):
        receiver.issue_attempt()


def test_sink_that_fails_after_the_connection_broke_ends_the_transfer(transfer, pool, ends):
    near, far = ends
    sink = MemorySink(fail_at=1024)
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    sink.gate.clear()
    near.sendall(stream.header + stream.commitment + b"".join(stream.records[:2]))
    near.shutdown(socket.SHUT_WR)
    received = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    sink.gate.set()
    with pytest.raises(SinkFailed):
        received.result(10)
    assert receiver.state is ReceiverState.POISONED


class UnfinishableSink(MemorySink):
    def finish(self) -> None:
        raise OSError("the VIM refused the image")


def test_sink_that_cannot_finish_ends_the_transfer(transfer):
    sink = UnfinishableSink()
    receiver = transfer.receiver(sink)
    with pytest.raises(SinkFailed, match="refused the image"):
        transfer.complete(receiver)
    assert receiver.state is ReceiverState.POISONED


def test_attempts_are_limited_also_across_a_restart(transfer, sink):
    limits = ReceiverLimits(max_attempts=3)
    receiver = ImageReceiver(transfer.announcement, sink, limits=limits, last_attempt=1)
    assert [receiver.issue_attempt().number for _ in range(2)] == [2, 3]
    with pytest.raises(AttemptsExhausted):
        receiver.issue_attempt()
    assert isinstance(sink.aborted, AttemptsExhausted)
    assert receiver.state is ReceiverState.POISONED


def test_receiver_that_died_begins_again_with_a_higher_number(transfer, sink):
    first = transfer.receiver(MemorySink())
    stream = transfer.stream(first.issue_attempt())
    with pytest.raises(StreamTruncated):
        transfer.deliver(first, stream.header + stream.commitment + stream.records[0])
    second = ImageReceiver(transfer.announcement, sink, last_attempt=1)
    ticket = second.issue_attempt()
    assert (ticket.number, ticket.start_chunk) == (2, 0)
    with pytest.raises(StaleAttempt):
        transfer.deliver(second, stream.data)
    transfer.deliver(second, transfer.stream(ticket).data)
    assert bytes(sink.content) == transfer.image


def test_complete_transfer_gives_no_ticket(transfer, sink):
    receiver = transfer.receiver(sink)
    transfer.complete(receiver)
    assert receiver.mark == 5
    with pytest.raises(TransferComplete):
        receiver.issue_attempt()
    receiver.abandon()
    assert receiver.state is ReceiverState.COMPLETE
    assert sink.aborted is None


@pytest.mark.parametrize("blocked", [False, True])
def test_abandon_ends_what_is_under_way(transfer, sink, pool, ends, blocked):
    near, far = ends
    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    near.sendall(stream.header + stream.commitment + stream.records[0])
    hanging = pool.submit(lambda: receiver.receive(far, read_header(far), transfer.keys))
    assert sink.wait_for(1024)
    if blocked:
        sink.gate.clear()
        near.sendall(stream.records[1])
    receiver.abandon()
    assert isinstance(sink.aborted, TransferCancelled)
    with pytest.raises((TransferCancelled, SinkFailed)):
        hanging.result(10)
    assert receiver.state is ReceiverState.POISONED
    with pytest.raises(TransferPoisoned):
        receiver.issue_attempt()
    assert not sink.finished


def test_keys_are_asked_for_only_when_the_header_fits(transfer, sink, ends):
    receiver = transfer.receiver(sink)
    stream = transfer.stream(replace(receiver.issue_attempt(), receiver_nonce=bytes(32)))
    near, far = ends
    near.sendall(stream.data)

    def keys(_):
        pytest.fail("the key store was asked for a stale attempt")

    with pytest.raises(StaleAttempt):
        receiver.receive(far, read_header(far), keys)


def test_keys_are_gone_after_the_attempt(transfer, sink):
    handed_out = []

    def keys(header):
        handed_out.append(transfer.keys(header))
        return handed_out[-1]

    receiver = transfer.receiver(sink)
    stream = transfer.stream(receiver.issue_attempt())
    watched = replace(transfer)
    watched.keys = keys
    with pytest.raises(StreamTruncated):
        watched.deliver(receiver, stream.data[:-1])
    report = watched.deliver(receiver, transfer.stream(receiver.issue_attempt()).data)
    for attempt_keys in handed_out:
        with pytest.raises(ValueError, match="destroyed"):
            _ = attempt_keys.aes_key
    with pytest.raises(ValueError, match="destroyed"):
        _ = handed_out[0].receipt_key.value
    assert len(report.receipt_key.value) == 32

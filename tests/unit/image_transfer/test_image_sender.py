"""The sending end, against a real receiver or a peer that misbehaves."""

from __future__ import annotations

import os
import socket
import threading
import tracemalloc
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from blake3 import blake3

from image_transfer import (
    Attempt,
    Header,
    MemorySink,
    ReceiveReport,
    make_receipt,
    read_header,
    send_image,
    verify_receipt,
)
from image_transfer.errors import (
    ConnectionLost,
    PeerStalled,
    SourceChanged,
    SourceUnreadable,
    StreamTruncated,
    TrailingBytes,
    TransferCancelled,
)

TICKET = Attempt(1, 0, bytes(32))


class CountingSink:
    """Takes any amount and keeps a digest only."""

    def __init__(self) -> None:
        self.digest = blake3()
        self.finished = False

    def write(self, chunk, /):
        self.digest.update(chunk)

    def finish(self):
        self.finished = True

    def abort(self, reason, /):
        pytest.fail(f"aborted: {reason}")


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.fixture
def receiving(pool, transfer, ends):
    """Starts to receive on the far end; closes it when that is over, as a server does."""

    def start(receiver, transfer=transfer) -> Future[ReceiveReport]:
        def receive() -> ReceiveReport:
            with ends[1] as connection:
                return receiver.receive(connection, read_header(connection), transfer.keys)

        return pool.submit(receive)

    return start


def test_image_travels_and_the_receipt_verifies(transfer, image_file, ends, receiving):
    receiver = transfer.receiver(sink := MemorySink())
    ticket = receiver.issue_attempt()
    received = receiving(receiver)
    journal: list[Header] = []
    progress: list[int] = []
    report = send_image(
        ends[0], image_file, transfer.announcement, ticket, transfer.keys,
        journal=journal.append, progress=progress.append,
    )  # fmt: skip
    far = received.result(10)
    assert bytes(sink.content) == transfer.image
    assert journal == [report.header] == [far.header]
    assert progress == [1024, 2048, 3072, 4096, 4396]
    assert report.plain_bytes == far.plain_bytes == len(transfer.image)
    assert report.wire_bytes == len(transfer.stream(ticket).data)
    receipt = make_receipt(far.receipt_key, far.header, "sha256:42")
    verify_receipt(receipt, report.receipt_key, report.header)
    # After a restart, the journal and the QKD key are enough.
    verify_receipt(receipt, transfer.keys(journal[0]).receipt_key, journal[0])


def test_open_file_keeps_its_position(transfer, image_file, ends, receiving):
    receiver = transfer.receiver(sink := MemorySink())
    ticket = receiver.issue_attempt()
    received = receiving(receiver)
    with image_file.open("rb") as source:
        source.seek(99)
        send_image(ends[0], source, transfer.announcement, ticket, transfer.keys)
        assert source.tell() == 99
    received.result(10)
    assert bytes(sink.content) == transfer.image


@pytest.mark.parametrize("zero_records", [True, False])
def test_zero_chunks_travel_as_zero_records_unless_hidden(
    transfer_of, tmp_path, ends, receiving, zero_records
):
    almost = bytearray(1024)
    almost[-1] = 1
    transfer = transfer_of.of(bytes(3072) + bytes(almost) + bytes(700))
    source = tmp_path / "sparse"
    source.write_bytes(transfer.image)
    receiver = transfer.receiver(sink := MemorySink())
    ticket = receiver.issue_attempt()
    received = receiving(receiver, transfer)
    report = send_image(
        ends[0], source, transfer.announcement, ticket, transfer.keys, zero_records=zero_records
    )
    far = received.result(10)
    assert bytes(sink.content) == transfer.image
    assert report.zero_chunks == far.zero_chunks == (4 if zero_records else 0)
    assert (report.wire_bytes < 2048) == zero_records


def test_journal_comes_before_the_first_byte(transfer, image_file, ends):
    near, far = ends
    far.setblocking(False)

    class Refused(Exception):
        pass

    def journal(_: Header) -> None:
        with pytest.raises(BlockingIOError):
            far.recv(1)
        raise Refused

    with pytest.raises(Refused):
        send_image(near, image_file, transfer.announcement, TICKET, transfer.keys, journal=journal)
    with pytest.raises(BlockingIOError):
        far.recv(1)


def test_same_ticket_twice_never_repeats_a_keystream(transfer, image_file):
    """A sender rolled back to an older state draws another salt, so other keys."""
    sent = []
    for _ in range(2):
        near, far = socket.socketpair()
        with near, far:
            far.settimeout(10)

            def send(near=near):
                return send_image(near, image_file, transfer.announcement, TICKET, transfer.keys)

            thread = threading.Thread(target=send)
            thread.start()
            data = b""
            while piece := far.recv(65536):
                data += piece
            far.shutdown(socket.SHUT_WR)
            thread.join(10)
            sent.append(data)
    bodies = [data[len(data) - 4396 :] for data in sent]
    assert bodies[0][:1000] != bodies[1][:1000]


def test_file_of_another_size_is_refused_before_any_byte(transfer, image_file, ends):
    with image_file.open("ab") as file:
        file.write(b"x")
    with pytest.raises(SourceChanged):
        send_image(ends[0], image_file, transfer.announcement, TICKET, transfer.keys)
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[1].recv(1)


@pytest.mark.parametrize("change", ["rewrite", "truncate"])
def test_source_changed_under_way_is_noticed_by_the_sender(
    transfer_of, tmp_path, ends, receiving, change
):
    transfer = transfer_of.of(os.urandom(4 << 20), chunk_log2=16)
    source = tmp_path / "image"
    source.write_bytes(transfer.image)
    os.utime(source, (0, 0))  # a file system's clock may be too coarse to tell two writes apart
    receiver = transfer.receiver(sink := MemorySink())
    ticket = receiver.issue_attempt()
    received = receiving(receiver, transfer)
    changed = threading.Event()

    def progress(_: int) -> None:
        if changed.is_set():
            return
        changed.set()
        with source.open("r+b") as file:
            if change == "truncate":
                file.truncate(1 << 20)
            else:
                file.write(b"other bytes")

    # Only the sink's gate makes certain that the end was not read before the change.
    sink.gate.clear()
    opener = threading.Thread(target=lambda: (changed.wait(10), sink.gate.set()))
    opener.start()
    with pytest.raises(SourceChanged):
        send_image(ends[0], source, transfer.announcement, ticket, transfer.keys, progress=progress)
    ends[0].close()
    opener.join()
    with pytest.raises(StreamTruncated):
        received.result(10)
    assert not sink.finished


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_unreadable_source_is_named(transfer, tmp_path, ends, kind):
    source = tmp_path if kind == "folder" else tmp_path / "nothing"
    with pytest.raises(SourceUnreadable):
        send_image(ends[0], source, transfer.announcement, TICKET, transfer.keys)


def test_receiver_that_hangs_up_is_noticed(transfer_of, tmp_path, ends, pool):
    transfer = transfer_of.of(os.urandom(8 << 20), chunk_log2=20)
    source = tmp_path / "image"
    source.write_bytes(transfer.image)
    near, far = ends
    pool.submit(lambda: (far.recv(4096), far.close()))
    with pytest.raises(ConnectionLost):
        send_image(near, source, transfer.announcement, TICKET, transfer.keys)


def test_receiver_that_reads_nothing_is_noticed(transfer_of, tmp_path, ends):
    transfer = transfer_of.of(os.urandom(8 << 20), chunk_log2=20)
    source = tmp_path / "image"
    source.write_bytes(transfer.image)
    with pytest.raises(PeerStalled):
        send_image(
            ends[0], source, transfer.announcement, TICKET, transfer.keys, stall_timeout_s=0.3
        )


def test_receiver_that_speaks_is_refused(transfer, image_file, ends):
    ends[1].sendall(b"200 OK")
    with pytest.raises(TrailingBytes):
        send_image(ends[0], image_file, transfer.announcement, TICKET, transfer.keys)


def test_cancel_ends_a_blocked_sender(transfer_of, tmp_path, ends):
    transfer = transfer_of.of(os.urandom(8 << 20), chunk_log2=20)
    source = tmp_path / "image"
    source.write_bytes(transfer.image)
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(TransferCancelled):
        send_image(
            ends[0], source, transfer.announcement, TICKET, transfer.keys, cancelled=cancelled
        )


def test_keys_are_gone_after_a_failure(transfer, image_file, ends):
    handed_out = []

    def keys(header):
        handed_out.append(transfer.keys(header))
        return handed_out[-1]

    ends[1].close()
    with pytest.raises(ConnectionLost):
        send_image(ends[0], image_file, transfer.announcement, TICKET, keys)
    for name in ("aes_key", "nonce_prefix"):
        with pytest.raises(ValueError, match="destroyed"):
            getattr(handed_out[0], name)


def test_memory_is_constant(transfer_of, tmp_path, pool):
    """Sixteen times the image, the same memory, at both ends together."""
    peaks = []
    for size in (4 << 20, 64 << 20):
        source = tmp_path / f"image-{size}"
        digest = blake3()
        with source.open("wb") as file:
            for _ in range(size >> 20):
                block = os.urandom(1 << 20)
                file.write(block)
                digest.update(block)
        transfer = transfer_of.of(b"", image_size=size, image_digest=digest.digest(), chunk_log2=20)
        receiver = transfer.receiver(sink := CountingSink())
        ticket = receiver.issue_attempt()
        near, far = socket.socketpair()
        with near, far:
            received = pool.submit(
                lambda receiver=receiver, far=far, transfer=transfer: receiver.receive(
                    far, read_header(far), transfer.keys
                )
            )
            tracemalloc.start()
            resident = resident_bytes()
            send_image(near, source, transfer.announcement, ticket, transfer.keys)
            received.result(30)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert resident_bytes() - resident < 24 << 20
        assert sink.finished
        assert sink.digest.digest() == digest.digest()
    assert peaks[1] < peaks[0] + (1 << 20)


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - not a file
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""Every tamper class that touches the stream: refused, and the transfer survives it.

Each test ends by completing the transfer honestly, where the format lets it: an attacker on the
path costs an attempt, never the transfer, and never gets a wrong byte into the sink.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest

from image_transfer import (
    Attempt,
    Direction,
    Header,
    ImageReceiver,
    KeySource,
    MemorySink,
    ReceiverLimits,
    ReceiverState,
    make_receipt,
    verify_receipt,
)
from image_transfer.errors import (
    CommitmentMismatch,
    DigestMismatch,
    HeaderMalformed,
    HeaderMismatch,
    HeaderRefused,
    QuotaExceeded,
    ReceiptForged,
    ReceiptMismatch,
    RecordForged,
    RecordMalformed,
    ResumeIndexForged,
    StaleAttempt,
    StreamTruncated,
    SuiteRefused,
    TrailingBytes,
    TransferPoisoned,
    VersionRefused,
    WrongDestination,
)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def receiver(transfer, sink) -> ImageReceiver:
    return transfer.receiver(sink)


@pytest.fixture
def survives(transfer, receiver, sink) -> Iterator[None]:
    """What must hold after any attack on a connection."""
    yield
    assert receiver.state is ReceiverState.WAITING
    assert not sink.finished
    assert sink.aborted is None
    assert transfer.image.startswith(sink.content)
    assert len(sink.content) == receiver.bytes_done < len(transfer.image)
    transfer.complete(receiver)
    assert sink.finished
    assert bytes(sink.content) == transfer.image


def flip(data: bytes, position: int, mask: int = 0x01) -> bytes:
    altered = bytearray(data)
    altered[position] ^= mask
    return bytes(altered)


@pytest.mark.usefixtures("survives")
def test_wrong_key_is_refused_before_any_data(transfer, receiver):
    stream = replace(transfer, qkd_key=os.urandom(32)).stream(receiver.issue_attempt())
    with pytest.raises(CommitmentMismatch):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
def test_refused_commitment_leaves_the_ticket_to_the_honest_sender(transfer, receiver, sink):
    ticket = receiver.issue_attempt()
    stream = transfer.stream(ticket)
    with pytest.raises(CommitmentMismatch):
        transfer.deliver(receiver, stream.header + flip(stream.commitment, 31) + b"x" * 2000)
    half = stream.header + stream.commitment + stream.records[0]
    with pytest.raises(StreamTruncated):
        transfer.deliver(receiver, half)
    assert bytes(sink.content) == transfer.image[:1024]


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transfer_id", uuid4()),
        ("image_digest", b"\x01" * 32),
        ("image_size", 4 * 1024 + 301),
        ("key_id", uuid4()),
        ("key_source", KeySource.QUANTUM),
        ("sender", "orchestrator2"),
        ("destination", "dc-2"),
        ("direction", Direction.HOMEWARD),
        ("chunk_log2", 11),
    ],
)
def test_header_with_another_field_than_announced_is_refused(transfer, receiver, field, value):
    ticket = receiver.issue_attempt()
    other = replace(transfer.announcement, **{field: value})
    stream = transfer.stream(ticket)
    header = Header.decode(stream.header)
    forged = replace(header, announcement=other).encode()
    with pytest.raises(HeaderMismatch) as caught:
        transfer.deliver(receiver, forged + stream.commitment + b"".join(stream.records))
    assert caught.value.field == field.replace("_", " ")
    # Nothing changed: the ticket of the honest sender is still good.
    with pytest.raises(StreamTruncated):
        transfer.deliver(receiver, stream.header + stream.commitment)


@pytest.mark.usefixtures("survives")
def test_every_bit_flip_in_header_or_commitment_is_refused_without_a_change(
    transfer, receiver, sink
):
    stream = transfer.stream(receiver.issue_attempt())
    opening = stream.header + stream.commitment
    for position in range(len(opening)):
        forged = flip(opening, position, 1 << position % 8)
        # A longer stated length makes the receiver wait for more, so there is more.
        with pytest.raises(HeaderRefused):
            transfer.deliver(receiver, forged + stream.records[0])
        assert receiver.state is ReceiverState.WAITING
        assert receiver.mark == 0
        assert not sink.content
    with pytest.raises(StreamTruncated):
        transfer.deliver(receiver, opening)


@pytest.mark.usefixtures("survives")
def test_wrong_destination_has_a_name_of_its_own(transfer, receiver):
    stream = transfer.stream(receiver.issue_attempt(), destination="dc-1")
    with pytest.raises(WrongDestination):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
def test_replayed_attempt_is_refused(transfer, receiver):
    recorded = transfer.stream(receiver.issue_attempt())
    cut = recorded.header + recorded.commitment + recorded.records[0]
    with pytest.raises(StreamTruncated):
        transfer.deliver(receiver, cut)
    with pytest.raises(StaleAttempt):
        transfer.deliver(receiver, recorded.data)
    receiver.issue_attempt()
    with pytest.raises(StaleAttempt):
        transfer.deliver(receiver, recorded.data)


@pytest.mark.usefixtures("survives")
def test_stale_nonce_under_the_right_number_is_refused(transfer, receiver):
    ticket = receiver.issue_attempt()
    stale = Attempt(ticket.number, ticket.start_chunk, os.urandom(32))
    with pytest.raises(StaleAttempt):
        transfer.deliver(receiver, transfer.stream(stale).data)


@pytest.mark.usefixtures("survives")
def test_forged_resume_index_is_refused(transfer, receiver):
    ticket = receiver.issue_attempt()
    forged = replace(ticket, start_chunk=2)
    with pytest.raises(ResumeIndexForged):
        transfer.deliver(receiver, transfer.stream(forged).data)


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize(("version", "error"), [(0, VersionRefused), (2, VersionRefused)])
def test_another_version_is_refused(transfer, receiver, version, error):
    data = bytearray(transfer.stream(receiver.issue_attempt()).data)
    data[8] = version
    with pytest.raises(error):
        transfer.deliver(receiver, bytes(data))


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("suite", [0, 2, 255])
def test_another_suite_is_refused(transfer, receiver, suite):
    data = bytearray(transfer.stream(receiver.issue_attempt()).data)
    data[9] = suite
    with pytest.raises(SuiteRefused):
        transfer.deliver(receiver, bytes(data))


@pytest.mark.usefixtures("survives")
def test_reserved_byte_is_refused(transfer, receiver):
    data = bytearray(transfer.stream(receiver.issue_attempt()).data)
    data[15] = 1
    with pytest.raises(HeaderMalformed):
        transfer.deliver(receiver, bytes(data))


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("index", [0, 2, 4])
@pytest.mark.parametrize("position", [5, 40, -17, -16, -1])
def test_bit_flip_in_body_or_tag_is_refused(transfer, receiver, sink, index, position):
    stream = transfer.stream(receiver.issue_attempt())
    stream.records[index] = flip(stream.records[index], position)
    with pytest.raises(RecordForged):
        transfer.deliver(receiver, stream.data)
    assert bytes(sink.content) == transfer.image[: index * 1024]


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize(
    "rearranged",
    [[0, 2, 1, 3, 4], [0, 2, 3, 4], [0, 0, 1, 2, 3, 4], [1, 2, 3, 4]],
    ids=["swap", "gap", "repeat", "first-missing"],
)
def test_records_out_of_order_are_refused(transfer, receiver, rearranged):
    stream = transfer.stream(receiver.issue_attempt())
    stream.records = [stream.records[i] for i in rearranged]
    with pytest.raises(RecordForged):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("flags", [0x01, 0x02, 0x03, 0x04, 0x80, 0xFF])
def test_changed_flags_are_refused(transfer, receiver, flags):
    stream = transfer.stream(receiver.issue_attempt())
    stream.records[1] = bytes([flags]) + stream.records[1][1:]
    with pytest.raises(RecordMalformed):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
def test_data_made_a_zero_record_is_refused(transfer, receiver):
    stream = transfer.stream(receiver.issue_attempt())
    record = stream.records[1]
    stream.records[1] = b"\x02\x00\x00\x00\x00" + record[-16:]
    with pytest.raises(RecordForged):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
@pytest.mark.parametrize("length", [0, 1023, 1025, 2**32 - 1])
def test_changed_length_is_refused_before_the_body(transfer, receiver, length):
    stream = transfer.stream(receiver.issue_attempt())
    head = b"\x00" + length.to_bytes(4, "big")
    # No body follows: the refusal must not wait for one.
    opening = stream.header + stream.commitment + head + bytes(16)
    with pytest.raises(RecordMalformed):
        transfer.deliver(receiver, opening, end=False)


@pytest.mark.usefixtures("survives")
def test_splice_of_another_attempt_is_refused(transfer, receiver):
    first = transfer.stream(receiver.issue_attempt())
    second = transfer.stream(receiver.issue_attempt())
    second.records[2] = first.records[2]
    with pytest.raises(RecordForged):
        transfer.deliver(receiver, second.data)


@pytest.mark.usefixtures("survives")
def test_splice_of_another_image_under_the_same_key_is_refused(transfer, receiver, transfer_of):
    ticket = receiver.issue_attempt()
    other = transfer_of.of(os.urandom(len(transfer.image)))
    other.qkd_key = transfer.qkd_key
    stream = transfer.stream(ticket)
    stream.records[3] = other.stream(ticket).records[3]
    with pytest.raises(RecordForged):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
def test_truncation_at_every_boundary_is_noticed(transfer, receiver, sink):
    opening = len(transfer.stream(receiver.issue_attempt()).header) + 32
    record, last = 1024 + 21, 300 + 21
    ends = [opening + i * record for i in range(5)]
    cuts = {0, 1, 11, 12, 13, opening - 32, opening - 31, opening - 1, ends[-1] + last - 1}
    for end in ends:
        cuts |= {end, end + 1, end + 5, end + 21, end + 22, end + 200}
    for cut in sorted(cuts):
        receiver = transfer.receiver(sink := MemorySink())
        data = transfer.stream(receiver.issue_attempt()).data
        with pytest.raises(StreamTruncated):
            transfer.deliver(receiver, data[:cut])
        whole_records = max(0, cut - opening) // record
        assert bytes(sink.content) == transfer.image[: 1024 * whole_records]
        assert receiver.mark == whole_records
        transfer.complete(receiver)
        assert bytes(sink.content) == transfer.image


@pytest.mark.usefixtures("survives")
def test_trailing_bytes_hold_the_last_chunk_back(transfer, receiver, sink):
    stream = transfer.stream(receiver.issue_attempt())
    with pytest.raises(TrailingBytes):
        transfer.deliver(receiver, stream.data + b"\x00")
    assert bytes(sink.content) == transfer.image[:4096]


@pytest.mark.usefixtures("survives")
def test_early_last_is_refused(transfer, receiver):
    stream = transfer.stream(receiver.issue_attempt())
    stream.records[2] = b"\x01" + stream.records[2][1:]
    with pytest.raises(RecordMalformed, match="too early"):
        transfer.deliver(receiver, stream.data)


@pytest.mark.usefixtures("survives")
def test_missing_last_is_refused(transfer, receiver):
    stream = transfer.stream(receiver.issue_attempt())
    stream.records[4] = b"\x00" + stream.records[4][1:]
    with pytest.raises(RecordMalformed, match="should say"):
        transfer.deliver(receiver, stream.data)


def test_source_changed_under_way_poisons_the_transfer(transfer, receiver, sink):
    changed = flip(transfer.image, 1500)
    stream = transfer.stream(receiver.issue_attempt(), image=changed)
    with pytest.raises(DigestMismatch):
        transfer.deliver(receiver, stream.data)
    assert isinstance(sink.aborted, DigestMismatch)
    assert not sink.finished
    assert len(sink.content) < len(transfer.image)
    assert receiver.state is ReceiverState.POISONED
    with pytest.raises(TransferPoisoned):
        receiver.issue_attempt()
    with pytest.raises(TransferPoisoned):
        transfer.deliver(receiver, stream.data)


def test_source_changed_in_the_last_chunk_is_noticed(transfer, receiver, sink):
    stream = transfer.stream(receiver.issue_attempt(), image=flip(transfer.image, -1))
    with pytest.raises(DigestMismatch):
        transfer.deliver(receiver, stream.data)
    assert bytes(sink.content) == transfer.image[:4096]
    assert not sink.finished


def test_zero_bomb_meets_the_quota_before_a_ticket_exists(transfer_of):
    bomb = transfer_of.of(b"", image_size=2**40, image_digest=bytes(32))
    with pytest.raises(QuotaExceeded) as caught:
        bomb.receiver(MemorySink(), ReceiverLimits(quota_bytes=2**30))
    assert caught.value.extensions == {"image_bytes": 2**40, "quota_bytes": 2**30}


def test_zero_records_cannot_expand_beyond_the_announced_size(transfer_of):
    transfer = transfer_of.of(bytes(3 * 1024))
    receiver = transfer.receiver(sink := MemorySink())
    stream = transfer.stream(receiver.issue_attempt(), zero_records=True)
    stream.records[2:2] = [stream.records[1]] * 50
    with pytest.raises(RecordMalformed):
        transfer.deliver(receiver, stream.data)
    assert len(sink.content) == 2048


def test_zero_flag_on_an_empty_image_is_refused(transfer_of):
    transfer = transfer_of.of(b"")
    receiver = transfer.receiver(MemorySink())
    stream = transfer.stream(receiver.issue_attempt())
    with pytest.raises(RecordMalformed):
        transfer.deliver(receiver, stream.header + stream.commitment + b"\x03" + bytes(20))


class TestReceipt:
    @pytest.fixture
    def header(self, transfer) -> Header:
        return Header.draw(transfer.announcement, Attempt(3, 0, bytes(32)))

    @pytest.fixture
    def receipt(self, transfer, header):
        return make_receipt(transfer.keys(header).receipt_key, header, "sha256:aa")

    def test_honest_receipt_is_accepted(self, transfer, header, receipt):
        verify_receipt(receipt, transfer.keys(header).receipt_key, header)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("transfer_id", uuid4()),
            ("attempt", 4),
            ("image_size", 1),
            ("image_digest", bytes(32)),
            ("placed_image_id", "sha256:ab"),
            ("mac", bytes(32)),
        ],
    )
    def test_forged_receipt_is_refused(self, transfer, header, receipt, field, value):
        forged = replace(receipt, **{field: value})
        with pytest.raises(ReceiptForged):
            verify_receipt(forged, transfer.keys(header).receipt_key, header)

    def test_receipt_of_another_attempt_is_refused(self, transfer, header, receipt):
        other = Header.draw(transfer.announcement, Attempt(4, 0, bytes(32)))
        with pytest.raises(ReceiptForged):
            verify_receipt(receipt, transfer.keys(other).receipt_key, other)

    def test_authentic_receipt_for_something_else_is_refused(self, transfer, header, receipt):
        other = replace(header, attempt=replace(header.attempt, number=4))
        with pytest.raises(ReceiptMismatch) as caught:
            verify_receipt(receipt, transfer.keys(header).receipt_key, other)
        assert caught.value.field == "attempt"

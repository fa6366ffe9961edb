"""The one-time pad: one layout, the same bytes each time, and every alteration ends it."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from image_transfer.announcement import Attempt, KeySource
from image_transfer.attempts import ReceiverState
from image_transfer.errors import (
    AnnouncementInvalid,
    AttemptsExhausted,
    ContentMalformed,
    HeaderMalformed,
    PadForged,
    QuotaExceeded,
    ReceiptForged,
    ReceiptMalformed,
    ReceiptMismatch,
    RecordMalformed,
    ResumeIndexForged,
    SinkFailed,
    SourceChanged,
    SourceUnreadable,
    StaleAttempt,
    StreamTruncated,
    TrailingBytes,
    TransferComplete,
    TransferError,
    TransferPoisoned,
)
from image_transfer.one_time_pad import (
    Opening,
    PadAnnouncement,
    PadImage,
    PadReceipt,
    PadReceiver,
    content_bytes,
    make_pad_receipt,
    pad_blocks,
    pad_commitment,
    read_opening,
    seal_file,
    send_sealed_file,
    verify_pad_receipt,
)
from image_transfer.one_time_pad.sealing import encode_header, record_offset, seal, sealed_size
from image_transfer.receiver import ReceiverLimits
from image_transfer.sink import MemorySink

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "one_time_pad" / "sealed.json").read_text()
)
IMAGE_ID = "sha256:" + "5a" * 32


class Message:
    """One image, its pad and its sealed file; and a receiver of it."""

    def __init__(self, folder: Path, size: int = 3000, *, limits: ReceiverLimits | None = None):
        self.image = secrets.token_bytes(size)
        self.source = folder / "image.tar"
        self.source.write_bytes(self.image)
        self.sealed = folder / "sealed" / "transfer"
        content = content_bytes(size, IMAGE_ID)
        blocks = pad_blocks(content, 10)
        self.pad = bytearray(secrets.token_bytes(32 * blocks))
        self.announcement = PadAnnouncement(
            uuid4(), content, blocks, secrets.token_bytes(32), KeySource.QUANTUM, "central", "dc-1",
            chunk_log2=10,
        )  # fmt: skip
        self.sink = MemorySink()
        self.placed: list[tuple[bytes, str, int]] = []
        self.limits = limits or ReceiverLimits(record_timeout_s=5, commitment_timeout_s=5)
        self.receiver = self.new_receiver()

    def new_receiver(self) -> PadReceiver:
        return PadReceiver(self.announcement, self.open_sink, limits=self.limits)

    def open_sink(self, digest: bytes, image_id: str, size: int) -> MemorySink:
        self.placed.append((digest, image_id, size))
        return self.sink

    def seal(self) -> bytes:
        seal_file(
            self.sealed, self.source, self.announcement, self.pad,
            image_digest=blake3(self.image).digest(), image_id=IMAGE_ID,
        )  # fmt: skip
        return self.sealed.read_bytes()

    def with_pad(self, use: Callable[[bytearray], Any]) -> Any:
        pad = bytearray(self.pad)
        try:
            return use(pad)
        finally:
            pad[:] = bytes(len(pad))

    def receive(self, wire: bytes) -> PadImage:
        """What the receiver makes of these bytes, after which the sender closes."""
        near, far = socket.socketpair()
        with near, far:
            sender = threading.Thread(target=_send, args=(near, wire), daemon=True)
            sender.start()
            try:
                return self.receiver.receive(far, read_opening(far), self.with_pad)
            finally:
                far.close()
                sender.join(10)

    def wire(self, sealed: bytes, ticket: Attempt) -> bytes:
        """What an honest sender sends for this ticket."""
        begin = len(encode_header(self.announcement)) + 16
        at = record_offset(self.announcement, ticket.start_chunk)
        return (
            Opening.of(self.announcement.transfer_id, ticket).encode()
            + sealed[:begin]
            + sealed[at:]
        )


def _send(connection: socket.socket, wire: bytes) -> None:
    try:
        connection.sendall(wire)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def message(tmp_path: Path) -> Message:
    return Message(tmp_path)


# --- vectors and sizes --------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["title"])
def test_the_published_vectors(vector: dict[str, Any], tmp_path: Path) -> None:
    image, pad = bytes.fromhex(vector["image"]), bytearray.fromhex(vector["pad"])
    ids = [UUID(hex=each) for each in vector["block_ids"]]
    size = content_bytes(len(image), vector["image_id"])
    announcement = PadAnnouncement(
        UUID(hex=vector["transfer_id"]), size, len(ids), pad_commitment(ids),
        KeySource(vector["key_source"]), vector["sender"], vector["destination"],
        chunk_log2=vector["chunk_log2"],
    )  # fmt: skip
    source, target = tmp_path / "image", tmp_path / "sealed"
    source.write_bytes(image)
    seal_file(
        target, source, announcement, pad,
        image_digest=blake3(image).digest(), image_id=vector["image_id"],
    )  # fmt: skip
    sealed = target.read_bytes()
    assert sealed.hex() == vector["sealed"]
    assert len(sealed) == sealed_size(announcement)
    sink = MemorySink()
    receiver = PadReceiver(announcement, lambda *_: sink)
    ticket = receiver.issue_attempt()
    near, far = socket.socketpair()
    with near, far:
        sending = threading.Thread(
            target=send_sealed_file, args=(near, target, announcement, ticket), daemon=True
        )
        sending.start()
        found = receiver.receive(far, read_opening(far), lambda use: use(bytearray(pad)))
        sending.join(10)
    assert sink.content == image
    assert sink.finished
    assert found.receipt.encode().hex() == vector["receipt"]


def test_the_price_of_a_64_kib_bundle() -> None:
    content = content_bytes(64 * 1024, IMAGE_ID)
    assert content == 65536 + 105
    assert pad_blocks(content) == 2052 + 5 + 2


@given(st.integers(34, 300_000), st.integers(10, 20))
def test_the_parts_of_a_pad_fill_it_and_do_not_overlap(size: int, log2: int) -> None:
    blocks = pad_blocks(size, log2)
    a = PadAnnouncement(
        uuid4(), size, blocks, bytes(32), KeySource.QUANTUM, "a", "b", chunk_log2=log2
    )
    places = [a.header_key, *(a.chunk_key(i) for i in range(a.chunks))]
    places += [a.chunk_pad(i) for i in range(a.chunks)]
    ends = [0, *(place.stop for place in places)]
    assert all(place.start == end for place, end in zip(places, ends, strict=False))
    assert ends[-1] <= a.receipt_key.start < ends[-1] + 32
    assert a.receipt_key.stop == 32 * blocks


@pytest.mark.parametrize("blocks", [0, 1, 105, 107])
def test_a_pad_of_another_length_is_refused(blocks: int) -> None:
    with pytest.raises(AnnouncementInvalid, match="this content takes 106"):
        PadAnnouncement(
            uuid4(), 3200, blocks, bytes(32), KeySource.QUANTUM, "a", "b", chunk_log2=10
        )  # fmt: skip


def test_a_short_pad_seals_nothing(message: Message) -> None:
    del message.pad[-1]
    with pytest.raises(ValueError, match="is not"):
        message.seal()
    assert not message.sealed.exists()


# --- sealing ------------------------------------------------------------------------------------


def test_sealing_again_gives_the_same_bytes(message: Message) -> None:
    assert message.seal() == message.seal()
    assert not list(message.sealed.parent.glob("*.draft"))


def test_nothing_of_the_image_its_digest_or_its_id_shows(message: Message) -> None:
    image = bytes(4096)
    message.source.write_bytes(image)
    content = content_bytes(len(image), IMAGE_ID)
    blocks = pad_blocks(content, 10)
    announcement = PadAnnouncement(
        uuid4(), content, blocks, bytes(32), KeySource.QUANTUM, "a", "b", chunk_log2=10
    )
    pad = bytearray(secrets.token_bytes(32 * blocks))
    digest = blake3(image).digest()
    seal_file(
        message.sealed, message.source, announcement, pad, image_digest=digest, image_id=IMAGE_ID
    )
    sealed = message.sealed.read_bytes()
    assert digest not in sealed
    assert IMAGE_ID.encode() not in sealed
    assert bytes(64) not in sealed[len(encode_header(announcement)) :]


def test_an_image_that_is_not_the_catalogued_one_is_not_sealed(message: Message) -> None:
    message.source.write_bytes(b"\0" * 3000)
    with pytest.raises(SourceChanged):
        message.seal()
    message.source.unlink()
    with pytest.raises(SourceUnreadable):
        message.seal()
    assert not message.sealed.exists()


# --- connections --------------------------------------------------------------------------------


def test_a_whole_connection(message: Message) -> None:
    sealed = message.seal()
    found = message.receive(message.wire(sealed, message.receiver.issue_attempt()))
    assert message.sink.content == message.image
    assert message.placed == [(blake3(message.image).digest(), IMAGE_ID, 3000)]
    assert message.receiver.state is ReceiverState.COMPLETE
    assert found.image_id == IMAGE_ID
    with pytest.raises(TransferComplete):
        message.receiver.issue_attempt()


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3, 0.5, 0.7, 0.99, 0.9999])
def test_a_broken_connection_goes_on_with_the_same_ciphertext(
    message: Message, fraction: float
) -> None:
    sealed = message.seal()
    wire = message.wire(sealed, message.receiver.issue_attempt())
    keep = max(68, int(len(wire) * fraction))
    with pytest.raises(StreamTruncated):
        message.receive(wire[:keep])
    assert message.sink.content == b"", "nothing is handed on before all of it agrees"
    ticket = message.receiver.issue_attempt()
    assert ticket.number == 2
    message.receive(message.wire(sealed, ticket))
    assert message.sink.content == message.image


def test_a_receiver_that_died_begins_again_with_the_same_ciphertext(message: Message) -> None:
    sealed = message.seal()
    wire = message.wire(sealed, message.receiver.issue_attempt())
    with pytest.raises(StreamTruncated):
        message.receive(wire[: len(wire) // 2])
    message.receiver = message.new_receiver()
    ticket = message.receiver.issue_attempt()
    assert ticket.start_chunk == 0
    found = message.receive(message.wire(sealed, ticket))
    assert message.sink.content == message.image
    assert found.receipt.sealed_digest == hashlib.sha256(sealed).digest()


def test_every_altered_byte_is_noticed_and_none_reaches_the_sink(tmp_path: Path) -> None:
    message = Message(tmp_path, 1200)
    sealed = message.seal()
    length = len(message.wire(sealed, message.receiver.issue_attempt()))
    for place in range(0, length, 7):
        message.receiver = message.new_receiver()
        wire = bytearray(message.wire(sealed, message.receiver.issue_attempt()))
        wire[place] ^= 0x40
        with pytest.raises(TransferError):
            message.receive(bytes(wire))
        assert message.placed == []


def test_a_wrong_tag_ends_the_transfer_for_good(message: Message) -> None:
    sealed = message.seal()
    wire = bytearray(message.wire(sealed, message.receiver.issue_attempt()))
    wire[-1] ^= 1
    with pytest.raises(PadForged):
        message.receive(bytes(wire))
    assert message.receiver.state is ReceiverState.POISONED
    with pytest.raises(TransferPoisoned):
        message.receiver.issue_attempt()


def test_a_stranger_changes_nothing(message: Message) -> None:
    sealed = message.seal()
    ticket = message.receiver.issue_attempt()
    transfer = message.announcement.transfer_id
    for opening in (
        Opening(transfer, ticket.number, 0, bytes(32)),
        Opening(uuid4(), ticket.number, 0, ticket.receiver_nonce),
        Opening(transfer, ticket.number + 1, 0, ticket.receiver_nonce),
    ):
        with pytest.raises(StaleAttempt):
            message.receive(opening.encode() + secrets.token_bytes(500))
    with pytest.raises(ResumeIndexForged):
        message.receive(Opening(transfer, ticket.number, 1, ticket.receiver_nonce).encode())
    message.receive(message.wire(sealed, ticket))
    assert message.sink.content == message.image


def test_a_ticket_serves_once_and_an_older_one_is_void(message: Message) -> None:
    sealed = message.seal()
    old = message.receiver.issue_attempt()
    new = message.receiver.issue_attempt()
    with pytest.raises(StaleAttempt):
        message.receive(message.wire(sealed, old))
    wire = message.wire(sealed, new)
    with pytest.raises(StreamTruncated):
        message.receive(wire[:300])
    with pytest.raises(StaleAttempt):
        message.receive(wire)


def test_another_header_is_refused_before_its_key_serves(message: Message) -> None:
    sealed = message.seal()
    header = encode_header(message.announcement)
    for place in range(8, len(header), 5):
        altered = bytearray(sealed)
        altered[place] ^= 1
        ticket = message.receiver.issue_attempt()
        with pytest.raises(HeaderMalformed):
            message.receive(message.wire(bytes(altered), ticket))
    message.receive(message.wire(sealed, message.receiver.issue_attempt()))


def test_another_header_later_is_refused_although_it_has_a_tag(message: Message) -> None:
    sealed = message.seal()
    wire = message.wire(sealed, message.receiver.issue_attempt())
    with pytest.raises(StreamTruncated):
        message.receive(wire[:400])
    altered = bytearray(sealed)
    altered[20] ^= 1
    with pytest.raises(HeaderMalformed):
        message.receive(message.wire(bytes(altered), message.receiver.issue_attempt()))


def test_records_of_another_length_are_refused_unread(message: Message) -> None:
    sealed = bytearray(message.seal())
    at = record_offset(message.announcement, 0)
    sealed[at : at + 4] = (2**31).to_bytes(4, "big")
    with pytest.raises(RecordMalformed):
        message.receive(message.wire(bytes(sealed), message.receiver.issue_attempt()))


def test_swapped_and_repeated_records_end_the_transfer(message: Message) -> None:
    sealed = message.seal()
    first, second, third = (record_offset(message.announcement, i) for i in range(3))
    swapped = sealed[:first] + sealed[second:third] + sealed[first:second] + sealed[third:]
    with pytest.raises(PadForged):
        message.receive(message.wire(swapped, message.receiver.issue_attempt()))


def test_bytes_after_the_last_record_are_refused_and_the_true_stream_goes_on(
    message: Message,
) -> None:
    sealed = message.seal()
    with pytest.raises(TrailingBytes):
        message.receive(message.wire(sealed, message.receiver.issue_attempt()) + b"\0")
    assert message.placed == []
    message.receive(message.wire(sealed, message.receiver.issue_attempt()))
    assert message.sink.content == message.image


def test_a_content_that_does_not_agree_with_itself_is_no_image(message: Message) -> None:
    content = bytearray(secrets.token_bytes(message.announcement.content_size))
    content[32:34] = (71).to_bytes(2, "big")
    content[34:105] = b"a" * 71
    sealed = b"".join(seal(message.announcement, content, message.pad))
    with pytest.raises(ContentMalformed):
        message.receive(message.wire(sealed, message.receiver.issue_attempt()))
    assert message.placed == []


def test_a_pad_that_is_not_the_senders_opens_nothing(message: Message) -> None:
    sealed = message.seal()
    message.pad = bytearray(secrets.token_bytes(len(message.pad)))
    with pytest.raises(PadForged):
        message.receive(message.wire(sealed, message.receiver.issue_attempt()))


def test_a_sink_that_fails_ends_the_transfer(message: Message) -> None:
    message.sink.fail_at = 2000
    sealed = message.seal()
    with pytest.raises(SinkFailed):
        message.receive(message.wire(sealed, message.receiver.issue_attempt()))
    assert message.receiver.state is ReceiverState.POISONED


def test_attempts_and_size_are_limited(tmp_path: Path) -> None:
    message = Message(tmp_path, limits=ReceiverLimits(max_attempts=2))
    for _ in range(2):
        message.receiver.issue_attempt()
    with pytest.raises(AttemptsExhausted):
        message.receiver.issue_attempt()
    with pytest.raises(QuotaExceeded):
        PadReceiver(message.announcement, message.open_sink, limits=ReceiverLimits(quota_bytes=99))


@given(st.binary(max_size=120))
def test_any_opening_is_refused_in_our_own_words(noise: bytes) -> None:
    for data in (noise, b"QNFVOTPO" + noise):
        try:
            assert Opening.decode(data).encode() == data
        except HeaderMalformed:
            continue


# --- receipt ------------------------------------------------------------------------------------


def test_a_receipt_holds_for_its_own_file_alone() -> None:
    key, transfer_id, digest = secrets.token_bytes(32), uuid4(), secrets.token_bytes(32)
    receipt = make_pad_receipt(key, transfer_id, 77, digest)
    again = PadReceipt.decode(receipt.encode())
    verify_pad_receipt(again, key, transfer_id, 77, digest)
    for wrong in ((uuid4(), 77, digest), (transfer_id, 78, digest), (transfer_id, 77, bytes(32))):
        with pytest.raises(ReceiptMismatch):
            verify_pad_receipt(again, key, *wrong)
    with pytest.raises(ReceiptForged):
        verify_pad_receipt(again, bytes(32), transfer_id, 77, digest)
    for place in range(len(receipt.encode())):
        altered = bytearray(receipt.encode())
        altered[place] ^= 1
        with pytest.raises((ReceiptForged, ReceiptMalformed)):
            verify_pad_receipt(PadReceipt.decode(bytes(altered)), key, transfer_id, 77, digest)

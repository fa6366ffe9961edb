"""Codecs: one value, one encoding, and nothing else is taken."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_transfer import (
    Announcement,
    Attempt,
    AttemptKeys,
    Direction,
    Header,
    KeySource,
    Receipt,
    ReceiptKey,
    derive_attempt_keys,
    make_receipt,
    verify_receipt,
)
from image_transfer.errors import AnnouncementInvalid, HeaderRefused, ReceiptRefused
from image_transfer.header import HEADER_MAX_BYTES, HEADER_MIN_BYTES

names = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=128)
digests = st.binary(min_size=32, max_size=32)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    chunk_log2 = draw(st.integers(10, 24))
    announcement = Announcement(
        transfer_id=draw(st.uuids()),
        image_digest=draw(digests),
        image_size=draw(st.integers(0, 2**32 << chunk_log2)),
        key_id=draw(st.uuids()),
        key_source=draw(st.sampled_from(KeySource)),
        sender=draw(names),
        destination=draw(names),
        direction=draw(st.sampled_from(Direction)),
        chunk_log2=chunk_log2,
    )
    start = draw(st.integers(0, announcement.chunk_count - 1))
    attempt = Attempt(draw(st.integers(1, 2**32 - 1)), start, draw(digests))
    return Header(announcement, attempt, draw(digests))


@given(headers())
def test_header_round_trip(header):
    encoded = header.encode()
    assert HEADER_MIN_BYTES <= len(encoded) <= HEADER_MAX_BYTES
    assert Header.decode(encoded) == header


@given(headers(), st.data())
def test_no_two_encodings_of_one_header(header, data):
    encoded = bytearray(header.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        other = Header.decode(bytes(encoded))
    except HeaderRefused:
        return
    assert other != header
    assert other.encode() == encoded


@given(st.binary(max_size=500))
def test_any_bytes_are_a_header_or_refused(data):
    for candidate in (data, b"QNFVSEAL\x01\x01" + len(data).to_bytes(2, "big") + data[12:]):
        try:
            assert Header.decode(candidate).encode() == candidate
        except HeaderRefused:
            continue


@given(headers(), st.text(min_size=1, max_size=128))
def test_receipt_round_trip(header, placed_id):
    key = ReceiptKey(b"k" * 32)
    try:
        receipt = make_receipt(key, header, placed_id)
    except ReceiptRefused:
        assert any(0xD800 <= ord(c) < 0xE000 for c in placed_id)
        return
    again = Receipt.decode(receipt.encode())
    assert again == receipt
    verify_receipt(again, key, header)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_receipt_or_refused(data):
    for candidate in (data, b"QNFVRCPT\x01" + data):
        try:
            assert Receipt.decode(candidate).encode() == candidate
        except ReceiptRefused:
            continue


@pytest.mark.parametrize("placed_id", ["", "x" * 513, "ä" * 257])
def test_receipt_for_an_impossible_id_is_refused(transfer, placed_id):
    header = Header.draw(transfer.announcement, Attempt(1, 0, bytes(32)))
    with pytest.raises(ReceiptRefused):
        make_receipt(ReceiptKey(bytes(32)), header, placed_id)


@given(st.integers(10, 24), st.integers(0, 2**40))
def test_chunks_cover_the_image_exactly(chunk_log2, size):
    a = Announcement(
        transfer_id=UUID(int=1),
        image_digest=bytes(32),
        image_size=min(size, 2**32 << chunk_log2),
        key_id=UUID(int=2),
        key_source=KeySource.EMULATED,
        sender="a",
        destination="b",
        chunk_log2=chunk_log2,
    )
    last = a.chunk_count - 1
    assert a.offset(last) + a.plain_length(last) == a.image_size == a.offset(last + 1)
    assert 0 <= a.plain_length(last) <= a.chunk_bytes
    assert a.plain_length(last) > 0 or a.image_size == 0
    if last:
        assert a.plain_length(0) == a.chunk_bytes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_digest", b"short"),
        ("image_size", -1),
        ("image_size", (2**32 << 10) + 1),
        ("chunk_log2", 9),
        ("chunk_log2", 25),
        ("sender", ""),
        ("sender", "with space"),
        ("destination", "x" * 129),
        ("destination", "dc\n3"),
        ("destination", "dc-3\n"),
        ("destination", "dç"),
    ],
)
def test_impossible_announcement_is_refused(transfer_of, field, value):
    with pytest.raises(AnnouncementInvalid):
        transfer_of.of(b"", **{field: value})


@pytest.mark.parametrize(
    "values", [(0, 0, bytes(32)), (2**32, 0, bytes(32)), (1, -1, bytes(32)), (1, 0, bytes(31))]
)
def test_impossible_ticket_is_refused(values):
    with pytest.raises(AnnouncementInvalid):
        Attempt(*values)


def test_short_qkd_key_is_refused(transfer):
    header = Header.draw(transfer.announcement, Attempt(1, 0, bytes(32)))
    with pytest.raises(ValueError, match="32 bytes"):
        derive_attempt_keys(bytes(31), header)


def test_keys_show_nothing_and_can_be_destroyed(transfer):
    header = Header.draw(transfer.announcement, Attempt(1, 0, bytes(32)))
    keys: AttemptKeys = transfer.keys(header)
    secrets = [bytes(keys.aes_key), bytes(keys.nonce_prefix), bytes(keys.receipt_key.value)]
    held = keys.aes_key
    shown = repr(keys) + str(keys) + repr(keys.receipt_key) + repr([keys.receipt_key])
    for secret in secrets:
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    keys.destroy_record_keys()
    assert not held
    assert bytes(keys.receipt_key.value) == secrets[2]
    keys.destroy()
    for gone in (
        lambda: keys.aes_key,
        lambda: keys.nonce_prefix,
        lambda: keys.receipt_key.value,
    ):
        with pytest.raises(ValueError, match="destroyed"):
            gone()

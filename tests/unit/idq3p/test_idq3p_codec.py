"""The codec against the published packet and the golden vectors, bit for bit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idq3p.codec import (
    REQUEST_LENGTH,
    RESPONSE_LENGTH,
    ByteOrder,
    KeyRequest,
    KeyResponse,
    crc32_bzip2,
)
from idq3p.errors import MalformedDatagramError
from idq3p.key_bytes import KeyBytes

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "idq3p" / "datagrams.json").read_text()
)
BYTE_ORDERS: list[ByteOrder] = ["little", "big"]
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
OCTET = st.integers(0, 255)


def named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def built(vector: dict[str, Any]) -> bytes:
    common = {
        "key_id": int(vector["key_id"], 16),
        "request_id": vector["request_id"],
        "device_id": vector["device_id"],
        "key_length": vector["key_length"],
    }
    if vector["kind"] == "request":
        return KeyRequest(**common).encode(vector["byteorder"])
    key = KeyBytes(bytes.fromhex(vector["key"]))
    response = KeyResponse(status=vector["status"], key=key, **common)
    return bytes(response.encode(vector["byteorder"]))


def test_crc_check_value() -> None:
    check = VECTORS["crc_check"]
    assert crc32_bzip2(check["ascii"].encode()).hex() == check["crc"]


@pytest.mark.parametrize("vector", VECTORS["datagrams"], ids=named)
def test_encoding_gives_the_vector(vector: dict[str, Any]) -> None:
    assert built(vector).hex() == vector["octets"]


@pytest.mark.parametrize("vector", VECTORS["datagrams"], ids=named)
def test_decoding_gives_the_fields(vector: dict[str, Any]) -> None:
    kind = KeyRequest if vector["kind"] == "request" else KeyResponse
    datagram = kind.decode(bytes.fromhex(vector["octets"]), vector["byteorder"])
    assert datagram.key_id == int(vector["key_id"], 16)
    assert datagram.request_id == vector["request_id"]
    assert datagram.key_length == vector["key_length"]
    assert datagram.device_id == vector["device_id"]
    if isinstance(datagram, KeyResponse):
        assert datagram.status == vector["status"]
        assert bytes(datagram.key.reveal()).hex() == vector["key"]


@pytest.mark.parametrize("vector", VECTORS["datagrams"], ids=named)
def test_every_single_bit_error_is_refused(vector: dict[str, Any]) -> None:
    kind = KeyRequest if vector["kind"] == "request" else KeyResponse
    octets = bytes.fromhex(vector["octets"])
    for bit in range(len(octets) * 8):
        damaged = bytearray(octets)
        damaged[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(MalformedDatagramError):
            kind.decode(bytes(damaged), vector["byteorder"])


@given(U64, U32, OCTET, OCTET, st.sampled_from(BYTE_ORDERS))
def test_request_round_trip(
    key_id: int, request_id: int, device: int, length: int, order: ByteOrder
) -> None:
    request = KeyRequest(key_id, request_id, device, length)
    octets = request.encode(order)
    assert len(octets) == REQUEST_LENGTH
    assert KeyRequest.decode(octets, order) == request


@given(U64, U32, OCTET, st.binary(min_size=32, max_size=32), st.sampled_from(BYTE_ORDERS))
def test_response_round_trip(
    key_id: int, request_id: int, status: int, key: bytes, order: ByteOrder
) -> None:
    response = KeyResponse(key_id, request_id, status, KeyBytes(key))
    octets = response.encode(order)
    assert len(octets) == RESPONSE_LENGTH
    assert KeyResponse.decode(octets, order) == response


@given(st.binary(max_size=100), st.sampled_from(BYTE_ORDERS))
def test_arbitrary_octets_are_refused_or_decoded(octets: bytes, order: ByteOrder) -> None:
    for kind in (KeyRequest, KeyResponse):
        try:
            datagram = kind.decode(octets, order)
        except MalformedDatagramError:
            continue
        assert bytes(datagram.encode(order)) == octets


@pytest.mark.parametrize(
    ("field", "value"), [("key_id", 2**64), ("request_id", -1), ("device_id", 256)]
)
def test_fields_out_of_range_are_the_callers_slip(field: str, value: int) -> None:
    fields = {"key_id": 1, "request_id": 1, "device_id": 1, field: value}
    with pytest.raises(ValueError, match="out of range"):
        KeyRequest(**fields).encode()


def test_key_bytes_do_not_show_and_can_be_wiped() -> None:
    key = KeyBytes(b"\xaa" * 32)
    response = KeyResponse(1, 1, 0, key)
    for shown in (repr(key), str(key), f"{key}", repr(response)):
        assert "aa" not in shown.replace("KeyBytes", "")
        assert "\\xaa" not in shown
        assert "redacted" in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        hash(key)
    view = key.reveal()
    key.wipe()
    assert bytes(view) == bytes(32)
    assert key.is_zero
    assert key != KeyBytes(b"\xaa" * 32)

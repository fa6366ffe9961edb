"""What every key server does on the wire (idq3p/PROTOCOL.md)."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from idq3p.client import Idq3pClient
from idq3p.codec import KeyRequest, KeyResponse, Status, crc32_bzip2
from idq3p.errors import KeyIdUnknownError, NoMoreKeysError

if TYPE_CHECKING:
    from conftest import ServerUnderTest

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "idq3p" / "datagrams.json").read_text()
)
PUBLISHED = next(v for v in VECTORS["datagrams"] if v["name"].startswith("published"))


def ask(server: ServerUnderTest, datagram: bytes, timeout_s: float = 5.0) -> bytes | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.connect((server.address, server.port))
        wire.settimeout(timeout_s)
        wire.send(datagram)
        try:
            return wire.recv(2048)
        except TimeoutError:
            return None


def with_crc(body: bytes) -> bytes:
    return body + crc32_bzip2(body)


def client(server: ServerUnderTest) -> Idq3pClient:
    return Idq3pClient(server.address, server.port, timeout_s=5)


def test_new_keys_are_new(stocked: ServerUnderTest) -> None:
    with client(stocked) as asking:
        issued = [asking.new_key() for _ in range(50)]
    assert len({key.key_id for key in issued}) == 50
    assert len({bytes(key.key.reveal()) for key in issued}) == 50


def test_a_key_is_delivered_again_under_its_id(stocked: ServerUnderTest) -> None:
    with client(stocked) as asking:
        issued = asking.new_key()
        for _ in range(2):
            assert asking.key_by_id(issued.key_id).key == issued.key


def test_an_unknown_id(stocked: ServerUnderTest) -> None:
    with client(stocked) as asking, pytest.raises(KeyIdUnknownError):
        asking.key_by_id(0x1122334455667788)


def test_no_more_keys(empty: ServerUnderTest) -> None:
    with client(empty) as asking, pytest.raises(NoMoreKeysError):
        asking.new_key()


def test_the_fields_of_the_request_come_back(stocked: ServerUnderTest) -> None:
    answer = ask(stocked, KeyRequest(0, request_id=0xDEADBEEF, device_id=12).encode())
    response = KeyResponse.decode(answer)
    assert response.request_id == 0xDEADBEEF
    assert response.device_id == 12
    assert response.key_length == 32
    assert response.reserved == bytes(10)
    assert response.status == Status.SUCCESS


def test_an_invalid_request_gets_the_published_answer(stocked: ServerUnderTest) -> None:
    # The published response names device 1; only reserved octets can be what was wrong with it.
    request = KeyRequest(0, request_id=2, device_id=1, reserved=b"\x01" + bytes(9)).encode()
    assert ask(stocked, request).hex() == PUBLISHED["octets"]


@pytest.mark.parametrize("device_id", [0, 13, 255])
def test_devices_outside_the_range(stocked: ServerUnderTest, device_id: int) -> None:
    answer = KeyResponse.decode(ask(stocked, KeyRequest(0, 1, device_id).encode()))
    assert answer.status == Status.INVALID_KEY_REQUEST
    assert answer.key.is_zero


def test_a_response_sent_as_a_request(stocked: ServerUnderTest) -> None:
    body = bytearray(KeyRequest(0, 9).encode()[:-4])
    body[0] = 1
    answer = KeyResponse.decode(ask(stocked, with_crc(bytes(body))))
    assert (answer.status, answer.request_id) == (Status.INVALID_KEY_REQUEST, 9)


@pytest.mark.parametrize("length", [0, 33, 255])
def test_lengths_outside_the_range(stocked: ServerUnderTest, length: int) -> None:
    answer = KeyResponse.decode(ask(stocked, KeyRequest(0, 1, 1, length).encode()))
    assert answer.status == Status.WRONG_KEY_LENGTH
    assert answer.key.is_zero


def test_a_shorter_key_is_the_beginning_of_the_key(stocked: ServerUnderTest) -> None:
    short = KeyResponse.decode(ask(stocked, KeyRequest(0, 1, 1, 16).encode()))
    whole = KeyResponse.decode(ask(stocked, KeyRequest(short.key_id, 2).encode()))
    assert bytes(short.key.reveal()) == bytes(whole.key.reveal()[:16]) + bytes(16)


def test_damaged_datagrams_get_no_answer_and_do_no_harm(stocked: ServerUnderTest) -> None:
    good = KeyRequest(0, 1).encode()
    damaged = good[:-1] + bytes([good[-1] ^ 1])
    for datagram in (b"", b"x", good[:-1], good + b"\0", damaged, bytes(29), b"\xff" * 1400):
        assert ask(stocked, datagram, timeout_s=0.05) is None
    dice = random.Random(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.connect((stocked.address, stocked.port))
        for _ in range(2000):
            wire.send(dice.randbytes(dice.randrange(80)))
    with client(stocked) as asking:
        assert not asking.new_key().key.is_zero

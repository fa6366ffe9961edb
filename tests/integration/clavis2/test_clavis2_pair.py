"""Emulated units as processes, joined by a real plant: what arrives where, and what does not."""

from __future__ import annotations

import random
import re
import socket
import time
from typing import TYPE_CHECKING

import pytest

from idq3p.client import Idq3pClient, IssuedKey
from idq3p.errors import KeyIdUnknownError, KeyServerNotListeningError, NoMoreKeysError

if TYPE_CHECKING:
    from conftest import QuantumLab, Unit

RATE = "PrivacyAmplification: Secret Key Rate = "
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARN|ERROR) [A-Za-z]+: .+", re.ASCII)


def drained(unit: Unit, at_most: int = 10_000) -> list[IssuedKey]:
    keys: list[IssuedKey] = []
    with Idq3pClient(unit.address, timeout_s=5) as client:
        while len(keys) < at_most:
            try:
                keys.append(client.new_key())
            except NoMoreKeysError:
                break
    return keys


def test_both_ends_hold_the_same_keys_under_the_same_ids(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    keys = drained(alice, at_most=1000)
    assert len(keys) == 1000
    assert len({key.key_id for key in keys}) == len(keys)
    assert len({bytes(key.key.reveal()) for key in keys}) == len(keys)
    with Idq3pClient(bob.address) as client:
        for issued in keys:
            assert client.key_by_id(issued.key_id).key == issued.key


def test_the_initialisation_takes_its_time_and_the_rate_is_that_of_the_distance(
    quantum_lab: QuantumLab,
) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    begun = time.monotonic()
    alice.until_logged(RATE)
    # 452 s of QKD time at 1000x; a loaded machine can only make it longer.
    assert 0.44 < time.monotonic() - begun < 2.0
    for unit in (alice, bob):
        unit.until_logged(RATE)
        log = unit.log()
        assert all(LINE.fullmatch(line) for line in log.splitlines())
        assert "EMULATED" in log.splitlines()[1]
        length_m = float(re.search(r"LineMeasurement: Line length: ([\d.]+)", log)[1])
        assert length_m == pytest.approx(5000, abs=10)
        visibility = float(re.search(r"Visibility of the system: ([\d.]+)%", log)[1])
        assert visibility == pytest.approx(99.325, abs=0.3)
        qber = float(re.search(r"ErrorCorrectionCascade: QBER: ([\d.]+)", log)[1])
        assert qber == pytest.approx(0.0120, abs=0.001)
        rate_bps = float(re.search(re.escape(RATE) + r"([\d.]+)", log)[1])
        assert rate_bps == pytest.approx(2453, rel=0.03)


def test_nothing_happens_in_the_dark_or_towards_another_bob(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    quantum_lab.bob("bob-2")
    alice = quantum_lab.alice(bob)
    alice.until_logged("stands by")
    for lit in (None, "bob-2"):
        quantum_lab.connect(lit)
        quantum_lab.observer.until(
            lambda state, lit=lit: (
                {p["to"] for p in state["paths"]} == ({lit, "alice"} if lit else set())
            )
        )
        # Longer than an initialisation would take.
        time.sleep(1.0)
        assert "Line length" not in alice.log() + bob.log()
        assert drained(alice) == drained(bob) == []
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)


def test_a_cut_fibre_stops_production_and_light_begins_anew(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    quantum_lab.observer.cut("quantum-spool-1")
    alice.until_logged("No light on the line")
    bob.until_logged("No light on the line")
    blocks = alice.log().count(RATE)
    kept = drained(alice, at_most=5)
    assert len(kept) == 5, "keys that were made before the cut stay"
    time.sleep(0.5)
    assert alice.log().count(RATE) == blocks
    quantum_lab.observer.repair("quantum-spool-1")
    alice.until_logged("LineMeasurement: Line length", after="No light on the line")
    alice.until_logged(RATE, after="No light on the line")
    with Idq3pClient(bob.address) as client:
        for issued in [*kept, *drained(alice, at_most=50)]:
            assert client.key_by_id(issued.key_id).key == issued.key


def test_stores_are_capped_and_stay_equal_when_full(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    # 1467 keys of the first buffer and 960 a block: full after three more blocks.
    blocks = alice.log().count(RATE)
    alice.until_logged(RATE)
    deadline = time.monotonic() + 20
    while alice.log().count(RATE) < blocks + 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    quantum_lab.connect(None)
    alice.until_logged("No light on the line")
    keys = drained(alice)
    assert len(keys) == 4096
    with Idq3pClient(bob.address) as client:
        assert all(client.key_by_id(issued.key_id).key == issued.key for issued in keys)


def test_a_killed_bob_leaves_nothing_half(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    old = drained(alice, at_most=1)[0]
    bob.kill()
    alice.until_logged("Bob is lost")
    again = quantum_lab.bob("bob-1", bob.address)
    alice.until_logged("keys dropped: the peer was started anew")
    alice.until_logged(RATE, after="keys dropped")
    keys = drained(alice, at_most=100)
    assert len(keys) == 100
    with Idq3pClient(again.address) as client:
        assert all(client.key_by_id(issued.key_id).key == issued.key for issued in keys)
        with pytest.raises(KeyIdUnknownError):
            client.key_by_id(old.key_id)


def test_a_killed_alice_is_gone_and_bob_waits_for_the_next(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-3")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-3")
    alice.until_logged("VisibilityMeasurement")
    alice.kill()
    bob.until_logged("Alice is lost")
    with (
        Idq3pClient(alice.address, timeout_s=0.5) as client,
        pytest.raises(KeyServerNotListeningError),
    ):
        client.new_key()
    successor = quantum_lab.alice(bob)
    successor.until_logged(RATE)
    issued = drained(successor, at_most=1)[0]
    with Idq3pClient(bob.address) as client:
        assert client.key_by_id(issued.key_id).key == issued.key


def test_hostile_lines_at_the_distillation_port_do_no_harm(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    dice = random.Random(2)
    lines = [
        b"",
        b"null\n",
        b'{"hello": 1}\n',
        b'{"phase": "line_length"}\n',
        b"[" * 200_000 + b"\n",
        b"x" * 2_000_000,
        b'{"hello": {"program": "%s", "session": "%s"}}\n' % (b"0" * 32, b"1" * 32)
        + b'{"distilled": {"block": 1, "final_bit": 1, "key_ids": ["0000000000000000"]}}\n',
        *(dice.randbytes(dice.randrange(300)) + b"\n" for _ in range(20)),
    ]
    for line in lines:
        with socket.create_connection((bob.address, 50001), timeout=10) as connection:
            try:
                connection.sendall(line)
            except ConnectionError:
                continue  # Bob hung up in the middle of the line, as he may
    assert drained(bob) == []
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    issued = drained(alice, at_most=1)[0]
    with Idq3pClient(bob.address) as client:
        assert client.key_by_id(issued.key_id).key == issued.key


def test_no_key_octet_in_any_log(quantum_lab: QuantumLab) -> None:
    bob = quantum_lab.bob("bob-1")
    alice = quantum_lab.alice(bob)
    quantum_lab.connect("bob-1")
    alice.until_logged(RATE)
    keys = drained(alice, at_most=200)
    bob.until_logged(RATE)
    logs = (alice.log() + bob.log()).lower()
    for issued in keys:
        octets = bytes(issued.key.reveal())
        assert octets.hex()[:16] not in logs
        assert repr(octets)[2:20].lower() not in logs

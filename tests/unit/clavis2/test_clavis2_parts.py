"""Frames of light, the keys made of them, the log's lines, the command line."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.clavis2 import physics
from emulators.clavis2.__main__ import main
from emulators.clavis2.light_frame import FrameKind, LightFrame
from emulators.clavis2.unit import PHASES, UnitSettings, UnitState
from emulators.clavis2.unit_log import UnitLog
from idq3p.key_bytes import KeyBytes


def frame(number: int = 1) -> LightFrame:
    return LightFrame(b"s" * 16, number, FrameKind.BLOCK, 10.0, KeyBytes(secrets.token_bytes(32)))


def test_a_frame_arrives_as_it_was_sent() -> None:
    sent = frame()
    assert LightFrame.decode(sent.encode()) == sent


@given(st.binary(max_size=100))
def test_octets_that_are_no_frame(octets: bytes) -> None:
    try:
        LightFrame.decode(octets)
    except ValueError:
        return
    assert len(octets) == 61


@pytest.mark.parametrize("exchange_s", [-1.0, float("nan"), float("inf"), 1e300])
def test_absurd_times_are_refused(exchange_s: float) -> None:
    octets = LightFrame(b"s" * 16, 1, FrameKind.BLOCK, exchange_s).encode()
    with pytest.raises(ValueError, match="absurd"):
        LightFrame.decode(octets)


def test_both_ends_make_the_same_keys_and_no_key_twice() -> None:
    sent = frame()
    ours, theirs = sent.keys(500), LightFrame.decode(sent.encode()).keys(500)
    assert ours == theirs
    assert len({bytes(key.reveal()) for key in ours}) == 500
    assert sent.keys(10) == ours[:10]
    other = LightFrame(sent.session, 2, sent.kind, 10.0, sent.secret)
    assert not {bytes(k.reveal()) for k in other.keys(10)} & {bytes(k.reveal()) for k in ours}


def test_frames_do_not_show_their_secret() -> None:
    assert "redacted" in repr(frame())


def test_the_phases_fill_the_fixed_part_of_the_initialisation() -> None:
    assert sum(seconds for _, seconds in PHASES.values()) == pytest.approx(
        physics.FIXED_INITIALISATION_S
    )


def test_log_lines_and_rotation(tmp_path: Path) -> None:
    log = UnitLog(tmp_path, max_octets=2000)
    for number in range(100):
        log.info("LineMeasurement", f"Line length: {number}\nforged line")
    log.warn("QKDSequence", "careful")
    log.error("QKDSequence", "broken")
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    lines = [line for file in files for line in file.read_text().splitlines()]
    form = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARN|ERROR) \w+: .+")
    assert all(form.fullmatch(line) for line in lines)
    assert log.path.read_text().splitlines()[-1].endswith("ERROR QKDSequence: broken")


EMULATION = ["--fibre-plant", "127.0.0.1:1", "--end-point", "alice", "--address", "127.0.0.1"]


@pytest.mark.parametrize(
    "tail",
    [
        [],
        ["--"],
        ["--", "QKDMenu"],
        ["--", "QKDSequence"],
        ["--", "QKDSequence", "--alice"],
        ["--", "QKDSequence", "--alice", "--bob"],
        ["--", "QKDSequence", "--bob", "--line_attenuation", "much"],
    ],
)
def test_command_lines_that_cannot_be(
    tail: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([*EMULATION, "--log-dir", str(tmp_path), *tail])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert "QKDSequence" in capsys.readouterr().err


def test_with_a_seed_every_start_scatters_otherwise_and_the_whole_is_repeatable(
    tmp_path: Path,
) -> None:
    def start(folder: str, end_point: str = "bob-1", seed: int | None = 7) -> list[float]:
        plant = ("127.0.0.1", 1)
        log_dir = tmp_path / folder / end_point
        settings = UnitSettings(plant, end_point, "127.0.0.2", 1.0, log_dir, seed)
        state = UnitState.begin(settings, "Bob")
        state.close()
        return [state.dice.random() for _ in range(4)]

    once = [start("once") for _ in range(3)]
    assert once[0] != once[1] != once[2] != once[0]
    assert [start("again") for _ in range(3)] == once
    assert start("once", "bob-2") != once[0]
    assert start("other", seed=8) != once[0]
    assert start("free", seed=None) != start("free", seed=None)

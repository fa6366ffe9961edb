"""What the agent makes of the unit's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from idq3p.unit_agent import phase as phase_module
from idq3p.unit_agent.contract import PHASE_MEANING, InitialisationStep, Phase
from idq3p.unit_agent.phase import Reading

STAMP = "2026-01-01 00:00:00"


def read(*lines: str, start: Reading | None = None) -> Reading:
    reading = start or Reading()
    for line in lines:
        reading = reading.after(f"{STAMP} {line}")
    return reading


INITIALISED = (
    "INFO LineMeasurement: Line length: 5000.4",
    "INFO VisibilityMeasurement: Visibility of the system: 99.31%",
    "INFO ErrorCorrectionCascade: QBER: 0.01200",
    "INFO PrivacyAmplification: Final key size: 250000",
    "INFO PrivacyAmplification: Secret Key Rate = 2453.1",
)


def test_every_phase_has_a_meaning_and_the_page_tells_it() -> None:
    assert set(PHASE_MEANING) == set(Phase)
    page = (Path(phase_module.__file__).parent / "AGENT.md").read_text()
    for phase, meaning in PHASE_MEANING.items():
        assert f"| {phase.value} | {meaning} |" in page


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("INFO LineMeasurement: Started", InitialisationStep.LINE_LENGTH),
        ("INFO VisibilityMeasurement: Started", InitialisationStep.VISIBILITY),
        ("INFO DetectorCalibration: Started", InitialisationStep.DETECTOR_CALIBRATION),
        ("INFO RawKeyExchange: Started", InitialisationStep.RAW_EXCHANGE),
        ("INFO ErrorCorrectionCascade: Started", InitialisationStep.ERROR_CORRECTION),
        ("INFO PrivacyAmplification: Started", InitialisationStep.PRIVACY_AMPLIFICATION),
    ],
)
def test_modules_are_steps_of_the_initialisation(line: str, step: InitialisationStep) -> None:
    reading = read(line)
    assert (reading.phase, reading.step) == (Phase.INITIALISING, step)


def test_the_first_key_rate_begins_the_generation() -> None:
    assert read(*INITIALISED[:-1]).phase is Phase.INITIALISING
    reading = read(*INITIALISED)
    assert reading == Reading(Phase.GENERATING, None, 5000.4, 99.31, 0.012, 2453.1, blocks=1)


def test_later_blocks_stay_in_generation_and_update_the_figures() -> None:
    reading = read(
        "INFO ErrorCorrectionCascade: QBER: 0.013",
        "INFO PrivacyAmplification: Secret Key Rate = 2400",
        start=read(*INITIALISED),
    )
    assert (reading.phase, reading.qber, reading.secret_key_rate_bps) == (
        Phase.GENERATING,
        0.013,
        2400.0,
    )
    assert reading.blocks == 2


def test_a_rate_of_zero_is_no_generation() -> None:
    reading = read(*INITIALISED[:-1], "INFO PrivacyAmplification: Secret Key Rate = 0.0")
    assert reading.phase is Phase.INITIALISING
    assert reading.secret_key_rate_bps == 0


def test_a_line_measured_again_begins_anew() -> None:
    reading = read("WARN LineMeasurement: No light on the line", start=read(*INITIALISED))
    assert reading.phase is Phase.INITIALISING
    assert reading.line_length_m is None
    assert reading.secret_key_rate_bps is None


def test_the_last_error_is_kept() -> None:
    assert read("ERROR Laser: too warm").last_error == "Laser: too warm"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        f"{STAMP} INFO",
        f"{STAMP} INFO PrivacyAmplification",
        f"{STAMP} INFO Other: Secret Key Rate = 5",
        "yesterday INFO PrivacyAmplification: Secret Key Rate = 5",
        "\x00" * 80,
    ],
)
def test_other_lines_change_nothing(line: str) -> None:
    assert Reading().after(line) == Reading()


@pytest.mark.parametrize("text", ["Line length: nan", "Line length: 5 km", "Line length: "])
def test_figures_that_are_none_are_not_taken(text: str) -> None:
    assert read(f"INFO LineMeasurement: {text}").line_length_m is None


def test_percent_can_be_told_by_the_settings() -> None:
    line = f"{STAMP} INFO ErrorCorrectionCascade: QBER: 5.3"
    assert Reading().after(line, "percent").qber == pytest.approx(0.053)


def test_the_other_stamp_is_read_too() -> None:
    line = "2019-07-01-12:00:00 INFO PrivacyAmplification: Secret Key Rate = 1.5e3"
    assert Reading().after(line).secret_key_rate_bps == 1500

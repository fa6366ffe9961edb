"""From lines of a unit's log to turns, points and comparisons."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from experiments.fig2.paper import compare, missed
from experiments.fig2.report import Fit, Point, Report, Settings, Spread, Turn, points_of
from experiments.fig2.unit_history import LogWatch, UnitHistory
from timekeeping import QkdClock

AT = "2026-01-01 00:00:00 INFO "


def fed(*lines: tuple[float, str]) -> UnitHistory:
    history = UnitHistory()
    for at_s, text in lines:
        history.take(AT + text, at_s)
    return history


STARTED = (
    (1.0, "QKDSequence: Started as Alice at 127.0.0.1"),
    (2.0, "QKDSequence: Bob at 127.0.0.2 stands by"),
    (10.0, "LineMeasurement: Line length: 25000.7"),
    (10.0, "LineMeasurement: Line attenuation measured: 6.55 dB"),
    (70.0, "VisibilityMeasurement: Visibility of the system: 99.33%"),
    (270.0, "RawKeyExchange: Started"),
)


def block(at_s: float, qber: float, final_bit: int, rate_bps: float) -> list[tuple[float, str]]:
    return [
        (at_s, f"ErrorCorrectionCascade: QBER: {qber:.5f}"),
        (at_s, f"PrivacyAmplification: Final key size: {final_bit}"),
        (at_s, f"PrivacyAmplification: Secret Key Rate = {rate_bps:.1f}"),
    ]


def turn(history: UnitHistory, repetition: int = 1, km: float = 25.0) -> Turn:
    return Turn.of(
        history,
        repetition=repetition,
        bob="bob-6",
        km=km,
        planned_loss_db=6.548,
        start_up_real_s=0.9,
        states_real_s={"connecting": 0.03},
        keys=64,
    )


def test_the_initialisation_lasts_from_the_first_measurement_to_the_first_rate_above_0() -> None:
    history = fed(*STARTED)
    assert history.initialisation_s is None
    for at_s, text in block(1200.0, 0.2, 0, 0.0) + block(1275.0, 0.053, 96600, 100.0):
        history.take(AT + text, at_s)
    assert history.initialisation_s == 1265.0
    assert history.attenuation_db == 6.55
    assert history.line_length_m == 25000.7


def test_blocks_count_by_the_time_that_they_stand_for() -> None:
    history = fed(
        *STARTED,
        *block(1275.0, 0.053, 90_000, 100.0),  # 900 s
        *block(1285.0, 0.050, 2_000, 200.0),  # 10 s
        *block(1375.0, 0.060, 0, 0.0),  # no keys in 90 s
    )
    assert [one.exchange_s for one in history.blocks] == [900.0, 10.0, 90.0]
    made = turn(history)
    assert made.blocks == 3
    assert made.generating_s == 1000.0
    assert made.secret_key_rate_bps == Spread(mean=92.0, least=0.0, largest=200.0)
    assert made.qber.mean == pytest.approx((0.053 * 900 + 0.050 * 10 + 0.060 * 90) / 1000)
    assert made.model_initialisation_s == pytest.approx(1265.0, abs=0.5)


def test_a_watch_takes_what_is_written_meanwhile_to_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "unit.log"
    log.write_text(AT + "LineMeasurement: Line length: 5.0\n")
    clock = QkdClock(1000.0)
    before_s = clock.monotonic()
    with LogWatch(log, clock) as watch, log.open("a") as file:
        for _, text in [*STARTED, *block(0.0, 0.053, 96600, 100.0)]:
            file.write(AT + text + "\n")
    history = watch.history
    assert history.line_length_m == 25000.7, "what stood there before is of another turn"
    assert len(history.blocks) == 1
    assert history.measuring_at_s is not None
    assert history.generating_at_s is not None
    assert before_s <= history.measuring_at_s <= history.generating_at_s <= clock.monotonic()


def history_of(initialisation_s: float, rate_bps: float, qber: float = 0.053) -> UnitHistory:
    at_s = 10.0 + initialisation_s
    return fed(*STARTED, *block(at_s, qber, round(rate_bps * 1000), rate_bps))


def test_a_point_is_the_mean_of_its_turns_with_minimum_and_maximum() -> None:
    first, second, other = (
        turn(history_of(1260.0, 90.0)),
        turn(history_of(1270.0, 120.0)),
        turn(history_of(400.0, 4000.0, 0.01), km=0.0),
    )
    back_to_back, far = points_of([first, other, second])
    assert (back_to_back.km, back_to_back.turns) == (0.0, 1)
    assert (far.km, far.turns) == (25.0, 2)
    assert far.initialisation_s == Spread(mean=1265.0, least=1260.0, largest=1270.0)
    assert far.secret_key_rate_bps == Spread(mean=105.0, least=90.0, largest=120.0)


def spread(value: float) -> Spread:
    return Spread(mean=value, least=value, largest=value)


def point(km: float, initialisation_s: float, rate_bps: float, qber: float) -> Point:
    return Point(
        km=km,
        turns=1,
        initialisation_s=spread(initialisation_s),
        secret_key_rate_bps=spread(rate_bps),
        qber=spread(qber),
        attenuation_db=spread(1.548 + 0.2 * km),
    )


def test_every_printed_value_is_compared_and_two_percent_are_allowed() -> None:
    points = [point(0, 407.9, 4000, 0.009), point(5, 1, 1, 0.5), point(25, 1265, 97.9, 0.0541)]
    fit = Fit(amplitudes_s=(1, 1), rates_per_km=(0, 0.1), r_squared=0.99995)
    found = {one.what: one for one in compare(points, fit)}
    assert {what: round(one.difference, 4) for what, one in found.items()} == {
        "initialisation, back to back": 0.0198,
        "initialisation, 25 km": 0.0,
        "secret key rate, back to back": 0.0,
        "secret key rate, 25 km": -0.021,
        "QBER, 25 km": 0.0208,
        "double exponential, R²": 0.0001,
    }
    assert [one.what for one in missed(list(found.values()))] == [
        "secret key rate, 25 km",
        "QBER, 25 km",
    ]
    assert [one.what for one in compare(points[1:2], None)] == []


def test_a_report_is_written_and_read_again(tmp_path: Path) -> None:
    turns = [turn(history_of(1260.0, 90.0)), turn(history_of(1270.0, 120.0), repetition=2)]
    report = Report(
        settings=Settings(time_scale=100, repetitions=2, dwell_s=600, seed=1, quick=True),
        took_real_s=12.3456789,
        turns=turns,
        points=points_of(turns),
        fit=None,
        comparisons=[],
    )
    document, rows = report.write(tmp_path)
    assert Report.model_validate_json(document.read_text()) == report
    assert json.loads(document.read_text())["emulated"] is True
    with rows.open() as file:
        read = list(csv.DictReader(file))
    assert [float(row["initialisation_s"]) for row in read] == [1260.0, 1270.0]
    assert [float(row["secret_key_rate_mean_bps"]) for row in read] == [90.0, 120.0]
    model_s = turns[0].model_initialisation_s
    assert report.excess_real_s == pytest.approx((1265.0 - model_s) / 100)

"""`qnfv experiments fig2` where nothing has to be measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from experiments.cli import app
from experiments.errors import (
    ImpossibleRunError,
    NoReportError,
    NotReproducedError,
    PlotsMissingError,
)
from experiments.fig2.paper import compare
from experiments.fig2.plots import draw
from experiments.fig2.report import Point, Report, Settings, Spread, Turn, points_of
from experiments.fig2.test_bed import DISTANCES_KM, TestBed

PICTURES = [f"fig2{part}.{kind}" for part in "abc" for kind in ("png", "svg")]


def spread(value: float) -> Spread:
    return Spread(mean=value, least=value * 0.9, largest=value * 1.1)


def turn(km: float) -> Turn:
    share = km / 25
    return Turn(
        repetition=1,
        bob="bob",
        km=km,
        attenuation_db=1.548 + 0.2 * km,
        line_length_m=km * 1000,
        initialisation_s=400 * (1265 / 400) ** share,
        model_initialisation_s=400,
        generating_s=600,
        blocks=60,
        secret_key_rate_bps=spread(4000 * (0.1 / 4) ** share),
        qber=spread(0.01 + 0.043 * share),
        keys=64,
        start_up_real_s=0.9,
        states_real_s={},
    )


def slow_points() -> list[Point]:
    """Back to back, the initialisation lasted 409 s in place of 400 s."""
    first, *others = (turn(km) for km in DISTANCES_KM)
    return points_of([first.model_copy(update={"initialisation_s": 409.0}), *others])


def report(points: list[Point] | None = None, *, quick: bool = False) -> Report:
    turns = [turn(km) for km in DISTANCES_KM]
    points = points or points_of(turns)
    return Report(
        settings=Settings(time_scale=150, repetitions=1, dwell_s=600, seed=1, quick=quick),
        took_real_s=1,
        turns=turns,
        points=points,
        fit=None,
        comparisons=compare(points, None),
    )


def run(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, ["fig2", *arguments]).exception


def test_a_report_is_drawn_again_and_every_picture_says_that_it_was_emulated(
    tmp_path: Path,
) -> None:
    report(slow_points(), quick=True).write(tmp_path)
    result = CliRunner().invoke(app, ["fig2", "--redraw", "--out", str(tmp_path)])
    assert result.exception is None, "a quick run is not judged"
    assert "Emulated" in result.stdout
    assert "+0.00%" in result.stdout
    assert "+2.25%" in result.stdout
    for name in PICTURES:
        written = (tmp_path / name).read_bytes()
        assert len(written) > 5000
        if name.endswith("png"):
            assert written.startswith(b"\x89PNG")
        else:
            assert b"EMULATED" in written
            assert b"printed in the paper" in written


def test_every_point_lies_within_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw(report(), tmp_path)
    assert len(drawn) == len(PICTURES)
    for axes in (axes for figure in drawn for axes in figure.axes):
        points = [xy for line in axes.lines for xy in line.get_xydata()]
        assert points
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert [(x, y) for x, y in points if not (left < x < right and bottom < y < top)] == []


def test_a_missed_value_ends_with_an_error_after_everything_is_written(tmp_path: Path) -> None:
    report(slow_points()).write(tmp_path)
    error = run("--redraw", "--out", str(tmp_path))
    assert isinstance(error, NotReproducedError)
    assert "initialisation, back to back" in error.detail
    assert all((tmp_path / name).exists() for name in PICTURES)


def test_without_the_libraries_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = run("--out", str(tmp_path / "out"))
    assert isinstance(error, PlotsMissingError)
    assert "matplotlib and scipy" in error.detail
    assert "qnfv[plots]" in error.next_step
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_nothing_to_draw(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "fig2.json").write_text(content)
    assert isinstance(run("--redraw", "--out", str(tmp_path)), NoReportError)


def test_a_folder_that_cannot_be_made_is_said_before_minutes_are_spent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert isinstance(run("--out", str(tmp_path / "file" / "out")), ImpossibleRunError)


def test_a_spool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImpossibleRunError, match="no spool of 7 km"):
        TestBed(tmp_path, [0, 7], time_scale=100, seed=1)

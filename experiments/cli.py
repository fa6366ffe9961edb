"""`qnfv experiments`: the paper's figures again."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from experiments.errors import (
    ImpossibleRunError,
    NoReportError,
    NotReproducedError,
    PlotsMissingError,
)
from experiments.fig2 import paper
from experiments.fig2.report import Report, Settings, Turn, points_of
from experiments.fig2.test_bed import DISTANCES_KM, TestBed
from observability import configure_logs
from problem_details import ProblemError
from timekeeping import SystemClock

app = typer.Typer(help="Measure the paper's figures again, on emulated units.")

_QUICK_KM: Final = (0.0, 25.0)
_QUICK_SCALE: Final = 500.0
_QUICK_DWELL_S: Final = 200.0
_EXTRA: Final = ("matplotlib", "scipy")


@app.callback()
def experiments() -> None:
    """One command a figure."""


@app.command()
def fig2(
    out: Annotated[Path, typer.Option(help="folder for data and pictures")] = Path("fig2"),
    repetitions: Annotated[int, typer.Option(min=1, help="turns at each distance")] = 4,
    dwell_s: Annotated[
        float, typer.Option(min=1, help="QKD seconds of every turn after its first keys")
    ] = 600.0,
    time_scale: Annotated[
        float, typer.Option(min=0.1, max=2000, help="seconds of QKD time in a real second")
    ] = 150.0,
    seed: Annotated[int, typer.Option(help="of the scatter of single blocks")] = 2016,
    quick: Annotated[
        bool, typer.Option(help="0 and 25 km, one short turn each; nothing is judged")
    ] = False,
    redraw: Annotated[
        bool, typer.Option(help="measure nothing, draw the report in --out again")
    ] = False,
) -> None:
    """Fig. 2 (a) to (c): initialisation time, key rate, QBER and attenuation over distance.

    One Alice serves Bobs at 0 to 25 km in turns. Ends with exit code 1 if a printed value of the
    paper is missed by more than 2 %.
    """
    _need_plots()
    console = Console()
    if redraw:
        _finish(_read(out), out, console)
        return
    if quick:
        repetitions, dwell_s, time_scale = 1, _QUICK_DWELL_S, _QUICK_SCALE
    settings = Settings(
        time_scale=time_scale, repetitions=repetitions, dwell_s=dwell_s, seed=seed, quick=quick
    )
    _make_folder(out)
    _say_what_is_emulated(settings, console)
    report = _measure(settings, console)
    report.write(out)
    _finish(report, out, console)


def _need_plots() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise PlotsMissingError(
            f"The curve and the pictures need {' and '.join(missing)}, not installed here.",
            next_step="Install them: pip install 'qnfv[plots]'.",
        )


def _make_folder(out: Path) -> None:
    """Before anything is measured: who waited for minutes shall not lose it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImpossibleRunError(
            f"The folder {out} cannot be made ({error.strerror}).",
            next_step="Name another one with --out.",
        ) from error


def _read(out: Path) -> Report:
    file = out / "fig2.json"
    try:
        return Report.model_validate_json(file.read_text())
    except (OSError, ValidationError) as error:
        raise NoReportError(
            f"{file} is not a report of this command ({type(error).__name__}).",
            next_step="Measure first: leave out --redraw.",
        ) from error


def _say_what_is_emulated(settings: Settings, console: Console) -> None:
    console.print(
        "[yellow]Test-bed:[/yellow] QKD units, fibres and the switch are [bold]emulated[/bold]; "
        f"QKD time runs [bold]{settings.time_scale:g}x[/bold]; keys are emulated, no photon made "
        "them. The emulated units follow a model fitted to the paper's printed values, so this "
        "checks the whole chain, not the physics."
    )


def _measure(settings: Settings, console: Console) -> Report:
    """Every repetition connects Alice with every Bob, one at a time and sequentially."""
    # Loaded only for a run that needs it: scipy takes its time.
    from experiments.fig2.fit import double_exponential

    folder = Path(tempfile.mkdtemp(prefix="qnfv-fig2-"))
    # What goes wrong comes as an error; switches that come and go are of no interest here.
    configure_logs("experiments", form="readable", level="ERROR")
    _end_on_signals()
    clock = SystemClock()
    began_s = clock.monotonic()
    try:
        turns = _turns(folder, settings, console)
    except ProblemError:
        console.print(f"The logs of the test-bed stay in {folder}.")
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    points = points_of(turns)
    fit = double_exponential(
        [point.km for point in points], [point.initialisation_s.mean for point in points]
    )
    return Report(
        settings=settings,
        took_real_s=clock.monotonic() - began_s,
        turns=turns,
        points=points,
        fit=fit,
        comparisons=paper.compare(points, fit),
    )


def _end_on_signals() -> None:
    """End as with Ctrl-C, so that the test-bed's processes are stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def _turns(folder: Path, settings: Settings, console: Console) -> list[Turn]:
    test_bed = TestBed(
        folder,
        _QUICK_KM if settings.quick else DISTANCES_KM,
        time_scale=settings.time_scale,
        seed=settings.seed,
    )
    turns: list[Turn] = []
    total = settings.repetitions * len(test_bed.bobs)
    with test_bed.running() as alice:
        for repetition in range(1, settings.repetitions + 1):
            for bob in test_bed.bobs:
                turn = alice.run(bob, repetition=repetition, dwell_s=settings.dwell_s)
                turns.append(turn)
                console.print(
                    f"{len(turns):3}/{total} {bob.km:4g} km {turn.attenuation_db:5.2f} dB"
                    f"  initialised {turn.initialisation_s:6.1f} s"
                    f" {turn.secret_key_rate_bps.mean:7.1f} b/s  QBER {turn.qber.mean:.2%}"
                    f" {turn.keys:4} keys",
                    highlight=False,
                )
    return turns


def _finish(report: Report, out: Path, console: Console) -> None:
    # Only now: it takes longer to load than anything before a run.
    from experiments.fig2.plots import draw

    draw(report, out)
    console.print(_points_table(report))
    console.print(_comparison_table(report))
    console.print(f"Written to [bold]{out}[/bold]: fig2.json, fig2.csv, fig2a to fig2c (png, svg).")
    missed = paper.missed(report.comparisons)
    if missed and not report.settings.quick:
        raise NotReproducedError(
            f"Missed by more than {paper.TOLERANCE:.0%}: {'; '.join(one.what for one in missed)}.",
            next_step="Measure on an idle machine, with a smaller --time-scale, or more "
            "--repetitions.",
        )


def _points_table(report: Report) -> Table:
    settings = report.settings
    excess_s = report.excess_real_s
    table = Table(
        title=f"Emulated: {len(report.turns)} turns in {report.took_real_s:.0f} s, "
        "mean (minimum–maximum)",
        caption=f"Programs need real time too: an initialisation lasted {excess_s * 1000:.0f} ms "
        f"longer than it is emulated to, which is {excess_s * settings.time_scale:.1f} s at "
        f"{settings.time_scale:g}x. It is left in.",
    )
    for heading in ("km", "dB", "initialisation, s", "key rate, kb/s", "QBER, %"):
        table.add_column(heading, justify="right")
    for point in report.points:
        init, rate, qber = point.initialisation_s, point.secret_key_rate_bps, point.qber
        table.add_row(
            f"{point.km:g}",
            f"{point.attenuation_db.mean:.2f}",
            f"{init.mean:.1f} ({init.least:.1f}–{init.largest:.1f})",
            f"{rate.mean / 1e3:.3f} ({rate.least / 1e3:.3f}–{rate.largest / 1e3:.3f})",
            f"{qber.mean * 100:.2f} ({qber.least * 100:.2f}–{qber.largest * 100:.2f})",
        )
    return table


def _comparison_table(report: Report) -> Table:
    table = Table(title="Beside the paper's printed values")
    for heading in ("", "paper", "ours, emulated", "difference", ""):
        table.add_column(heading, justify="right" if heading else "left")
    missed = paper.missed(report.comparisons)
    for one in report.comparisons:
        table.add_row(
            one.what,
            f"{one.printed:g} {one.unit}",
            f"{one.ours:.6g} {one.unit}" if not one.unit else f"{one.ours:.4g} {one.unit}",
            f"{one.difference:+.2%}",
            "[red]✘[/red]" if one in missed else "[green]✔[/green]",
        )
    return table

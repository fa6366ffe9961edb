"""The three pictures, each as PNG and SVG. Every one says that it was emulated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullLocator

from experiments.fig2.fit import curve_s
from experiments.fig2.paper import INITIALISATION, KEY_RATE, PRINTED, QBER
from experiments.fig2.report import Point, Report, Spread

# Okabe and Ito's palette, which the colour-blind can tell apart; markers differ as well.
_OURS: Final = "#0072B2"
_PAPER: Final = "#D55E00"
_ATTENUATION: Final = "#009E73"
_FIT: Final = "#56B4E9"
_STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "qnfv",
    "svg.fonttype": "none",
}


def draw(report: Report, folder: Path) -> list[Path]:
    """Write `fig2a`, `fig2b` and `fig2c`. `OSError` if the folder cannot be written."""
    pictures: dict[str, Callable[[Axes, Report], None]] = {
        "fig2a": _initialisation,
        "fig2b": _key_rate,
        "fig2c": _qber_and_attenuation,
    }
    written = []
    with mpl.rc_context(_STYLE):
        for name, picture in pictures.items():
            figure = Figure(figsize=(7.2, 5.0), layout="constrained")
            axes = figure.add_subplot()
            picture(axes, report)
            _finish(axes, report)
            for kind, metadata in (("png", None), ("svg", {"Date": None})):
                path = folder / f"{name}.{kind}"
                figure.savefig(path, dpi=150, metadata=metadata)
                written.append(path)
    return written


def _finish(axes: Axes, report: Report) -> None:
    settings = report.settings
    largest_km = max(point.km for point in report.points)
    axes.set_xlim(-0.05 * largest_km, 1.06 * largest_km)
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.set_xlabel("distance between Alice and Bob (km of fibre)")
    turns = min(point.turns for point in report.points)
    axes.get_figure(root=True).text(  # type: ignore[union-attr]
        0.99,
        0.985,
        f"EMULATED units, fibres and switch · {turns} turn{'s' if turns != 1 else ''} each · "
        f"QKD time × {settings.time_scale:g}",
        ha="right",
        va="top",
        fontsize=8.5,
        color="0.35",
    )


def _initialisation(axes: Axes, report: Report) -> None:
    axes.set_title("(a) Initialisation time", loc="left", pad=14)
    axes.set_ylabel("initialisation time (s)")
    if report.fit is not None:
        km = np.linspace(0, max(point.km for point in report.points), 200)
        axes.plot(
            km,
            curve_s(report.fit, km.tolist()),
            color=_FIT,
            zorder=1,
            label=f"double exponential, R² = {report.fit.r_squared:.6f} (paper: 0.9999)",
        )
    _ours(axes, report.points, lambda point: point.initialisation_s)
    _printed(axes, INITIALISATION, "s", raised_pt=-11)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def _key_rate(axes: Axes, report: Report) -> None:
    axes.set_title("(b) Secret key rate", loc="left", pad=14)
    axes.set_ylabel("secret key rate (kb/s)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    _ours(axes, report.points, lambda point: point.secret_key_rate_bps, 1e-3)
    _printed(axes, KEY_RATE, "kb/s")
    # Last, since a limit ends the automatic choice of the other one. A block without keys has no
    # place on this scale, so the smallest mean decides.
    rates = [point.secret_key_rate_bps for point in report.points]
    axes.set_ylim(0.5e-3 * min(rate.mean for rate in rates), 1.5e-3 * max(r.largest for r in rates))
    axes.legend(loc="lower left")


def _qber_and_attenuation(axes: Axes, report: Report) -> None:
    axes.set_title("(c) QBER and attenuation", loc="left", pad=14)
    axes.set_ylabel("QBER (%)", color=_OURS)
    axes.tick_params(axis="y", colors=_OURS)
    bars = _ours(axes, report.points, lambda point: point.qber, 100, label="QBER, ours")
    printed = _printed(axes, QBER, "%")
    # One grid for both scales, with room for the legend and for the line above the bars.
    top = math.ceil(
        max(
            max(1.3 * point.qber.largest * 100, 1.2 * point.attenuation_db.mean)
            for point in report.points
        )
    )
    axes.set_ylim(0, top)
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    right.set_ylabel("attenuation, one switch passage included (dB)", color=_ATTENUATION)
    right.tick_params(axis="y", colors=_ATTENUATION)
    (line,) = right.plot(
        [point.km for point in report.points],
        [point.attenuation_db.mean for point in report.points],
        color=_ATTENUATION,
        marker="s",
        linestyle="--",
        label="attenuation, ours",
    )
    right.set_ylim(0, top)
    axes.legend(handles=[bars, *printed, line], loc="upper left")


def _ours(
    axes: Axes,
    points: Sequence[Point],
    of: Callable[[Point], Spread],
    factor: float = 1.0,
    label: str = "ours: mean",
) -> object:
    """Means as circles, with minimum and maximum as bars."""
    spreads = [of(point) for point in points]
    means = np.array([spread.mean for spread in spreads]) * factor
    least = np.array([spread.least for spread in spreads]) * factor
    largest = np.array([spread.largest for spread in spreads]) * factor
    return axes.errorbar(
        [point.km for point in points],
        means,
        # A mean over all turns may be a rounding error beyond its extremes.
        yerr=np.maximum(0, [means - least, largest - means]),
        fmt="o",
        color=_OURS,
        capsize=4,
        zorder=3,
        label=f"{label} (bars: minimum, maximum)",
    )


def _printed(axes: Axes, what: str, unit: str, raised_pt: float = 0.0) -> list[object]:
    """The paper's printed values, each with its number; the one at 0 km is raised so much."""
    printed = [point for point in PRINTED if point.what == what]
    (handle,) = axes.plot(
        [point.km for point in printed],
        [point.value for point in printed],
        "D",
        color=_PAPER,
        markerfacecolor="none",
        markersize=11,
        markeredgewidth=1.6,
        zorder=4,
        label="printed in the paper",
    )
    for point in printed:
        left = point.km > 0
        axes.annotate(
            f"{point.value:g} {unit}",
            (point.km, point.value),
            xytext=(-11, 0) if left else (11, raised_pt),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=_PAPER,
        )
    return [handle]

"""What the paper prints about Fig. 2 (a) to (c), and ours beside it.

Values at other distances can only be read off the figure, so they are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.fig2.report import Comparison, Fit, Point

TOLERANCE: Final = 0.02
R_SQUARED: Final = 0.9999


@dataclass(frozen=True)
class PrintedPoint:
    """One number of the paper's text."""

    what: str
    km: float
    value: float
    unit: str
    ours: Callable[[Point], float]


INITIALISATION: Final = "initialisation"
KEY_RATE: Final = "secret key rate"
QBER: Final = "QBER"
PRINTED: Final = (
    PrintedPoint(INITIALISATION, 0, 400.0, "s", lambda p: p.initialisation_s.mean),
    PrintedPoint(INITIALISATION, 25, 1265.0, "s", lambda p: p.initialisation_s.mean),
    PrintedPoint(KEY_RATE, 0, 4.0, "kb/s", lambda p: p.secret_key_rate_bps.mean / 1e3),
    PrintedPoint(KEY_RATE, 25, 0.1, "kb/s", lambda p: p.secret_key_rate_bps.mean / 1e3),
    PrintedPoint(QBER, 25, 5.3, "%", lambda p: p.qber.mean * 100),
)


def compare(points: Sequence[Point], fit: Fit | None) -> list[Comparison]:
    """Every printed value whose distance was measured."""
    at = {point.km: point for point in points}
    found = []
    for printed in PRINTED:
        if printed.km not in at:
            continue
        where = "back to back" if printed.km == 0 else f"{printed.km:g} km"
        found.append(
            _beside(
                f"{printed.what}, {where}",
                printed.unit,
                printed.value,
                printed.ours(at[printed.km]),
            )
        )
    if fit is not None:
        found.append(_beside("double exponential, R²", "", R_SQUARED, fit.r_squared))
    return found


def _beside(what: str, unit: str, printed: float, ours: float) -> Comparison:
    return Comparison(
        what=what, unit=unit, printed=printed, ours=ours, difference=(ours - printed) / printed
    )


def missed(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those that differ by more than the tolerance."""
    return [one for one in comparisons if abs(one.difference) > TOLERANCE]

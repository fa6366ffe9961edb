"""The double exponential that the paper fits to the initialisation times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from experiments.fig2.report import Fit

LEAST_POINTS: Final = 5
"""Four parameters pass through any four points, which says nothing."""
_START_RATES_PER_KM: Final = ((-0.01, 0.1), (0.01, 0.1), (-0.05, 0.05), (0.02, 0.2))

_Vector = NDArray[np.float64]


def double_exponential(km: Sequence[float], seconds: Sequence[float]) -> Fit | None:
    """Least squares of a1 exp(b1 L) + a2 exp(b2 L); None for fewer than five points.

    The amplitudes are linear, so for each pair of rates the best ones follow directly, and only the
    two rates are searched (variable projection). The component with the smaller rate comes first.
    """
    if len(km) < LEAST_POINTS:
        return None
    at, measured = np.asarray(km, float), np.asarray(seconds, float)

    def residuals(rates: _Vector) -> _Vector:
        found: _Vector = _components(at, rates) @ _amplitudes(at, measured, rates) - measured
        return found

    found = min(
        (least_squares(residuals, start, xtol=1e-12) for start in _START_RATES_PER_KM),
        key=lambda result: float(result.cost),
    )
    rates = np.sort(np.asarray(found.x, np.float64))
    first, second = _amplitudes(at, measured, rates)
    spread = float(np.sum((measured - measured.mean()) ** 2))
    return Fit(
        amplitudes_s=(float(first), float(second)),
        rates_per_km=(float(rates[0]), float(rates[1])),
        r_squared=1 - float(np.sum(residuals(rates) ** 2)) / spread,
    )


def _components(at: _Vector, rates: _Vector) -> _Vector:
    return np.exp(np.outer(at, rates))


def _amplitudes(at: _Vector, measured: _Vector, rates: _Vector) -> _Vector:
    found = np.linalg.lstsq(_components(at, rates), measured, rcond=None)
    return np.asarray(found[0], np.float64)


def curve_s(fit: Fit, km: Sequence[float]) -> list[float]:
    """The fitted initialisation times at these distances."""
    at = np.asarray(km, float)
    return [float(s) for s in _components(at, np.asarray(fit.rates_per_km)) @ fit.amplitudes_s]

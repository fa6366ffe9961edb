"""What is kept of a run: every turn, and for each distance the mean with minimum and maximum."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict

from experiments.fig2.unit_history import UnitHistory
from qkd_scheduler.link_model import initialisation_s, line


def _six_digits(value: float) -> float:
    """More would only say how a computer writes fractions."""
    return float(f"{value:.6g}")


Number = Annotated[float, AfterValidator(_six_digits)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(_Document):
    """A mean with the smallest and the largest value."""

    mean: Number
    least: Number
    largest: Number


class Turn(_Document):
    """One turn of Alice. Seconds are QKD time, except where the name says real time."""

    repetition: int
    bob: str
    km: float
    attenuation_db: Number
    """As Alice's unit measured it."""
    line_length_m: float
    initialisation_s: Number
    """From the first measurement of the line to the first keys, by the log of Alice's unit."""
    model_initialisation_s: Number
    """The duration that the emulated unit is to show on this line."""
    generating_s: Number
    """QKD time that the blocks stand for, that of the first raw exchange included."""
    blocks: int
    secret_key_rate_bps: Spread
    """The mean is secret bits over time, the extremes are those of single blocks."""
    qber: Spread
    keys: int
    """Keys that both ends extracted and hold."""
    start_up_real_s: Number
    """From the start of the turn to the first measurement: cross-connect, starting programs."""
    states_real_s: dict[str, Number]

    @classmethod
    def of(
        cls,
        history: UnitHistory,
        *,
        repetition: int,
        bob: str,
        km: float,
        planned_loss_db: float,
        start_up_real_s: float,
        states_real_s: dict[str, float],
        keys: int,
    ) -> Self:
        """From a history that is complete: at least one block, line and attenuation measured."""
        blocks = history.blocks
        rates = [block.secret_key_rate_bps for block in blocks]
        qbers = [block.qber for block in blocks]
        weights = [block.exchange_s for block in blocks]
        assert history.attenuation_db is not None
        assert history.line_length_m is not None
        assert history.initialisation_s is not None
        return cls(
            repetition=repetition,
            bob=bob,
            km=km,
            attenuation_db=history.attenuation_db,
            line_length_m=history.line_length_m,
            initialisation_s=history.initialisation_s,
            model_initialisation_s=initialisation_s(line(planned_loss_db, km)),
            generating_s=sum(weights),
            blocks=len(blocks),
            secret_key_rate_bps=Spread(
                mean=statistics.fmean(rates, weights), least=min(rates), largest=max(rates)
            ),
            qber=Spread(
                mean=statistics.fmean(qbers, weights), least=min(qbers), largest=max(qbers)
            ),
            keys=keys,
            start_up_real_s=start_up_real_s,
            states_real_s=states_real_s,
        )


class Point(_Document):
    """All turns at one distance."""

    km: float
    turns: int
    initialisation_s: Spread
    secret_key_rate_bps: Spread
    qber: Spread
    attenuation_db: Spread

    @classmethod
    def of(cls, turns: list[Turn]) -> Self:
        weights = [turn.generating_s for turn in turns]
        return cls(
            km=turns[0].km,
            turns=len(turns),
            initialisation_s=_spread(turn.initialisation_s for turn in turns),
            secret_key_rate_bps=_joined(turns, weights, lambda turn: turn.secret_key_rate_bps),
            qber=_joined(turns, weights, lambda turn: turn.qber),
            attenuation_db=_spread(turn.attenuation_db for turn in turns),
        )


def _spread(values: Iterable[float]) -> Spread:
    listed = list(values)
    return Spread(mean=statistics.fmean(listed), least=min(listed), largest=max(listed))


def _joined(turns: list[Turn], weights: list[float], of: Callable[[Turn], Spread]) -> Spread:
    spreads = [of(turn) for turn in turns]
    return Spread(
        mean=statistics.fmean([spread.mean for spread in spreads], weights),
        least=min(spread.least for spread in spreads),
        largest=max(spread.largest for spread in spreads),
    )


class Fit(_Document):
    """T(L) = a1 exp(b1 L) + a2 exp(b2 L), in s over km; `r_squared` over the means."""

    amplitudes_s: tuple[Number, Number]
    rates_per_km: tuple[Number, Number]
    r_squared: float


class Comparison(_Document):
    """One printed value of the paper beside ours."""

    what: str
    unit: str
    printed: float
    ours: Number
    difference: Number
    """(ours - printed) / printed."""


class Settings(_Document):
    time_scale: float
    repetitions: int
    dwell_s: float
    seed: int
    quick: bool


class Report(_Document):
    """What `fig2.json` holds."""

    emulated: bool = True
    """Units, fibres and switch are; no photon was measured."""
    settings: Settings
    took_real_s: Number
    turns: list[Turn]
    points: list[Point]
    fit: Fit | None
    comparisons: list[Comparison]

    @property
    def excess_real_s(self) -> float:
        """Real time by which an initialisation lasted longer than the emulated unit is to show."""
        excess_s = statistics.fmean(
            turn.initialisation_s - turn.model_initialisation_s for turn in self.turns
        )
        return excess_s / self.settings.time_scale

    def write(self, folder: Path) -> list[Path]:
        """Write `fig2.json` and `fig2.csv` (a line for each turn). `OSError` if that fails."""
        document, rows = folder / "fig2.json", folder / "fig2.csv"
        document.write_text(self.model_dump_json(indent=2) + "\n")
        with rows.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(_row(self.turns[0])))
            writer.writeheader()
            writer.writerows(_row(turn) for turn in self.turns)
        return [document, rows]


def points_of(turns: Iterable[Turn]) -> list[Point]:
    """The turns by distance."""
    by_km: dict[float, list[Turn]] = {}
    for turn in turns:
        by_km.setdefault(turn.km, []).append(turn)
    return [Point.of(by_km[km]) for km in sorted(by_km)]


def _row(turn: Turn) -> dict[str, float | int | str]:
    rate, qber = turn.secret_key_rate_bps, turn.qber
    return {
        "repetition": turn.repetition,
        "bob": turn.bob,
        "km": turn.km,
        "attenuation_db": turn.attenuation_db,
        "initialisation_s": turn.initialisation_s,
        "secret_key_rate_mean_bps": rate.mean,
        "secret_key_rate_min_bps": rate.least,
        "secret_key_rate_max_bps": rate.largest,
        "qber_mean": qber.mean,
        "qber_min": qber.least,
        "qber_max": qber.largest,
        "blocks": turn.blocks,
        "generating_s": turn.generating_s,
        "keys": turn.keys,
        "start_up_real_s": turn.start_up_real_s,
    }

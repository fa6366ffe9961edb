"""The link's figures against the published ones and against the fit's own table."""

from __future__ import annotations

import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.clavis2 import physics
from emulators.clavis2.physics import InitialisationModel, initialisation_s, line

ONE_PASSAGE_DB = 1.548


def at(km: float):
    return line(ONE_PASSAGE_DB + 0.2 * km, km)


@pytest.mark.parametrize(
    ("km", "mu", "sifted_bps", "qber_percent", "rate_bps"),
    [
        (0, 0.526, 7257, 0.89, 4000),
        (5, 0.418, 4781, 1.20, 2453),
        (10, 0.332, 3066, 1.69, 1399),
        (15, 0.263, 1931, 2.44, 727),
        (20, 0.209, 1208, 3.59, 326),
        (25, 0.166, 758, 5.30, 100),
    ],
)
def test_the_table_of_the_fit(
    km: float, mu: float, sifted_bps: float, qber_percent: float, rate_bps: float
) -> None:
    working = at(km)
    assert working.mean_photon_number == pytest.approx(mu, rel=0.02)
    assert working.sifted_rate_bps == pytest.approx(sifted_bps, rel=0.02)
    assert working.qber * 100 == pytest.approx(qber_percent, rel=0.02)
    assert working.secret_key_rate_bps == pytest.approx(rate_bps, rel=0.02)


@pytest.mark.parametrize("model", list(InitialisationModel))
@pytest.mark.parametrize(("km", "seconds"), [(0, 400.0), (5, 451.1), (15, 677.4), (25, 1265.0)])
def test_initialisation_times(model: InitialisationModel, km: float, seconds: float) -> None:
    assert initialisation_s(at(km), model) == pytest.approx(seconds, rel=0.02)


def test_the_physical_initialisation_follows_the_loss_and_the_papers_does_not() -> None:
    near, lossy = line(2.548, 5), line(4.096, 5)
    assert initialisation_s(lossy) > 1.2 * initialisation_s(near)
    paper = InitialisationModel.PAPER
    assert initialisation_s(lossy, paper) == initialisation_s(near, paper)


def test_no_key_is_left_beyond_the_limit() -> None:
    assert line(7.33, 28.9).secret_key_rate_bps > 0
    assert line(7.35, 29.0).secret_key_rate_bps == 0
    assert at(30).secret_key_rate_bps == 0


def test_a_second_passage_ends_the_25_km_link() -> None:
    assert line(2 * ONE_PASSAGE_DB + 5.0, 25).secret_key_rate_bps == 0


@given(st.floats(0, 300), st.floats(0, 1000))
def test_every_line_has_sound_figures(loss_db: float, fibre_km: float) -> None:
    working = line(loss_db, fibre_km)
    assert working.sifted_rate_bps > 0
    assert 0 < working.qber <= 0.5
    assert 0 <= working.multi_photon_share <= 1
    assert 0 <= working.secret_key_rate_bps <= working.sifted_rate_bps
    assert initialisation_s(working) >= physics.FIXED_INITIALISATION_S


@given(st.floats(0, 60), st.floats(0.01, 10))
def test_more_loss_never_helps(loss_db: float, more_db: float) -> None:
    near, far = line(loss_db, 10), line(loss_db + more_db, 10)
    assert far.qber >= near.qber
    assert far.sifted_rate_bps <= near.sifted_rate_bps
    assert far.secret_key_rate_bps <= near.secret_key_rate_bps


@pytest.mark.parametrize(("loss_db", "km"), [(-1, 0), (0, -1), (float("nan"), 0)])
def test_absurd_lines(loss_db: float, km: float) -> None:
    with pytest.raises(ValueError, match="negative"):
        line(loss_db, km)


@pytest.mark.parametrize("mean", [0.3, 40, 400, 50_000])
def test_poisson_scatter(mean: float) -> None:
    dice = Random(5)
    counts = [physics.poisson(dice, mean) for _ in range(3000)]
    assert statistics.mean(counts) == pytest.approx(mean, abs=5 * (mean / 3000) ** 0.5)
    assert statistics.variance(counts) == pytest.approx(mean, rel=0.15)


@pytest.mark.parametrize(
    ("trials", "share"), [(100, 0.02), (7580, 0.053), (100_000, 1e-5), (60, 0.95), (10, 0.5)]
)
def test_binomial_scatter(trials: int, share: float) -> None:
    dice = Random(5)
    counts = [physics.binomial(dice, trials, share) for _ in range(3000)]
    variance = trials * share * (1 - share)
    assert all(0 <= count <= trials for count in counts)
    assert statistics.mean(counts) == pytest.approx(
        trials * share, abs=5 * (variance / 3000) ** 0.5
    )
    assert statistics.variance(counts) == pytest.approx(variance, rel=0.15)


@given(st.integers(0, 10**7), st.floats(0, 1), st.integers())
def test_binomial_stays_in_its_range(trials: int, share: float, seed: int) -> None:
    assert 0 <= physics.binomial(Random(seed), trials, share) <= trials


def test_blocks_scatter_around_the_rate() -> None:
    dice, working, block_s = Random(11), at(25), 100.0
    rates = []
    for _ in range(400):
        sifted = physics.poisson(dice, working.sifted_rate_bps * block_s)
        qber = physics.binomial(dice, sifted, working.qber) / sifted
        rates.append(sifted * working.secret_fraction(qber) / block_s)
    assert statistics.mean(rates) == pytest.approx(100, rel=0.02)
    assert 2 < statistics.stdev(rates) < 20

"""Intervals: against the formulas, against drawing by hand, and how often they hold."""

from __future__ import annotations

import math

import kaldialign
import numpy as np
import pytest

from ray_asr.errors import ConfigError
from ray_asr.results.bootstrap import Bootstrap, Interval, name_keys, row_keys, share


def resampled(bootstrap: Bootstrap, keys: np.ndarray, *counts: np.ndarray) -> np.ndarray:
    sums = bootstrap.sums(len(counts))
    values = np.stack(counts).astype(float)
    for some, weights in bootstrap.weights(keys):
        sums += values[:, some] @ weights
    return sums


def interval(
    errors: np.ndarray, units: np.ndarray, bootstrap: Bootstrap | None = None
) -> Interval | None:
    bootstrap = bootstrap or Bootstrap()
    return bootstrap.interval(*resampled(bootstrap, row_keys(0, len(errors)), errors, units))


def rows(count: int, seed: int = 0, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of rows, some of them much worse than others."""
    rng = np.random.default_rng(seed)
    units = rng.integers(1, 30, count)
    return rng.binomial(units, rng.beta(2 * rate, 2 * (1 - rate), count)), units


def test_a_weight_is_poissons_with_mean_1() -> None:
    bootstrap = Bootstrap(samples=1000, seed=3)
    weights = np.concatenate([part for _, part in bootstrap.weights(row_keys(0, 4000))])
    assert weights.shape == (4000, 1000)
    shares = np.bincount(weights.ravel(), minlength=9) / weights.size
    for count in range(7):
        chance = math.exp(-1) / math.factorial(count)
        spread = math.sqrt(chance / weights.size)
        assert shares[count] == pytest.approx(chance, abs=5 * spread + 1e-5)
    # Rows have nothing to do with each other, nor have resamples.
    centred = weights - 1.0
    for side in (centred[:300], centred[:, :300].T):
        together = side @ side.T / side.shape[1]
        np.fill_diagonal(together, 0.0)
        assert abs(together.mean()) < 2e-3
        assert abs(together).max() < 7 / math.sqrt(side.shape[1])


def test_a_weight_hangs_on_the_row_the_resample_and_the_seed_alone() -> None:
    bootstrap = Bootstrap(samples=333, seed=1)
    whole = np.concatenate([part for _, part in bootstrap.weights(row_keys(0, 8000))])
    later = np.concatenate([part for _, part in bootstrap.weights(row_keys(5000, 100))])
    assert (whole[5000:5100] == later).all()
    ((_, again),) = bootstrap.weights(row_keys(5000, 100)[::-1])
    assert (again[::-1] == later).all()
    ((_, other),) = Bootstrap(samples=333, seed=2).weights(row_keys(5000, 100))
    assert 0.6 < (other != later).mean() < 0.8


@pytest.mark.parametrize("count", [60, 400])
def test_an_interval_is_that_of_drawing_rows_by_hand(count: int) -> None:
    errors, units = rows(count)
    drawn = np.random.default_rng(5).integers(0, count, (4000, count))
    rates = errors[drawn].sum(axis=1) / units[drawn].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    found = interval(errors, units, Bootstrap(samples=4000))
    assert found is not None
    width = high - low
    assert found.low == pytest.approx(low, abs=0.06 * width)
    assert found.high == pytest.approx(high, abs=0.06 * width)


def test_an_interval_is_as_wide_as_the_formula_of_a_ratio_says() -> None:
    errors, units = rows(500)
    rate = errors.sum() / units.sum()
    deviation = math.sqrt(((errors - rate * units) ** 2).sum()) / units.sum()
    found = interval(errors, units, Bootstrap(samples=4000))
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.06)


def test_an_interval_of_single_words_is_that_of_the_binomial_distribution() -> None:
    errors, units = np.arange(1000) % 10 == 0, np.ones(1000)
    found = interval(errors.astype(int), units, Bootstrap(samples=4000, confidence=0.9))
    deviation = math.sqrt(0.1 * 0.9 / 1000)
    assert found is not None
    assert found.low == pytest.approx(0.1 - 1.645 * deviation, abs=0.1 * deviation)
    assert found.high == pytest.approx(0.1 + 1.645 * deviation, abs=0.1 * deviation)


def test_an_interval_is_that_of_kaldialign() -> None:
    errors, units = rows(300, seed=2)
    references = [["a"] * n for n in units]
    texts = [["b"] * wrong + ["a"] * (n - wrong) for wrong, n in zip(errors, units, strict=True)]
    expected = kaldialign.bootstrap_wer_ci(references, texts, replications=4000)
    found = interval(errors, units, Bootstrap(samples=4000))
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * expected["ci95"], rel=0.06)


def test_nine_of_ten_intervals_of_nine_tenths_hold_the_true_rate() -> None:
    """400 test sets of 150 rows, all drawn from one source whose rate is known."""
    rate, held = 0.1, 0
    for seed in range(400):
        errors, units = rows(150, seed, rate)
        found = interval(errors, units, Bootstrap(samples=300, confidence=0.9, seed=seed))
        assert found is not None
        held += found.low <= rate <= found.high
    assert 0.84 <= held / 400 <= 0.95


def test_rows_of_one_speaker_are_drawn_together() -> None:
    speakers = [f"speaker {number % 20}" for number in range(1000)]
    errors = np.array([number % 20 for number in range(1000)])
    units, bootstrap = np.full(1000, 40), Bootstrap(samples=2000)
    apart = interval(errors, units, bootstrap)
    together = bootstrap.interval(*resampled(bootstrap, name_keys(speakers), errors, units))
    assert apart is not None
    assert together is not None
    # 50 rows of a speaker say what one does, so that the interval is the root of 50 times as wide.
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(math.sqrt(50), rel=0.15)


def test_the_probability_of_improvement_is_that_of_kaldialign() -> None:
    errors, units = rows(200, seed=4)
    rng = np.random.default_rng(1)
    others = np.clip(errors + rng.integers(-1, 2, 200), 0, units)
    references = [["a"] * n for n in units]
    texts = [
        [["b"] * wrong + ["a"] * (n - wrong) for wrong, n in zip(some, units, strict=True)]
        for some in (errors, others)
    ]
    expected = kaldialign.bootstrap_wer_ci(references, *texts, replications=4000)
    bootstrap = Bootstrap(samples=4000)
    mine, theirs, _ = resampled(bootstrap, row_keys(0, 200), errors, others, units)
    assert share(theirs < mine) == pytest.approx(expected["p_s2_improv_over_s1"], abs=0.04)


def test_what_cannot_be_said_is_not_said() -> None:
    assert interval(np.array([3]), np.array([10])) is None
    assert interval(np.array([3, 2]), np.array([0, 0])) is None
    assert Bootstrap(samples=0).interval(np.zeros(0), np.zeros(0)) is None
    assert interval(np.zeros(50, int), np.full(50, 10)) is None
    one_speaker = Bootstrap().weights(name_keys(["a"] * 50))
    ((_, weights),) = one_speaker
    sums = np.full(50, 1.0) @ weights
    assert Bootstrap().interval(sums, 10 * sums) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": 99}, "use 0 for no intervals, or from 100 to 100,000"),
        ({"samples": -1}, "use 0 for no intervals"),
        ({"samples": 100_001}, "use 0 for no intervals"),
        ({"confidence": 1.0}, "use a share between 0 and 1, such as 0.95"),
        ({"confidence": 95.0}, "use a share between 0 and 1"),
        ({"confidence": math.nan}, "use a share between 0 and 1"),
    ],
)
def test_numbers_that_cannot_work_are_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Bootstrap(**given)  # type: ignore[arg-type]


def test_many_resamples_are_drawn_a_few_rows_at_a_time() -> None:
    slices = [some for some, _ in Bootstrap(samples=100_000).weights(row_keys(0, 25))]
    assert slices == [slice(0, 10), slice(10, 20), slice(20, 25)]
    assert not list(Bootstrap(samples=0).weights(row_keys(0, 25)))

"""How sure an error rate is: intervals by the bootstrap.

Owns resampling and what is read off the resamples. Knows nothing of texts or files.

A resample draws rows (or blocks of rows that belong together, such as those of a speaker) with
replacement; the rates of many resamples say how far the rate of other rows of the same kind would
lie. How often a row is drawn is Poisson's with mean 1, and a function of the row's key, the
resample and the seed alone: so rows can pass by once, in any order and number, and what is held are
the sums of each resample. Two outputs, and groups of rows, are weighted alike.

Source: M. Bisani, H. Ney: Bootstrap estimates for confidence intervals in ASR performance
evaluation, ICASSP 2004; N. Chamandy et al.: Estimating uncertainty for massive data streams,
Google 2012 (Poisson weights).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ray_asr.errors import ConfigError

FEWEST_SAMPLES, MOST_SAMPLES = 100, 100_000
_AT_ONCE = 2**20  # weights in memory at a time
_LANES = 4  # weights made of one number of 64 bits
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a rate lies, with some confidence."""

    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The interval for JSON."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How resamples are drawn and read.

    Attributes:
        samples: how many resamples; 0 for none, and no intervals.
        confidence: the share of resamples in an interval.
        seed: another one draws others.
        by: the column whose values are drawn with all their rows; None to draw rows.

    Raises:
        ConfigError: a number cannot work.
    """

    samples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    by: str | None = None

    def __post_init__(self) -> None:
        if self.samples and not FEWEST_SAMPLES <= self.samples <= MOST_SAMPLES:
            raise ConfigError(
                f"bootstrap_samples is {self.samples}: use 0 for no intervals, or from "
                f"{FEWEST_SAMPLES} to {MOST_SAMPLES:,}"
            )
        if not 0.0 < self.confidence < 1.0:
            raise ConfigError(
                f"confidence is {self.confidence}: use a share between 0 and 1, such as 0.95"
            )

    def to_dict(self) -> dict[str, int | float | str | None]:
        """The settings for JSON."""
        return {
            "samples": self.samples,
            "confidence": self.confidence,
            "seed": self.seed,
            "by": self.by,
        }

    def sums(self, columns: int) -> np.ndarray:
        """Zeros `(columns, samples)` to add weighted counts to."""
        return np.zeros((columns, self.samples))

    def weights(self, keys: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """How often each of the rows with these keys is drawn, some rows at a time.

        Yields:
            Which rows, and their weights `(rows, samples)`.
        """
        rows = max(_AT_ONCE // max(self.samples, 1), 1)
        for start in range(0, len(keys) if self.samples else 0, rows):
            some = slice(start, min(start + rows, len(keys)))
            yield some, _weights(keys[some], self.samples, self.seed)

    def interval(self, errors: np.ndarray, units: np.ndarray) -> Interval | None:
        """Where errors / units lies, by their sums in each resample.

        None where resamples cannot say: their rates differ in nothing (no errors, a single row, a
        single block), or half of them have no units.
        """
        drawn = units > 0
        if 2 * int(drawn.sum()) < max(self.samples, 1):
            return None
        rates = errors[drawn] / units[drawn]
        if rates.min() == rates.max():
            return None
        tail = (1.0 - self.confidence) / 2
        low, high = np.quantile(rates, [tail, 1.0 - tail])
        return Interval(float(low), float(high))


def interval_json(interval: Interval | None) -> dict[str, float] | None:
    """An interval, or none, for JSON."""
    return None if interval is None else interval.to_dict()


def row_keys(start: int, count: int) -> np.ndarray:
    """Keys of rows that are drawn one by one: their numbers, from `start` on."""
    return np.arange(start, start + count, dtype=np.uint64)


def name_keys(names: Sequence[str]) -> np.ndarray:
    """Keys of names, 64 bits of a hash that nobody finds two alike of by chance."""
    if not names:
        return np.empty(0, np.uint64)
    digests = [
        blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest() for name in names
    ]
    return np.frombuffer(b"".join(digests), "<u8")


def weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums `(columns, samples)` of values `(rows, columns)` in each resample.

    Not by `@`: its threads would wait for cores that others use longer than the sum takes.
    """
    columns = np.ascontiguousarray(values.T, float)
    return np.einsum("cr,rs->cs", columns, weights.astype(float))


def share(holds: np.ndarray) -> float:
    """The share of resamples in which something holds."""
    return float(np.mean(holds)) if holds.size else math.nan


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers of 64 bits that have nothing to do with one another (SplitMix64's last steps)."""
    numbers = numbers * _STEP
    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    numbers ^= numbers >> np.uint64(31)
    return numbers


@functools.cache
def _poisson() -> np.ndarray:
    """The Poisson number with mean 1 that each number of 16 bits stands for."""
    chances = [math.exp(-1) / math.factorial(count) for count in range(12)]
    return np.searchsorted(np.cumsum(chances), (np.arange(2**16) + 0.5) / 2**16).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _lanes(samples: int, seed: int) -> np.ndarray:
    """What tells the resamples apart: a number for every four of them."""
    start = _mixed(np.array([seed % 2**64], np.uint64))
    return _mixed(start + np.arange(1, -(-samples // _LANES) + 1, dtype=np.uint64))


def _weights(keys: np.ndarray, samples: int, seed: int) -> np.ndarray:
    drawn = _mixed(_mixed(keys + np.uint64(1))[:, None] ^ _lanes(samples, seed)[None, :])
    return _poisson()[drawn.astype("<u8", copy=False).view("<u2")[:, :samples]]

"""Counts by size that stay small however many values come.

Owns the bins and their form in JSON. Must not know what is counted, nor how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# Bins of a scale of factors: eight to an octave tell 4.0 s from 4.4 s.
_TO_AN_OCTAVE = 8

Floats = npt.NDArray[np.float64]


class Histogram:
    """Counts between edges; what lies outside counts in the first or the last bin.

    Args:
        edges: rising, one more than there are bins.
        counts: of each bin; none where not given.
    """

    def __init__(self, edges: Iterable[float], counts: Iterable[int] | None = None) -> None:
        self.edges: Floats = np.asarray(list(edges), np.float64)
        bins = len(self.edges) - 1
        self.counts = np.zeros(bins, np.int64)
        if counts is not None:
            self.counts[:] = np.asarray(list(counts), np.int64)

    @property
    def total(self) -> int:
        """How many values have come."""
        return int(self.counts.sum())

    def add(self, values: npt.ArrayLike) -> None:
        """Count values; what is no number is left out."""
        numbers = np.asarray(values, np.float64)
        numbers = numbers[np.isfinite(numbers)]
        bins = np.searchsorted(self.edges, numbers, side="right") - 1
        np.add.at(self.counts, np.clip(bins, 0, len(self.counts) - 1), 1)

    def quantile(self, share: float) -> float | None:
        """A value that about this share of all do not exceed; None without any."""
        if not self.total:
            return None
        reached = np.cumsum(self.counts)
        rank = max(1.0, share * float(reached[-1]))
        place = int(np.searchsorted(reached, rank))
        below = float(reached[place - 1]) if place else 0.0
        part = (rank - below) / float(self.counts[place])
        low, high = self.edges[place], self.edges[place + 1]
        return float(low + min(max(part, 0.0), 1.0) * (high - low))

    def trimmed(self, most_bins: int) -> Histogram:
        """The bins from the first to the last that hold something, neighbours joined if many."""
        filled = np.flatnonzero(self.counts)
        if not len(filled):
            return Histogram(self.edges[:2], [0])
        first, last = int(filled[0]), int(filled[-1]) + 1
        together = -(-(last - first) // most_bins)
        last = min(len(self.counts), first + together * -(-(last - first) // together))
        starts = np.arange(first, last, together)
        counts = np.add.reduceat(self.counts[:last], starts)
        return Histogram([*self.edges[starts], self.edges[last]], counts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"edges": self.edges.tolist(), "counts": self.counts.tolist()}


def from_dict(values: Any) -> Histogram | None:
    """What `to_dict` gave; None where it is something else."""
    if not isinstance(values, Mapping):
        return None
    try:
        edges = np.asarray(values["edges"], np.float64)
        counts = np.asarray(values["counts"], np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    sound = edges.ndim == counts.ndim == 1 and len(edges) == len(counts) + 1 >= 2
    if not sound or not np.all(np.isfinite(counts)) or not np.all(np.diff(edges) > 0):
        return None
    return Histogram(edges, np.clip(counts, 0, 2**53).astype(np.int64))


def by_factors(least: float, most: float) -> Histogram:
    """One whose bins grow by the same factor, from `least` to `most` or a little more."""
    octaves = np.log2(most / least)
    steps = np.arange(int(np.ceil(octaves * _TO_AN_OCTAVE)) + 1)
    return Histogram(least * 2.0 ** (steps / _TO_AN_OCTAVE))


def by_steps(least: float, most: float, bins: int) -> Histogram:
    """One whose bins are all as wide."""
    return Histogram(np.linspace(least, most, bins + 1))

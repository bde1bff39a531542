"""Adds up scored rows: all of them, and those of each value of some columns.

Owns the sums and what intervals are read off them. Knows nothing of texts or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ray_asr.errors import DataError
from ray_asr.results.bootstrap import Bootstrap, Interval, interval_json, weighted
from ray_asr.results.counts import ErrorCounts

MOST_VALUES = 100_000  # of a column that rows are grouped by
_MOST_SUMS = 2**24  # numbers held for the intervals of a column's values

# A row's counts: hits, substitutions, deletions and insertions of words, then those of characters.
COUNTS = 8


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Error counts of some scored rows, with intervals where there is more than one row."""

    rows: int = 0
    wer: ErrorCounts = field(default_factory=ErrorCounts)
    cer: ErrorCounts = field(default_factory=ErrorCounts)
    wer_interval: Interval | None = None
    cer_interval: Interval | None = None

    def __add__(self, other: GroupScore) -> GroupScore:
        """The counts of both; intervals cannot be added."""
        return GroupScore(self.rows + other.rows, self.wer + other.wer, self.cer + other.cer)

    def to_dict(self) -> dict[str, Any]:
        """The group for JSON."""
        return {
            "rows": self.rows,
            "wer": {**self.wer.to_dict(), "interval": interval_json(self.wer_interval)},
            "cer": {**self.cer.to_dict(), "interval": interval_json(self.cer_interval)},
        }


def errors_and_units(counts: np.ndarray) -> np.ndarray:
    """Errors and units of words, then of characters: `(rows, 4)` of counts `(rows, 8)`."""
    parts = [side for at in (0, 4) for side in (counts[:, at + 1 : at + 4], counts[:, at : at + 3])]
    return np.stack([part.sum(axis=1) for part in parts], axis=1)


class _Sums:
    """Counts of rows, and their weighted sums in each resample where these are wanted."""

    def __init__(self, bootstrap: Bootstrap, with_intervals: bool = True) -> None:
        self._bootstrap = bootstrap
        self.rows = 0
        self.counts = np.zeros(COUNTS, np.int64)
        self.samples = bootstrap.sums(4) if with_intervals and bootstrap.samples else None

    def add(self, counts: np.ndarray) -> None:
        self.rows += len(counts)
        self.counts += counts.sum(axis=0)

    def draw(self, values: np.ndarray, weights: np.ndarray) -> None:
        if self.samples is not None:
            self.samples += weighted(values, weights)

    def score(self) -> GroupScore:
        words, characters = ErrorCounts.of(self.counts[:4]), ErrorCounts.of(self.counts[4:])
        if self.samples is None or self.rows < 2:
            return GroupScore(self.rows, words, characters)
        interval = self._bootstrap.interval
        return GroupScore(
            self.rows, words, characters, interval(*self.samples[:2]), interval(*self.samples[2:])
        )


class _Groups:
    """Sums for each value of a column."""

    def __init__(self, column: str, bootstrap: Bootstrap) -> None:
        self._column, self._bootstrap = column, bootstrap
        self._most_sums = _MOST_SUMS // max(4 * bootstrap.samples, 1)
        self._known: dict[str, _Sums] = {}

    def add(self, values: Sequence[str], counts: np.ndarray) -> None:
        for value, rows in _rows_by_value(values):
            if value not in self._known:
                self._begin(value)
            self._known[value].add(counts[rows])

    def draw(self, values: Sequence[str], numbers: np.ndarray, weights: np.ndarray) -> None:
        for value, rows in _rows_by_value(values):
            self._known[value].draw(numbers[rows], weights[rows])

    def scores(self) -> dict[str, GroupScore]:
        return {value: self._known[value].score() for value in sorted(self._known)}

    def _begin(self, value: str) -> None:
        if len(self._known) == MOST_VALUES:
            raise DataError(
                f"column {self._column!r} has more than {MOST_VALUES:,} values; group by one with "
                "fewer (--details writes what each row has)"
            )
        has_room = len(self._known) < self._most_sums
        if not has_room and len(self._known) == self._most_sums:
            for sums in self._known.values():  # all of a column have intervals, or none
                sums.samples = None
        self._known[value] = _Sums(self._bootstrap, has_room)


def _rows_by_value(values: Sequence[str]) -> list[tuple[str, list[int]]]:
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    return list(rows.items())


class Tally:
    """All rows, and those of each value of some columns.

    Args:
        by: the columns.
        bootstrap: how intervals are found.
    """

    def __init__(self, by: Sequence[str], bootstrap: Bootstrap) -> None:
        self._bootstrap = bootstrap
        self._all = _Sums(bootstrap)
        self._groups = {column: _Groups(column, bootstrap) for column in by}

    @property
    def rows(self) -> int:
        """How many rows were added."""
        return self._all.rows

    def add(self, counts: np.ndarray, values: Sequence[Sequence[str]], keys: np.ndarray) -> None:
        """Add rows.

        Args:
            counts: `(rows, 8)`.
            values: of each row, those in the columns.
            keys: what each row is drawn by.
        """
        self._all.add(counts)
        columns = dict(zip(self._groups, zip(*values, strict=True), strict=False))
        for column, group in self._groups.items():
            group.add(columns.get(column, ()), counts)
        numbers = errors_and_units(counts)
        for some, weights in self._bootstrap.weights(keys):
            self._all.draw(numbers[some], weights)
            for column, group in self._groups.items():
                group.draw(columns.get(column, ())[some], numbers[some], weights)

    def total(self) -> GroupScore:
        """All rows together."""
        return self._all.score()

    def groups(self) -> dict[str, dict[str, GroupScore]]:
        """Column → value → its rows."""
        return {column: group.scores() for column, group in self._groups.items()}

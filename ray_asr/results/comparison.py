"""An output beside another one, on the same rows.

Owns matching the rows of both by their ids, and how sure a difference is. Knows nothing of texts or
files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ray_asr.errors import DataError
from ray_asr.results.bootstrap import Bootstrap, Interval, interval_json, share, weighted
from ray_asr.results.by_id import Places
from ray_asr.results.tally import errors_and_units


@dataclass(frozen=True, slots=True)
class Difference:
    """What an output's error rate is beside another's, on the same rows.

    Attributes:
        rate: of this output.
        other_rate: of the other.
        difference: rate - other_rate: below 0 where this one is better.
        interval: of the difference.
        better: the share of resamples in which this one has fewer errors (probability of
            improvement).
        worse: the share of those in which it has more.
    """

    rate: float
    other_rate: float
    difference: float
    interval: Interval | None
    better: float | None
    worse: float | None

    def to_dict(self) -> dict[str, Any]:
        """The difference for JSON."""
        numbers = {
            "rate": self.rate,
            "other_rate": self.other_rate,
            "difference": self.difference,
            "better": self.better,
            "worse": self.worse,
        }
        finite = {
            name: None if value is None or np.isnan(value) else value
            for name, value in numbers.items()
        }
        return {**finite, "interval": interval_json(self.interval)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """An output beside another, on the rows that both have a score of.

    Attributes:
        against: the other output.
        wer: word error rates.
        cer: character error rates.
        rows: rows of both.
        rows_better: of them, those in which this output has fewer word errors.
        rows_worse: those in which it has more.
        rows_only_here: rows that the other has no score of.
        rows_only_there: rows of the other that this one has no score of.
    """

    against: str
    wer: Difference
    cer: Difference
    rows: int
    rows_better: int
    rows_worse: int
    rows_only_here: int
    rows_only_there: int

    def to_dict(self) -> dict[str, Any]:
        """The comparison for JSON."""
        return {
            "against": self.against,
            "rows": self.rows,
            "rows_better": self.rows_better,
            "rows_worse": self.rows_worse,
            "rows_only_here": self.rows_only_here,
            "rows_only_there": self.rows_only_there,
            "wer": self.wer.to_dict(),
            "cer": self.cer.to_dict(),
        }


class Rival:
    """The counts of another output by its rows' ids, and the comparison with it.

    Args:
        against: what the other output is called.
        bootstrap: how intervals are found.
    """

    def __init__(self, against: str, bootstrap: Bootstrap) -> None:
        self._against, self._bootstrap = against, bootstrap
        self._places = Places()
        self._parts: list[np.ndarray] = []
        self._counts = np.empty((0, 4), np.uint32)
        self._used = np.empty(0, bool)
        self._sums = np.zeros(6, np.int64)
        self._samples = bootstrap.sums(6)
        self._rows = self._better = self._worse = self._alone = 0

    def learn(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Rows of the other output."""
        self._places.add(keys)
        self._parts.append(errors_and_units(counts).astype(np.uint32))

    def close(self) -> None:
        """All of the other's rows are there.

        Raises:
            DataError: two of them have one id.
        """
        self._places.close()
        self._counts = np.concatenate([self._counts, *self._parts])
        self._parts = []
        self._used = np.zeros(len(self._counts), bool)
        if next(self._places.repeated(), None) is not None:
            raise self._ambiguous(f"the output {self._against}")

    def meet(self, ids: np.ndarray, counts: np.ndarray, keys: np.ndarray) -> None:
        """Compare rows of this output.

        Args:
            ids: keys of the rows' ids.
            counts: `(rows, 8)`.
            keys: what each row is drawn by.

        Raises:
            DataError: a row has other words in its reference there, or was compared before.
        """
        places = self._places.find(ids)
        both = places >= 0
        self._alone += int((~both).sum())
        mine, places = errors_and_units(counts[both]), places[both]
        if self._used[places].any() or len(np.unique(places)) < len(places):
            raise self._ambiguous("the output")
        self._used[places] = True
        theirs = self._counts[places].astype(np.int64)
        if (mine[:, 1::2] != theirs[:, 1::2]).any():
            raise DataError(
                f"{self._against} has other references for the same rows: give both the same "
                "reference file"
            )
        self._rows += len(places)
        self._better += int((mine[:, 0] < theirs[:, 0]).sum())
        self._worse += int((mine[:, 0] > theirs[:, 0]).sum())
        # Errors here, errors there, units: of words, then of characters.
        numbers = np.stack(
            [mine[:, 0], theirs[:, 0], mine[:, 1], mine[:, 2], theirs[:, 2], mine[:, 3]], axis=1
        )
        self._sums += numbers.sum(axis=0)
        for some, weights in self._bootstrap.weights(keys[both]):
            self._samples += weighted(numbers[some], weights)

    def comparison(self) -> Comparison:
        """What came of it.

        Raises:
            DataError: the outputs have no row in common.
        """
        if not self._rows:
            raise DataError(
                f"{self._against} has a score of none of these rows; compare outputs of one input"
            )
        return Comparison(
            against=self._against,
            wer=self._difference(0),
            cer=self._difference(3),
            rows=self._rows,
            rows_better=self._better,
            rows_worse=self._worse,
            rows_only_here=self._alone,
            rows_only_there=int((~self._used).sum()),
        )

    def _difference(self, at: int) -> Difference:
        here, there, units = self._sums[at : at + 3].tolist()
        rate, other = (n / units if units else float("nan") for n in (here, there))
        drawn_here, drawn_there, drawn_units = self._samples[at : at + 3]
        has_samples = self._bootstrap.samples > 0 and self._rows > 1
        return Difference(
            rate,
            other,
            rate - other,
            self._bootstrap.interval(drawn_here - drawn_there, drawn_units)
            if has_samples
            else None,
            share(drawn_here < drawn_there) if has_samples else None,
            share(drawn_here > drawn_there) if has_samples else None,
        )

    def _ambiguous(self, where: str) -> DataError:
        return DataError(
            f"{where} has an utterance_id twice, so the two cannot be matched; compare outputs "
            "whose ids are unique"
        )

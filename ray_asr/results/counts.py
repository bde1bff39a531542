"""Counts of right and wrong words.

Owns what an error rate is made of. Knows nothing of texts, files or how errors are found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Counts of an alignment, in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_units(self) -> int:
        """Words or characters in the references."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors for each unit of the references (1.0 is 100 %); NaN where they have none."""
        return self.errors / self.reference_units if self.reference_units else math.nan

    @classmethod
    def of(cls, counts: Iterable[int]) -> ErrorCounts:
        """From hits, substitutions, deletions and insertions, numpy's numbers or others."""
        return cls(*map(int, counts))

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    def to_dict(self) -> dict[str, float | int | None]:
        """The counts for JSON, which has no NaN: `rate` is None where there is none."""
        return {
            "rate": None if math.isnan(self.rate) else self.rate,
            "errors": self.errors,
            "reference_units": self.reference_units,
            "hits": self.hits,
            "substitutions": self.substitutions,
            "deletions": self.deletions,
            "insertions": self.insertions,
        }

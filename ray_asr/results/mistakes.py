"""What was taken for what, and the rows with most errors.

Owns what is kept of alignments beside their counts, in bounded memory however many rows there are.
Knows nothing of files, and not how it is shown.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray_asr.results.align import Alignment
from ray_asr.results.counts import ErrorCounts

MOST_WORST = 1000
CUT = "…"
_MOST_KEPT = 100_000  # different mistakes of a kind
_LONGEST = 40  # characters of a word
_SHOWN, _BEFORE = 80, 5  # words of a worst row, and how many of them stand before its first error

Pair = tuple[str, str]  # a word and what was recognized in its place, "" where there is none


@dataclass(frozen=True, slots=True)
class Confusions:
    """The most frequent mistakes, each with how often it was made.

    Attributes:
        substitutions: (said, recognized, how often).
        deletions: (said, how often).
        insertions: (recognized, how often).
        is_exact: whether the counts are sure; else there were so many different mistakes that each
            can have been made more often.
    """

    substitutions: tuple[tuple[str, str, int], ...] = ()
    deletions: tuple[tuple[str, int], ...] = ()
    insertions: tuple[tuple[str, int], ...] = ()
    is_exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The mistakes for JSON."""
        return {
            "substitutions": [
                {"reference": said, "text": heard, "count": count}
                for said, heard, count in self.substitutions
            ],
            "deletions": [{"reference": word, "count": count} for word, count in self.deletions],
            "insertions": [{"text": word, "count": count} for word, count in self.insertions],
            "exact": self.is_exact,
        }


@dataclass(frozen=True, slots=True)
class WorstRow:
    """A row with many errors.

    Attributes:
        utterance_id: of the row.
        status: of the row.
        counts: its errors.
        pairs: its words beside what was recognized, from shortly before the first error; what is
            cut off stands as "…" in both.
    """

    utterance_id: str
    status: str
    counts: ErrorCounts
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            "utterance_id": self.utterance_id,
            "status": self.status,
            **self.counts.to_dict(),
            "reference": [said for said, _ in self.pairs],
            "text": [heard for _, heard in self.pairs],
        }


@dataclass(slots=True)
class _Counted:
    """How often each of some things was seen, of which only the frequent ones are kept."""

    counts: Counter[Any] = field(default_factory=Counter)
    is_exact: bool = True

    def add(self, thing: Any) -> None:
        self.counts[thing] += 1
        if len(self.counts) > 2 * _MOST_KEPT:
            self.counts = Counter(dict(self.counts.most_common(_MOST_KEPT)))
            self.is_exact = False

    def top(self, count: int) -> list[tuple[Any, int]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:count]


class Mistakes:
    """Takes note of rows as they pass.

    Args:
        confusions: how many of the most frequent mistakes of each kind are wanted.
        worst: how many of the rows with most errors are wanted.
    """

    def __init__(self, confusions: int, worst: int) -> None:
        self._confusions, self._most_worst = confusions, worst
        self._substituted, self._deleted, self._inserted = _Counted(), _Counted(), _Counted()
        self._worst: list[tuple[int, float, int, WorstRow]] = []
        self._rows = 0

    def add(
        self,
        utterance_id: str,
        status: str,
        reference: Sequence[str],
        text: Sequence[str],
        alignment: Alignment,
        counts: ErrorCounts,
    ) -> None:
        """A row with errors."""
        self._rows += 1
        if self._confusions:
            for step in alignment.steps:
                self._note(reference, text, step)
        if not self._most_worst:
            return
        rate = math.inf if math.isnan(counts.rate) else counts.rate
        rank = (counts.errors, rate, -self._rows)
        if len(self._worst) == self._most_worst and rank < self._worst[0][:3]:
            return
        row = WorstRow(utterance_id, status, counts, shown_pairs(reference, text, alignment))
        push = heapq.heappush if len(self._worst) < self._most_worst else heapq.heappushpop
        push(self._worst, (*rank, row))

    def confusions(self) -> Confusions:
        """The most frequent mistakes."""
        kinds = (self._substituted, self._deleted, self._inserted)
        tops = [kind.top(self._confusions) for kind in kinds]
        return Confusions(
            tuple((said, heard, count) for (said, heard), count in tops[0]),
            tuple(tops[1]),
            tuple(tops[2]),
            all(kind.is_exact for kind in kinds),
        )

    def worst(self) -> tuple[WorstRow, ...]:
        """The rows with most errors, the worst first; of equals the one with the higher rate."""
        return tuple(entry[3] for entry in sorted(self._worst, key=lambda e: e[:3], reverse=True))

    def _note(
        self, reference: Sequence[str], text: Sequence[str], step: tuple[str, int, int, int, int]
    ) -> None:
        tag, start, end, text_start, text_end = step
        if tag == "replace":
            for said, heard in zip(reference[start:end], text[text_start:text_end], strict=True):
                self._substituted.add((_short(said), _short(heard)))
        elif tag == "delete":
            for said in reference[start:end]:
                self._deleted.add(_short(said))
        elif tag == "insert":
            for heard in text[text_start:text_end]:
                self._inserted.add(_short(heard))


def shown_pairs(
    reference: Sequence[str], text: Sequence[str], alignment: Alignment
) -> tuple[Pair, ...]:
    """Words beside each other from shortly before the first error, some of them."""
    shown: list[Pair] = []
    for pair in _pairs(reference, text, alignment):
        if len(shown) == _SHOWN:
            shown.append((CUT, CUT))
            break
        shown.append((_short(pair[0]), _short(pair[1])))
    return tuple(shown)


def _pairs(reference: Sequence[str], text: Sequence[str], alignment: Alignment) -> Iterator[Pair]:
    for number, (tag, start, end, text_start, text_end) in enumerate(alignment.steps):
        if number == 0 and tag == "equal" and end - start > _BEFORE:
            yield CUT, CUT
            text_start += end - start - _BEFORE
            start = end - _BEFORE
        for offset in range(max(end - start, text_end - text_start)):
            yield (
                reference[start + offset] if tag != "insert" else "",
                text[text_start + offset] if tag != "delete" else "",
            )


def _short(word: str) -> str:
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + CUT

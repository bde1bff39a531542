"""Alignments of a reference with what was recognized.

Owns finding the fewest substitutions, deletions and insertions, in bounded time for texts of any
length. Knows nothing of what a word is, of files or of rates.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

import numpy as np
from rapidfuzz.distance import Levenshtein

from ray_asr.results.counts import ErrorCounts

# Some seconds of one core; 260,000 words against as many.
EXACT_CELLS = 2**36
_PIECE_CELLS = 2**32  # a tenth of a second
_GRAMS = (24, 6, 2)  # equal stretches of so many units, that stand once in both, are cut at
_CHARACTERS = 0x110000

Step = tuple[str, int, int, int, int]
_Encoded = str | list[int]
_Part = tuple[int, int, int, int]  # from where to where in the reference, and in the text


@dataclass(frozen=True, slots=True)
class Alignment:
    """A way to make a text of its reference.

    Attributes:
        steps: in order, each `equal`, `replace`, `delete` or `insert`, where it begins and ends in
            the reference, and where in the text.
        is_exact: whether no other way has fewer errors for certain.
    """

    steps: list[Step]
    is_exact: bool = True

    def counts(self) -> ErrorCounts:
        """How many units are right and wrong."""
        found = {"equal": 0, "replace": 0, "delete": 0, "insert": 0}
        for tag, start, end, text_start, text_end in self.steps:
            found[tag] += max(end - start, text_end - text_start)
        return ErrorCounts(*found.values())


def align(
    reference: Sequence[str], text: Sequence[str], most_cells: int = EXACT_CELLS
) -> Alignment:
    """Align a text with its reference, unit by unit: a string's are its characters.

    The time of an exact alignment grows with the product of both lengths. Where that is more than
    `most_cells`, both are cut at long stretches that they share, and the pieces are aligned: the
    number of errors can then be more than the least one, and is never less.
    """
    length, text_length = len(reference), len(text)
    if length == text_length and reference == text:
        return Alignment([("equal", 0, length, 0, length)] if length else [])
    first, second = _encoded(reference, text)
    if length * text_length <= most_cells:
        return Alignment(_exact(first, second))
    pieces = _Pieces(first, second, min(most_cells, _PIECE_CELLS))
    return Alignment(pieces.steps((0, length, 0, text_length), 0), is_exact=False)


def _encoded(reference: Sequence[str], text: Sequence[str]) -> tuple[_Encoded, _Encoded]:
    """Both as strings with a character for each different unit, which are compared fastest."""
    if isinstance(reference, str) and isinstance(text, str):
        return reference, text
    known: dict[str, int] = {}
    first = [known.setdefault(unit, len(known)) for unit in reference]
    second = [known.setdefault(unit, len(known)) for unit in text]
    if len(known) > _CHARACTERS:
        return first, second
    return "".join(map(chr, first)), "".join(map(chr, second))


def _exact(first: _Encoded, second: _Encoded) -> list[Step]:
    return [(tag, a, b, c, d) for tag, a, b, c, d in Levenshtein.opcodes(first, second)]  # type: ignore[misc]


def _numbers(encoded: _Encoded) -> np.ndarray:
    if isinstance(encoded, str):
        return np.frombuffer(encoded.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    return np.array(encoded, np.uint64)


class _Pieces:
    """Alignments of parts of two long texts.

    Args:
        first: the one.
        second: the other.
        most_cells: the product of both lengths that is aligned without a cut.
    """

    def __init__(self, first: _Encoded, second: _Encoded, most_cells: int) -> None:
        self._first, self._second = first, second
        self._numbers, self._others = _numbers(first), _numbers(second)
        self._most_cells = most_cells
        self._distance = max(isqrt(most_cells) // 4, 1)

    def steps(self, part: _Part, level: int) -> list[Step]:
        """A part's alignment, cut at stretches of the length of a level and of those after it.

        Short ones that are the same by chance lead astray. Where they did, the part is cut in
        halves instead, and most of it is wrong wherever it is cut.
        """
        start, end, text_start, text_end = part
        if (end - start) * (text_end - text_start) <= self._most_cells:
            steps = _exact(self._first[start:end], self._second[text_start:text_end])
            return [
                (tag, start + a, start + b, text_start + c, text_start + d)
                for tag, a, b, c, d in steps
            ]
        if level == len(_GRAMS):
            return self._cut(part, [((end - start) // 2, (text_end - text_start) // 2)], level)
        found = _shared(self._numbers[start:end], self._others[text_start:text_end], _GRAMS[level])
        cuts = _spread(found, self._distance)
        if not cuts:
            return self.steps(part, level + 1)
        steps = self._cut(part, cuts, level + 1)
        if 2 * _errors(steps) <= max(end - start, text_end - text_start):
            return steps
        return min(steps, self.steps(part, len(_GRAMS)), key=_errors)

    def _cut(self, part: _Part, cuts: list[tuple[int, int]], level: int) -> list[Step]:
        start, end, text_start, text_end = part
        inner = [(start + at, text_start + text_at) for at, text_at in cuts]
        edges = [(start, text_start), *inner, (end, text_end)]
        parts = [(a, b, c, d) for (a, c), (b, d) in pairwise(edges)]
        return [step for one in parts for step in self.steps(one, level)]


def _errors(steps: list[Step]) -> int:
    return sum(max(b - a, d - c) for tag, a, b, c, d in steps if tag != "equal")


def _spread(points: list[tuple[int, int]], distance: int) -> list[tuple[int, int]]:
    """Of points in order, those so far from the last one in either coordinate."""
    chosen: list[tuple[int, int]] = []
    at = text_at = 0
    for point in points:
        if max(point[0] - at, point[1] - text_at) >= distance:
            chosen.append(point)
            at, text_at = point
    return chosen


def _shared(first: np.ndarray, second: np.ndarray, gram: int) -> list[tuple[int, int]]:
    """Middles of stretches of `gram` units that stand once in both, the most that are in order."""
    if min(len(first), len(second)) < gram:
        return []
    singles = [_once(_hashes(units, gram)) for units in (first, second)]
    _, found, text_found = np.intersect1d(
        singles[0][0], singles[1][0], assume_unique=True, return_indices=True
    )
    at, text_at = singles[0][1][found], singles[1][1][text_found]
    order = np.argsort(at)
    rising = _longest_rising(text_at[order].tolist())
    middle = gram // 2
    at, text_at = at[order][rising] + middle, text_at[order][rising] + middle
    return list(zip(at.tolist(), text_at.tolist(), strict=True))


def _hashes(units: np.ndarray, gram: int) -> np.ndarray:
    """A number for each stretch; where two have the same by chance, a cut is a poor one."""
    count = len(units) - gram + 1
    found = np.zeros(count, np.uint64)
    for place in range(gram):
        found *= np.uint64(0x9E3779B97F4A7C15)
        found += units[place : place + count] + np.uint64(1)
        found ^= found >> np.uint64(29)
    return found


def _once(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that stand once, and where."""
    values, places, counts = np.unique(hashes, return_index=True, return_counts=True)
    return values[counts == 1], places[counts == 1]


def _longest_rising(values: list[int]) -> list[int]:
    """Indices of a longest rising selection of different values."""
    ends: list[int] = []  # the least value that a selection of each length ends with
    holders: list[int] = []
    before = [-1] * len(values)
    for index, value in enumerate(values):
        length = bisect_left(ends, value)
        if length == len(ends):
            ends.append(value)
            holders.append(index)
        else:
            ends[length], holders[length] = value, index
        before[index] = holders[length - 1] if length else -1
    chosen: list[int] = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chosen.append(index)
        index = before[index]
    return chosen[::-1]

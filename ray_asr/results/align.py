"""Alignments of a reference with what was recognized.

Owns finding the fewest substitutions, deletions and insertions, in bounded time for texts of any
length. Knows nothing of what a word is, of files or of rates.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

import numpy as np
from rapidfuzz.distance import Levenshtein

from ray_asr.results.counts import ErrorCounts

# Some seconds of one core; 260,000 words against as many.
EXACT_CELLS = 2**36
_GRAMS = (24, 6, 2)  # equal stretches of so many units, that stand once in both, are cut at
_CHARACTERS = 0x110000

Step = tuple[str, int, int, int, int]
_Encoded = str | list[int]


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
    numbers, text_numbers = _numbers(first), _numbers(second)
    steps: list[Step] = []
    for start, end, text_start, text_end in _pieces(numbers, text_numbers, most_cells):
        piece = _exact(first[start:end], second[text_start:text_end])
        steps += [
            (tag, start + a, start + b, text_start + c, text_start + d) for tag, a, b, c, d in piece
        ]
    return Alignment(steps, is_exact=False)


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


def _pieces(
    first: np.ndarray, second: np.ndarray, most_cells: int
) -> Iterator[tuple[int, int, int, int]]:
    """Where both are cut: pieces whose alignment has at most `most_cells`, in order."""
    waiting = [(0, len(first), 0, len(second), 0)]
    while waiting:
        start, end, text_start, text_end, level = waiting.pop()
        if (end - start) * (text_end - text_start) <= most_cells:
            yield start, end, text_start, text_end
            continue
        if level < len(_GRAMS):
            shared = _shared(first[start:end], second[text_start:text_end], _GRAMS[level])
            cuts = _spread(shared, max(isqrt(most_cells) // 2, 1))
        else:  # nothing in common to be found: wherever it is cut, most is wrong
            cuts, level = [((end - start) // 2, (text_end - text_start) // 2)], level - 1
        edges = [
            (start, text_start),
            *((start + at, text_start + text_at) for at, text_at in cuts),
            (end, text_end),
        ]
        parts = [(a, b, c, d, level + 1) for (a, c), (b, d) in pairwise(edges)]
        waiting += reversed(parts)


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

"""One stretch of speech, cut where it is cheapest.

Owns what a cut costs and how a cue's text falls into lines. Must not know when cues are shown
beside their words, or files.

The cut is the cheapest of all: breaks where they read well (`subtitle_breaks`), enough time to
read, few cues. The costs are ours.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from ray_asr.results.subtitle_breaks import SENTENCE, break_cost
from ray_asr.results.subtitle_units import Unit

# What a cut costs beside its breaks (see `break_cost`).
_CUE = 5.0
_SECOND_LINE = 1.5
_LINE_SHARE = 0.35  # of the cost of a break between lines, which parts less than one between cues
_SENTENCE_INSIDE = 9.0
_TWO_SPEAKERS = 4.0
_TOO_FAST = 12.0
_TOO_SHORT = 10.0
_LEFT_OVER = 4.0
_UNEVEN = 6.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a cue, and who says it ("" where that is not known)."""

    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cue may be, in columns of half-width characters.

    Attributes:
        room: columns of a line, beside what stands before it.
        lines: of a cue.
        columns_per_ms: that can be read.
        min_ms: that a cue is shown.
        max_ms: that a cue is shown.
        gap_ms: between two cues.
    """

    room: int
    lines: int
    columns_per_ms: float
    min_ms: int
    max_ms: int
    gap_ms: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A cue without its final times: its words begin and end at these."""

    start_ms: int
    end_ms: int
    lines: tuple[Line, ...]
    columns: int


def cut_stretch(units: list[Unit], following_ms: int | None, limits: Limits) -> list[Cut]:
    """The cues of units without a long silence between them, in order.

    Args:
        units: one at least.
        following_ms: when the next stretch begins; None behind the last one.
        limits: what a cue may be.
    """
    return _Stretch(units, following_ms, limits).cut()


@dataclass(slots=True)
class _Stretch:
    """Units without a long silence between them, and the cheapest way to cut them.

    Attributes:
        units: in order.
        following_ms: when the next stretch begins; None behind the last one.
        limits: what a cue may be.
    """

    units: list[Unit]
    following_ms: int | None
    limits: Limits
    _ends: list[int] = field(init=False)  # columns of all units up to one, with their blanks
    _full: list[int] = field(init=False)  # the last unit of a line that begins with one
    _after: list[float] = field(init=False)  # what a break behind one costs
    _inside: list[float] = field(init=False)  # what it costs to have all boundaries in a cue

    def __post_init__(self) -> None:
        units = self.units
        self._ends = [0, *accumulate(unit.columns + unit.has_blank for unit in units)]
        self._full = [
            max(i, bisect_right(self._ends, self._ends[i] + unit.has_blank + self.limits.room) - 2)
            for i, unit in enumerate(units)
        ]
        self._after = [break_cost(*pair) for pair in pairwise(units)]
        self._after.append(SENTENCE)
        inside = [
            (_SENTENCE_INSIDE if cost == SENTENCE else 0.0)
            + max(following.start_ms - unit.end_ms - 300, 0) / 150
            for unit, following, cost in zip(units, units[1:], self._after, strict=False)
        ]
        self._inside = [0.0, *accumulate(inside)]

    def cut(self) -> list[Cut]:
        """The cues, in order."""
        count = len(self.units)
        best, came_from = [0.0] + [_NEVER] * count, [0] * (count + 1)
        for first in range(count):
            for last in range(first, count):
                cost = self._cost(first, last)
                if cost == _NEVER:
                    break
                if best[first] + cost < best[last + 1]:
                    best[last + 1], came_from[last + 1] = best[first] + cost, first
        cuts: list[Cut] = []
        stop = count
        while stop:
            first = came_from[stop]
            cuts.append(self._made(first, stop - 1))
            stop = first
        return cuts[::-1]

    def _columns(self, first: int, last: int) -> int:
        return self._ends[last + 1] - self._ends[first] - self.units[first].has_blank

    def _fits(self, first: int, last: int) -> bool:
        return last <= self._full[first]

    def _lines(self, first: int, last: int) -> int:
        """How many lines these units take."""
        lines, end = 1, self._full[first]
        while end < last:
            lines, end = lines + 1, self._full[end + 1]
        return lines

    def _turn(self, first: int, last: int) -> int | None:
        """Where the second speaker of a cue begins; None where it has one speaker."""
        turn = self.units[first].turn
        return next((k for k in range(first, last + 1) if self.units[k].turn != turn), None)

    def _cost(self, first: int, last: int) -> float:
        """What a cue of these units costs; `_NEVER` where neither it nor a longer one can be."""
        units, limits = self.units, self.limits
        begin, end = units[first], units[last]
        turns = end.turn - begin.turn
        is_one = first == last
        if turns > 1 or (end.end_ms - begin.start_ms > limits.max_ms and not is_one):
            return _NEVER
        columns = self._columns(first, last)
        cost = _CUE + self._after[last] + self._inside[last] - self._inside[first]
        if turns:
            second = self._turn(first, last) or last
            if limits.lines < 2 or not (self._fits(first, second - 1) and self._fits(second, last)):
                return _NEVER
            cost += _TWO_SPEAKERS
        elif (lines := self._lines(first, last)) > limits.lines:
            return _NEVER
        elif lines == 2:
            cost += _SECOND_LINE + _LINE_SHARE * self._best_line_break(first, last)
        elif lines > 2:
            cost += lines * _SECOND_LINE
        following_ms = units[last + 1].start_ms if last + 1 < len(units) else self.following_ms
        longest = limits.max_ms
        if following_ms is not None:
            longest = min(max(following_ms - limits.gap_ms - begin.start_ms, 1), longest)
        reading_ms = columns / limits.columns_per_ms
        if reading_ms > longest:
            cost += _TOO_FAST * min(reading_ms / longest - 1, 5.0)
        if longest < limits.min_ms:
            cost += _TOO_SHORT * (1 - longest / limits.min_ms)
        is_whole = self._after[last] == SENTENCE and (
            first == 0 or self._after[first - 1] == SENTENCE
        )
        if not is_whole and 3 * columns < self.limits.room:
            cost += _LEFT_OVER
        return cost

    def _best_line_break(self, first: int, last: int) -> float:
        return min(
            self._after[place]
            for place in range(first, min(self._full[first], last - 1) + 1)
            if self._fits(place + 1, last)
        )

    def _made(self, first: int, last: int) -> Cut:
        begin, second = self.units[first], self._turn(first, last)
        if second is None:
            spans = self._balanced(first, last, self._lines(first, last))[1]
        else:
            spans = [(first, second - 1), (second, last)]
        lines = tuple(
            Line(self._text(start, stop), self.units[start].speaker) for start, stop in spans
        )
        return Cut(
            begin.start_ms, max(unit.end_ms for unit in self.units[first : last + 1]), lines,
            self._columns(first, last),
        )  # fmt: skip

    def _balanced(
        self, first: int, last: int, lines: int, ideal: float = 0.0
    ) -> tuple[float, list[tuple[int, int]]]:
        """The best lines for these units: good breaks, even lengths, the upper one the shorter."""
        ideal = ideal or self._columns(first, last) / lines
        columns = self._columns(first, last)
        if lines == 1:
            return _UNEVEN * abs(columns - ideal) / self.limits.room, [(first, last)]
        options = []
        for place in range(first, min(self._full[first], last - 1) + 1):
            if self._lines(place + 1, last) > lines - 1:
                continue
            top = self._columns(first, place)
            cost, below = self._balanced(place + 1, last, lines - 1, ideal)
            cost += self._after[place] + _UNEVEN * abs(top - ideal) / self.limits.room
            cost += 0.5 * (top > ideal)
            options.append((cost, [(first, place), *below]))
        return min(options)

    def _text(self, first: int, last: int) -> str:
        units = self.units[first : last + 1]
        return units[0].text + "".join(
            f"{' ' if unit.has_blank else ''}{unit.text}" for unit in units[1:]
        )

"""A transcript as subtitles: which words stand together, in which lines, and from when to when.

Owns the cutting of a transcript into cues and their times. Must not know files or their formats.

All words stand in a cue once and in order, and no cue overlaps the next. The cut of each stretch of
speech is the cheapest one: breaks where they read well (`subtitle_breaks`), enough time to read,
few cues. Speech that is faster than the reading speed stays as it is said, since no word is left
out; its cues are shown as long as there is room, and counted as too fast.

Source of the numbers: Netflix's Timed Text Style Guides. General requirements: two lines at most,
5/6 to 7 seconds, two frames between cues. English and other languages in alphabets: 42 characters a
line, 17 a second (20 in the newer English one). Chinese: 16 full-width characters a line, 9 a
second (11 for the hard of hearing). A line of 37 characters, as the BBC has on teletext, is
`max_line_chars=37`. That a gap of less than half a second is closed to the shortest one is of the
general requirements too.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from ray_asr.errors import ConfigError
from ray_asr.results.subtitle_breaks import SENTENCE, break_cost
from ray_asr.results.subtitle_units import (
    Unit,
    columns_of,
    give_times,
    is_wide_text,
    plain_text,
    units_of,
)

_SILENCE_MS = 1000  # a cue never runs over a longer one
_CLOSED_MS = 458  # eleven frames of 24 a second: a shorter gap between cues flickers
_LEAST_SHOWN_MS = 250  # where speech leaves no more
_LABEL_SHARE = 3  # a speaker's label may take so much of a line: one third
_LONGEST_NAME = 80  # characters of a speaker's label, where it takes no room in a line

# What a cut costs beside its breaks (see `break_cost`).
_CUE = 5.0
_SECOND_LINE = 1.5
_LINE_SHARE = 0.35  # of the cost of a break between lines, which parts less than one between cues
_SENTENCE_INSIDE = 3.0
_TWO_SPEAKERS = 4.0
_TOO_FAST = 12.0
_TOO_SHORT = 10.0
_LEFT_OVER = 4.0
_UNEVEN = 6.0
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class CueStyle:
    """How long lines and cues may be.

    Attributes:
        max_line_chars: characters in a line, with blanks; 0 for 42, or 16 where the text is mostly
            in full-width characters. There a full-width character is one and others are a half;
            elsewhere a full-width one is two.
        max_lines: lines in a cue.
        max_cps: characters a second that can be read, counted as in a line; 0 for 17, or 9.
        min_duration_ms: that a cue is shown, where the next one leaves so much.
        max_duration_ms: that a cue is shown.
        gap_ms: between two cues.
        has_labels: that lines have the speaker's label before them, which takes room.
    """

    max_line_chars: int = 0
    max_lines: int = 2
    max_cps: float = 0.0
    min_duration_ms: int = 833
    max_duration_ms: int = 7000
    gap_ms: int = 83
    has_labels: bool = False

    def __post_init__(self) -> None:
        if self.max_line_chars and not 8 <= self.max_line_chars <= 500:
            raise ConfigError(
                f"max_line_chars is {self.max_line_chars}: use 8 to 500, or 0 for what is usual."
            )
        if not 1 <= self.max_lines <= 4:
            raise ConfigError(f"max_lines is {self.max_lines}: use 1 to 4.")
        if not (self.max_cps == 0 or 1 <= self.max_cps <= 1000):
            raise ConfigError(f"max_cps is {self.max_cps}: use at least 1, or 0 for what is usual.")
        if not 0 < self.min_duration_ms <= self.max_duration_ms:
            raise ConfigError(
                f"a cue of {self.min_duration_ms} to {self.max_duration_ms} ms cannot be: the "
                "shortest must be above 0 and no longer than the longest."
            )
        if not 0 <= self.gap_ms <= 1000:
            raise ConfigError(f"a gap of {self.gap_ms} ms between cues: use 0 to 1000 ms.")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a cue, and who says it ("" where that is not known)."""

    text: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Cue:
    """Some lines, and when they are shown.

    Attributes:
        lines: from the top; of two speakers, one has the first and the other the second.
        is_too_fast: whether it takes longer to read than it is shown.
    """

    start_ms: int
    end_ms: int
    lines: tuple[Line, ...]
    is_too_fast: bool = False


@dataclass(frozen=True, slots=True)
class _Limits:
    """A style in columns of half-width characters."""

    line: int
    lines: int
    columns_per_ms: float
    style: CueStyle


def make_cues(
    segments: Sequence[dict[str, Any]],
    style: CueStyle | None = None,
    *,
    language: str = "",
    duration_ms: int = 0,
) -> list[Cue]:
    """The cues of a transcript, in order.

    Args:
        segments: `start_ms`, `end_ms`, `text`, `words` and `speaker` of each, in order.
        style: how long lines and cues may be.
        language: a hint for how text is counted; "" to go by the text.
        duration_ms: of the recording, which no cue outlasts; 0 where it is not known.
    """
    style = style or CueStyle()
    texts = [plain_text(segment["text"]) for segment in segments]
    is_wide = is_wide_text("".join(texts), language)
    full = 2 if is_wide else 1
    line = (style.max_line_chars or (16 if is_wide else 42)) * full
    speed = (style.max_cps or (9 if is_wide else 17)) * full
    limits = _Limits(line, style.max_lines, speed / 1000, style)
    units: list[Unit] = []
    speakers = [plain_text(segment.get("speaker"))[:_LONGEST_NAME] for segment in segments]
    if style.has_labels:
        speakers = [_cut_to(speaker, line // _LABEL_SHARE - 3, is_wide) for speaker in speakers]
    room = line - _columns_before(speakers, is_wide, style)
    for segment, text, speaker in zip(segments, texts, speakers, strict=True):
        own = units_of(text, is_wide, room)
        give_times(own, segment.get("words") or (), segment["start_ms"], segment["end_ms"])
        for unit in own:
            before = units[-1] if units else unit
            unit.speaker = speaker
            unit.turn = before.turn + (speaker != before.speaker)
            unit.start_ms = max(unit.start_ms, before.start_ms)
            unit.end_ms = max(unit.end_ms, unit.start_ms)
            units.append(unit)
    return _shown([cut for part in _stretches(units, room, limits) for cut in part], limits,
                  duration_ms)  # fmt: skip


def label_of(speaker: str) -> str:
    """What stands before a speaker's line, where it has labels."""
    return f"[{speaker}] " if speaker else ""


def _cut_to(text: str, most_columns: int, is_wide: bool) -> str:
    widths = accumulate(columns_of(character, is_wide) for character in text)
    return text[: sum(width <= max(most_columns, 1) for width in widths)]


def _columns_before(speakers: Sequence[str], is_wide: bool, style: CueStyle) -> int:
    """What a line must leave free for what stands before it."""
    if style.has_labels:
        return max((columns_of(label_of(one), is_wide) for one in set(speakers)), default=0)
    return 1 if len(set(speakers)) > 1 else 0  # a dash, where two speakers share a cue


@dataclass(slots=True)
class _Cut:
    """A cue without its final times."""

    start_ms: int
    end_ms: int
    lines: tuple[Line, ...]
    columns: int


def _stretches(units: list[Unit], room: int, limits: _Limits) -> list[list[_Cut]]:
    """The cues of each stretch of speech between silences."""
    ends = [
        place
        for place in range(1, len(units))
        if units[place].start_ms - units[place - 1].end_ms >= _SILENCE_MS
    ]
    cuts: list[list[_Cut]] = []
    for first, stop in zip([0, *ends], [*ends, len(units)], strict=True):
        if first < stop:
            following = units[stop].start_ms if stop < len(units) else None
            cuts.append(_Stretch(units[first:stop], following, room, limits).cut())
    return cuts


@dataclass(slots=True)
class _Stretch:
    """Units without a long silence between them, and the cheapest way to cut them.

    Attributes:
        units: in order.
        following_ms: when the next stretch begins; None behind the last one.
        room: columns of a line, beside what stands before it.
    """

    units: list[Unit]
    following_ms: int | None
    room: int
    limits: _Limits
    _ends: list[int] = field(init=False)  # columns of all units up to one, with their blanks
    _full: list[int] = field(init=False)  # the last unit of a line that begins with one
    _after: list[float] = field(init=False)  # what a break behind one costs
    _inside: list[float] = field(init=False)  # what it costs to have all boundaries in a cue

    def __post_init__(self) -> None:
        units = self.units
        self._ends = [0, *accumulate(unit.columns + unit.has_blank for unit in units)]
        self._full = [
            max(i, bisect_right(self._ends, self._ends[i] + unit.has_blank + self.room) - 2)
            for i, unit in enumerate(units)
        ]
        self._after = [break_cost(*pair) for pair in zip(units, units[1:], strict=False)]
        self._after.append(SENTENCE)
        inside = [
            (_SENTENCE_INSIDE if cost == SENTENCE else 0.0)
            + max(following.start_ms - unit.end_ms - 300, 0) / 150
            for unit, following, cost in zip(units, units[1:], self._after, strict=False)
        ]
        self._inside = [0.0, *accumulate(inside)]

    def cut(self) -> list[_Cut]:
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
        cuts: list[_Cut] = []
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
        if turns > 1 or (end.end_ms - begin.start_ms > limits.style.max_duration_ms and not is_one):
            return _NEVER
        columns = self._columns(first, last)
        cost = _CUE + self._after[last] + self._inside[last] - self._inside[first]
        if turns:
            second = self._turn(first, last) or last
            if limits.lines < 2 or not (
                self._fits(first, second - 1) and self._fits(second, last)
            ):
                return _NEVER
            cost += _TWO_SPEAKERS
        elif (lines := self._lines(first, last)) > limits.lines:
            return _NEVER
        elif lines == 2:
            cost += _SECOND_LINE + _LINE_SHARE * self._best_line_break(first, last)
        elif lines > 2:
            cost += lines * _SECOND_LINE
        following_ms = units[last + 1].start_ms if last + 1 < len(units) else self.following_ms
        longest = limits.style.max_duration_ms
        if following_ms is not None:
            longest = min(max(following_ms - limits.style.gap_ms - begin.start_ms, 1), longest)
        reading_ms = columns / limits.columns_per_ms
        if reading_ms > longest:
            cost += _TOO_FAST * min(reading_ms / longest - 1, 5.0)
        if longest < limits.style.min_duration_ms:
            cost += _TOO_SHORT * (1 - longest / limits.style.min_duration_ms)
        is_whole = self._after[last] == SENTENCE and (
            first == 0 or self._after[first - 1] == SENTENCE
        )
        if not is_whole and 3 * columns < self.room:
            cost += _LEFT_OVER
        return cost

    def _best_line_break(self, first: int, last: int) -> float:
        return min(
            self._after[place]
            for place in range(first, min(self._full[first], last - 1) + 1)
            if self._fits(place + 1, last)
        )

    def _made(self, first: int, last: int) -> _Cut:
        begin, second = self.units[first], self._turn(first, last)
        if second is None:
            spans = self._balanced(first, last, self._lines(first, last))[1]
        else:
            spans = [(first, second - 1), (second, last)]
        lines = tuple(
            Line(self._text(start, stop), self.units[start].speaker) for start, stop in spans
        )
        return _Cut(
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
            return _UNEVEN * abs(columns - ideal) / self.room, [(first, last)]
        options = []
        for place in range(first, min(self._full[first], last - 1) + 1):
            if self._lines(place + 1, last) > lines - 1:
                continue
            top = self._columns(first, place)
            cost, below = self._balanced(place + 1, last, lines - 1, ideal)
            cost += self._after[place] + _UNEVEN * abs(top - ideal) / self.room
            cost += 0.5 * (top > ideal)
            options.append((cost, [(first, place), *below]))
        return min(options)

    def _text(self, first: int, last: int) -> str:
        units = self.units[first : last + 1]
        return units[0].text + "".join(
            f"{' ' if unit.has_blank else ''}{unit.text}" for unit in units[1:]
        )


def _shown(cuts: list[_Cut], limits: _Limits, duration_ms: int) -> list[Cue]:
    """Cues with times that follow each other and leave room to read, where speech leaves any."""
    style = limits.style
    starts: list[int] = []
    least_ms = min(_LEAST_SHOWN_MS, style.min_duration_ms) + style.gap_ms
    for cut in cuts:
        starts.append(max(cut.start_ms, starts[-1] + least_ms if starts else 0))
    cues: list[Cue] = []
    free_ms = 0  # nothing is shown from here on
    for number, (cut, start_ms) in enumerate(zip(cuts, starts, strict=True)):
        reading_ms = math.ceil(cut.columns / limits.columns_per_ms)
        end_ms = max(cut.end_ms, start_ms + max(reading_ms, style.min_duration_ms))
        if number + 1 < len(cuts):
            limit_ms = starts[number + 1] - style.gap_ms
            end_ms = limit_ms if limit_ms - end_ms < _CLOSED_MS else end_ms
        elif duration_ms > start_ms:
            end_ms = min(end_ms, duration_ms)
        end_ms = min(end_ms, start_ms + style.max_duration_ms)
        if end_ms - start_ms < style.min_duration_ms:  # it begins before it is said, if it can
            start_ms = min(max(free_ms, end_ms - style.min_duration_ms), start_ms)
        cues.append(Cue(start_ms, end_ms, cut.lines, reading_ms > end_ms - start_ms))
        free_ms = end_ms + style.gap_ms
    return cues

"""A transcript as subtitles: which words stand together, in which lines, and from when to when.

Owns the style of subtitles, and when cues are shown. Must not know where one is cut best, or files.

All words stand in a cue once and in order, and no cue overlaps the next. The cut of each stretch of
speech is the cheapest one: breaks where they read well (`subtitle_breaks`), enough time to read,
few cues. Speech that is faster than the reading speed stays as it is said, since no word is left
out; its cues are shown as long as there is room, and counted as too fast.

Source of the numbers: Netflix's Timed Text Style Guides have two lines at most, 5/6 to 7 seconds
and two frames between cues, and for English and other languages in alphabets 42 characters a line,
17 a second. Chinese (16 full-width characters a line, 9 a second) and the newer English 20 a
second are from tables that others made of these guides. Custom, without a source that was at hand:
11 a second in Chinese for the hard of hearing, 37 characters a line as on the BBC's teletext
(`max_line_chars=37`), and that a gap under half a second is closed to the shortest one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ray_asr.errors import ConfigError
from ray_asr.results.subtitle_cuts import Cut, Limits, Line, cut_stretch
from ray_asr.results.subtitle_times import give_times
from ray_asr.results.subtitle_units import (
    Unit,
    columns_of,
    is_wide_text,
    plain_text,
    units_of,
)

_SILENCE_MS = 1000  # a cue never runs over a longer one
_CLOSED_MS = 458  # eleven frames of 24 a second: a shorter gap between cues flickers
_LEAST_SHOWN_MS = 250  # where speech leaves no more
_LABEL_SHARE = 3  # a speaker's label may take so much of a line: one third
_LONGEST_NAME = 80  # characters of a speaker's label, where it takes no room in a line


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
    units: list[Unit] = []
    speakers = [plain_text(segment.get("speaker"))[:_LONGEST_NAME] for segment in segments]
    if style.has_labels:
        speakers = [_cut_to(speaker, line // _LABEL_SHARE - 3, is_wide) for speaker in speakers]
    room = line - _columns_before(speakers, is_wide, style)
    limits = Limits(
        room, style.max_lines, speed / 1000, style.min_duration_ms, style.max_duration_ms,
        style.gap_ms,
    )  # fmt: skip
    for segment, text, speaker in zip(segments, texts, speakers, strict=True):
        own = units_of(text, is_wide, room)
        start_ms, end_ms = segment["start_ms"] or 0, segment["end_ms"] or 0
        give_times(own, segment.get("words") or (), start_ms, end_ms)
        for unit in own:
            before = units[-1] if units else unit
            unit.speaker = speaker
            unit.turn = before.turn + (speaker != before.speaker)
            unit.start_ms = max(unit.start_ms, before.start_ms)
            unit.end_ms = max(unit.end_ms, unit.start_ms)
            units.append(unit)
    cuts = [cut for part in _stretches(units) for cut in cut_stretch(*part, limits)]
    return _shown(cuts, limits, duration_ms)


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


def _stretches(units: list[Unit]) -> Iterator[tuple[list[Unit], int | None]]:
    """The units between silences, each with when the next ones begin."""
    ends = [
        place
        for place in range(1, len(units))
        if units[place].start_ms - units[place - 1].end_ms >= _SILENCE_MS
    ]
    for first, stop in zip([0, *ends], [*ends, len(units)], strict=True):
        if first < stop:
            yield units[first:stop], units[stop].start_ms if stop < len(units) else None


def _shown(cuts: Sequence[Cut], limits: Limits, duration_ms: int) -> list[Cue]:
    """Cues with times that follow each other and leave room to read, where speech leaves any."""
    starts: list[int] = []
    least_ms = min(_LEAST_SHOWN_MS, limits.min_ms) + limits.gap_ms
    for cut in cuts:
        starts.append(max(cut.start_ms, starts[-1] + least_ms if starts else 0))
    cues: list[Cue] = []
    free_ms = 0  # nothing is shown from here on
    for number, (cut, start_ms) in enumerate(zip(cuts, starts, strict=True)):
        reading_ms = math.ceil(cut.columns / limits.columns_per_ms)
        end_ms = max(cut.end_ms, start_ms + max(reading_ms, limits.min_ms))
        if number + 1 < len(cuts):
            limit_ms = starts[number + 1] - limits.gap_ms
            end_ms = limit_ms if limit_ms - end_ms < _CLOSED_MS else end_ms
        elif duration_ms > start_ms:
            end_ms = min(end_ms, duration_ms)
        end_ms = min(end_ms, start_ms + limits.max_ms)
        if end_ms - start_ms < limits.min_ms:  # it begins before it is said, if it can
            start_ms = min(max(free_ms, end_ms - limits.min_ms), start_ms)
        cues.append(Cue(start_ms, end_ms, cut.lines, reading_ms > end_ms - start_ms))
        free_ms = end_ms + limits.gap_ms
    return cues

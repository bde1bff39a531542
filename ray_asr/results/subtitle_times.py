"""When each unit of a transcript is said.

Owns the way from a segment's timed words to its units. Must not know subtitles, files or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ray_asr.results.align import align
from ray_asr.results.subtitle_units import Unit, letters_of


def give_times(
    units: Sequence[Unit], words: Sequence[dict[str, Any]], start_ms: int, end_ms: int
) -> None:
    """Set when each unit of a segment is said.

    By the letters of the timed words, which punctuation leaves as they are; what no word has the
    letters of (numbers that were written out, a model without times) lies evenly between its
    neighbours, or in the segment. Times never go back.

    Args:
        units: of the segment's text, in order.
        words: the segment's, with `text`, `start_ms`, `end_ms`.
        start_ms: of the segment.
        end_ms: of the segment.
    """
    letters = [letters_of(unit.text) for unit in units]
    timed = [
        word
        for word in words
        if word and word["start_ms"] is not None and word["end_ms"] is not None
    ]
    times = _letter_times(letters, timed)
    _fill(times, start_ms, max(end_ms, start_ms))
    position, last_start, last_end = 0, start_ms, start_ms
    for unit, own in zip(units, letters, strict=True):
        if own:
            last_start = max(last_start, times[position][0])
            last_end = max(last_start, times[position + len(own) - 1][1])
            position += len(own)
        else:
            last_start = last_end
        unit.start_ms, unit.end_ms = last_start, last_end


def _letter_times(letters: list[str], words: Sequence[dict[str, Any]]) -> list[Any]:
    """`(start_ms, end_ms)` of each letter of the units, None where no word has it."""
    own = [letters_of(word["text"] or "") for word in words]
    spread = [
        time
        for word, text in zip(words, own, strict=True)
        for time in _evenly(word["start_ms"], word["end_ms"], len(text))
    ]
    if "".join(own) == "".join(letters):
        return list(spread)
    times: list[Any] = [None] * sum(map(len, letters))
    unit_at, word_at = _starts(letters), _starts(own)
    for is_equal, group in groupby(align(letters, own).steps, lambda step: step[0] == "equal"):
        steps = list(group)
        (_, unit, _, word, _), (_, _, unit_stop, _, word_stop) = steps[0], steps[-1]
        first, count = unit_at[unit], unit_at[unit_stop] - unit_at[unit]
        if is_equal:
            times[first : first + count] = spread[word_at[word] : word_at[word_stop]]
        elif word < word_stop:  # said in other letters, at the same time
            last_ms = max(words[word_stop - 1]["end_ms"], words[word]["start_ms"])
            times[first : first + count] = _evenly(words[word]["start_ms"], last_ms, count)
    return times


def _evenly(start_ms: int, end_ms: int, count: int) -> list[tuple[int, int]]:
    return [
        (
            start_ms + (end_ms - start_ms) * number // count,
            start_ms + (end_ms - start_ms) * (number + 1) // count,
        )
        for number in range(count)
    ]


def _starts(texts: Sequence[str]) -> list[int]:
    """How many letters stand before each text, and at last how many there are."""
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    return starts


def _fill(times: list[Any], start_ms: int, end_ms: int) -> None:
    """Give the letters without a time one, evenly between those that have one."""
    position = 0
    while position < len(times):
        if times[position] is not None:
            position += 1
            continue
        stop = position
        while stop < len(times) and times[stop] is None:
            stop += 1
        first = times[position - 1][1] if position else start_ms
        last = max(times[stop][0] if stop < len(times) else end_ms, first)
        times[position:stop] = _evenly(first, last, stop - position)
        position = stop

"""A row's segments: one for each span of speech, or for each sentence, and who speaks in each.

Owns how what was recognized in spans, the punctuated text and the turns of speakers become
segments. Pure: must not know engines or Arrow.

Source: FunASR 1.4.16, `sentence_timestamp` (`utils/timestamp_tools`), which ends a sentence at any
mark, a comma too, and `distribute_spk` (`models/campplus/utils`), which gives it the speaker who
speaks the most of it. There the marks come as numbers beside the words, here they are read from the
text, so that a model that writes marks itself has sentences as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ray_asr.job.alignment import cut_like, letters_of, places_of
from ray_asr.schema import Recognition, Segment, Span, Turn, Word

# Of Chinese and of Latin writing.
_MARKS = frozenset("\uff0c\u3002\uff1f\uff01\u3001\uff1b,.?!;")


def by_span(
    text: str, spans: Sequence[Span], heard: Sequence[Recognition], duration_ms: int
) -> list[Segment]:
    """One segment for each span.

    Args:
        text: of the whole row, punctuated.
        spans: where speech was found.
        heard: what was recognized in each, its words timed from the span's start.
        duration_ms: of the recording, which no word leaves.
    """
    texts = cut_like(text, [recognized.text for recognized in heard])
    return [
        Segment(
            span.start_ms,
            span.end_ms,
            of_span,
            tuple(_placed(word, span.start_ms, duration_ms) for word in recognized.words),
        )
        for span, recognized, of_span in zip(spans, heard, texts, strict=True)
    ]


def by_sentence(
    text: str, spans: Sequence[Span], heard: Sequence[Recognition], duration_ms: int
) -> list[Segment]:
    """One segment for each sentence, from its first word's start to its last word's end.

    A span without timed words is a segment by itself. Where no sentence ends, or the marks cannot
    be found beside the words, it is `by_span`.
    """
    whole = by_span(text, spans, heard, duration_ms)
    units = [
        unit
        for segment, recognized in zip(whole, heard, strict=True)
        for unit in _units(segment, recognized)
    ]
    places = places_of(text, [unit.text for unit in units])
    if places is None:
        return whole
    marked = [_ends(text[start:end]) for start, end in places]
    if not any(marked):
        return whole
    sentences: list[Segment] = []
    first, ended = 0, False
    for index, unit in enumerate(units):
        ended = ended or marked[index] or unit.alone
        following = units[index + 1] if index + 1 < len(units) else None
        # What has no letters (%) stands with the word before it, whatever marks are between them.
        if following and not following.alone and not (ended and letters_of(following.text)):
            continue
        said = text[places[first][0] : places[index][1]].strip()
        sentences.append(_sentence(said, units[first : index + 1]))
        first, ended = index + 1, False
    return sentences


def with_speakers(segments: Sequence[Segment], turns: Sequence[Turn]) -> list[Segment]:
    """The segments, each with who speaks the most of it, or the nearest to it.

    Args:
        segments: of one recording.
        turns: of its speakers, in the order of time, no two at once; none where nobody asked.
    """
    if not turns:
        return list(segments)
    ends = [turn.end_ms for turn in turns]
    return [replace(segment, speaker=_speaker(segment, turns, ends)) for segment in segments]


def _placed(word: Word, start_ms: int, duration_ms: int) -> Word:
    """A word of a segment on the recording's clock, and inside the recording.

    The last frame of features is padded, so that a model may put a word's end some 60 ms too late,
    and its first fire may lie a frame and a half before the first frame.
    """
    return Word(
        word.text,
        min(max(start_ms + word.start_ms, 0), duration_ms),
        min(max(start_ms + word.end_ms, 0), duration_ms),
    )


@dataclass(frozen=True, slots=True)
class _Unit:
    """What no sentence ends within: a word, or all of a span whose words have no times (alone)."""

    text: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...]
    alone: bool


def _units(segment: Segment, recognized: Recognition) -> list[_Unit]:
    words = segment.words
    if words and letters_of("".join(word.text for word in words)) == letters_of(recognized.text):
        return [_Unit(word.text, word.start_ms, word.end_ms, (word,), False) for word in words]
    if not recognized.text:
        return []
    return [_Unit(recognized.text, segment.start_ms, segment.end_ms, words, True)]


def _ends(piece: str) -> bool:
    """Whether a mark stands behind the letters of a piece of the text."""
    for character in reversed(piece):
        if character in _MARKS:
            return True
        if character.isalnum():
            return False
    return False


def _sentence(text: str, units: Sequence[_Unit]) -> Segment:
    return Segment(
        min(unit.start_ms for unit in units),
        max(unit.end_ms for unit in units),
        text,
        tuple(word for unit in units for word in unit.words),
    )


def _speaker(segment: Segment, turns: Sequence[Turn], ends: Sequence[int]) -> str:
    shares: dict[str, int] = {}
    first = bisect_right(ends, segment.start_ms)
    for index in range(first, len(turns)):
        turn = turns[index]
        if turn.start_ms >= segment.end_ms:
            break
        shared_ms = min(turn.end_ms, segment.end_ms) - max(turn.start_ms, segment.start_ms)
        shares[turn.speaker] = shares.get(turn.speaker, 0) + shared_ms
    if shares:
        return max(shares, key=shares.__getitem__)
    after = turns[first] if first < len(turns) else None
    before = turns[first - 1] if first else None
    if before is None or after is None:
        return (before or after or turns[0]).speaker
    nearer_before = segment.start_ms - before.end_ms <= after.start_ms - segment.end_ms
    return (before if nearer_before else after).speaker

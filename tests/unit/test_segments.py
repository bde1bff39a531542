"""Segments at spans, segments at sentences, and who speaks in them."""
# ruff: noqa: RUF001

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.job.alignment import letters_of
from ray_asr.job.segments import by_sentence, by_span, with_speakers
from ray_asr.schema import Recognition, Segment, Span, Turn, Word

PROPERTY = settings(max_examples=80, deadline=None, database=None)


def timed(*words: str, from_ms: int = 0, each_ms: int = 100) -> Recognition:
    """Words one after the other, in Chinese without blanks between them."""
    starts = range(from_ms, from_ms + each_ms * len(words), each_ms)
    joint = "" if words and not words[0].isascii() else " "
    return Recognition(
        joint.join(words),
        tuple(Word(w, s, s + each_ms) for w, s in zip(words, starts, strict=True)),
    )


def shown(segments: list[Segment]) -> list[tuple[int, int, str]]:
    return [(segment.start_ms, segment.end_ms, segment.text) for segment in segments]


SPANS = [Span(1000, 1500), Span(3000, 3400)]
HEARD = [timed("hello", "there", "how", "are", "you"), timed("fine", "thanks", "and", "you")]


def test_spans_keep_their_own_times() -> None:
    text = "Hello there, how are you? Fine, thanks and you?"
    found = by_span(text, SPANS, HEARD, 5000)
    assert shown(found) == [
        (1000, 1500, "Hello there, how are you?"),
        (3000, 3400, "Fine, thanks and you?"),
    ]
    assert found[1].words[0] == Word("fine", 3000, 3100)


def test_a_sentence_ends_at_each_mark_and_takes_the_times_of_its_words() -> None:
    text = "Hello there, how are you? Fine, thanks and you?"
    found = by_sentence(text, SPANS, HEARD, 5000)
    assert shown(found) == [
        (1000, 1200, "Hello there,"),
        (1200, 1500, "how are you?"),
        (3000, 3100, "Fine,"),
        (3100, 3400, "thanks and you?"),
    ]
    assert [word.text for word in found[1].words] == ["how", "are", "you"]


def test_a_sentence_goes_on_over_a_pause() -> None:
    found = by_sentence("Hello there. How are you fine thanks, and you?", SPANS, HEARD, 5000)
    assert shown(found) == [
        (1000, 1200, "Hello there."),
        (1200, 3200, "How are you fine thanks,"),
        (3200, 3400, "and you?"),
    ]


def test_chinese_words_are_characters() -> None:
    heard = [timed(*"你好吗"), timed(*"我很好")]
    found = by_sentence("你好吗？我，很好。", SPANS, heard, 5000)
    assert shown(found) == [(1000, 1300, "你好吗？"), (3000, 3100, "我，"), (3100, 3300, "很好。")]


def test_words_without_a_mark_at_the_end_are_a_sentence_too() -> None:
    found = by_sentence("Hello. there how are you fine thanks and you", SPANS, HEARD, 5000)
    assert shown(found)[1:] == [(1100, 3400, "there how are you fine thanks and you")]


@pytest.mark.parametrize(
    "text",
    [
        "hello there how are you fine thanks and you",  # no mark: nothing says where one ends
        "Goodbye. See you.",  # a model that rewrote the text
    ],
)
def test_where_no_sentence_can_be_found_spans_stay(text: str) -> None:
    assert by_sentence(text, SPANS, HEARD, 5000) == by_span(text, SPANS, HEARD, 5000)


def test_a_span_without_times_is_a_segment_by_itself() -> None:
    spans = [*SPANS, Span(4000, 4500)]
    heard = [HEARD[0], Recognition("no times, here"), timed("bye")]
    found = by_sentence("Hello there. How are you no times, here, bye.", spans, heard, 5000)
    assert shown(found) == [
        (1000, 1200, "Hello there."),
        (1200, 1500, "How are you"),
        (3000, 3400, "no times, here,"),
        (4000, 4100, "bye."),
    ]


def test_a_model_without_times_gives_spans() -> None:
    heard = [Recognition("hello there"), Recognition("fine")]
    text = "Hello there. Fine."
    assert by_sentence(text, SPANS, heard, 5000) == by_span(text, SPANS, heard, 5000)


def test_words_that_are_not_those_of_the_text_keep_their_span() -> None:
    heard = [Recognition("hello there you", timed("there", "you").words), HEARD[1]]
    found = by_sentence("Hello. There you. Fine thanks, and you?", SPANS, heard, 5000)
    assert shown(found) == [
        (1000, 1500, "Hello. There you."),
        (3000, 3200, "Fine thanks,"),
        (3200, 3400, "and you?"),
    ]
    assert [word.text for word in found[0].words] == ["there", "you"]


def test_a_span_in_which_nothing_was_recognized_is_no_sentence() -> None:
    found = by_sentence("Fine, thanks and you?", SPANS, [Recognition(""), HEARD[1]], 5000)
    assert [segment.text for segment in found] == ["Fine,", "thanks and you?"]


def test_no_word_leaves_the_recording() -> None:
    found = by_sentence("A. B.", [Span(900, 1000)], [timed("a", "b", from_ms=-60)], 1000)
    assert shown(found) == [(840, 940, "A."), (940, 1000, "B.")]
    late = by_sentence("A. B.", [Span(900, 1000)], [timed("a", "b", from_ms=60)], 1000)
    assert shown(late) == [(960, 1000, "A."), (1000, 1000, "B.")]


WORDS = st.lists(st.sampled_from(["hello", "don't", "5", "你", "straße", "%", "one"]), max_size=5)
MARKS = st.sampled_from(["", "", ",", ".", "?", "。", "？", "!", ', "', ".)"])


@PROPERTY
@given(st.lists(WORDS, max_size=5), st.data())
def test_sentences_have_all_words_and_all_of_the_text(
    spans_of_words: list[list[str]], data: st.DataObject
) -> None:
    heard = [
        Recognition(
            " ".join(words), tuple(Word(w, 10 * i, 10 * i + 10) for i, w in enumerate(words))
        )
        for words in spans_of_words
    ]
    spans = [Span(1000 * i, 1000 * i + 500) for i in range(len(heard))]
    text = " ".join(w + data.draw(MARKS) for words in spans_of_words for w in words)
    found = by_sentence(text, spans, heard, 10_000)
    assert letters_of("".join(segment.text for segment in found)) == letters_of(text)
    words = [word for segment in found for word in segment.words]
    assert words == [
        Word(w.text, w.start_ms + span.start_ms, w.end_ms + span.start_ms)
        for span, recognized in zip(spans, heard, strict=True)
        for w in recognized.words
    ]
    assert all(segment.start_ms <= segment.end_ms for segment in found)


# --- speakers


def segment(start_ms: int, end_ms: int) -> Segment:
    return Segment(start_ms, end_ms, "a")


TURNS = [Turn(0, 1000, "0"), Turn(1000, 3000, "1"), Turn(5000, 6000, "0"), Turn(6000, 6500, "2")]


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "speaker"),
    [
        (0, 900, "0"),
        (800, 1300, "1"),
        (700, 1300, "0"),  # as much of both: who begins
        (0, 7000, "0"),  # 2000 ms in two turns, as much as the other in one, and first
        (2900, 7000, "0"),
        (3100, 3200, "1"),  # nobody: the nearer
        (4500, 4600, "0"),
        (9000, 9100, "2"),
        (1500, 1500, "1"),
    ],
)
def test_a_segment_is_of_who_speaks_the_most_of_it(
    start_ms: int, end_ms: int, speaker: str
) -> None:
    (found,) = with_speakers([segment(start_ms, end_ms)], TURNS)
    assert found.speaker == speaker


def test_a_segment_before_all_turns_is_of_the_first_speaker() -> None:
    (found,) = with_speakers([segment(0, 10)], [Turn(500, 900, "0"), Turn(900, 1000, "1")])
    assert found.speaker == "0"


def test_without_turns_nobody_is_named() -> None:
    assert with_speakers([segment(0, 10)], []) == [segment(0, 10)]


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 400), st.sampled_from("012")), min_size=1
    ),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 900)), max_size=6),
)
def test_the_speaker_is_found_as_by_looking_at_every_turn(
    gaps: list[tuple[int, int, str]], places: list[tuple[int, int]]
) -> None:
    turns: list[Turn] = []
    for gap, length, speaker in gaps:
        start = (turns[-1].end_ms if turns else 0) + gap
        turns.append(Turn(start, start + length, speaker))
    for start, length in places:
        (found,) = with_speakers([segment(start, start + length)], turns)
        shares = {
            name: sum(
                max(0, min(t.end_ms, start + length) - max(t.start_ms, start))
                for t in turns
                if t.speaker == name
            )
            for name in "012"
        }
        assert shares[found.speaker] == max(shares.values())

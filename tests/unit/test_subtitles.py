"""A transcript cut into subtitles: nothing lost, nothing overlapping, lines that read well."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.errors import ConfigError
from ray_asr.results.chinese_words import chinese_words
from ray_asr.results.subtitle_units import columns_of, is_wide_text, plain_text, units_of
from ray_asr.results.subtitles import Cue, CueStyle, label_of, make_cues

LATIN = ["the", "a", "conference", "of", "participants", "o'clock", "I", "don't", "número", "to"]
HAN = list("今天我们在北京开会讨论语音识别的问题")
HOSTILE = [
    "-->",
    "<b>x</b>",
    "&amp;",
    "{\\an8}",
    "\u202eabc",
    "...",
    "x" * 90,
    "สวัสดีครับ" * 9,
    "\u0301",
]
CLOSING = set("，。、；：？！）」』”…,.!?;:)っゃゅょーァィ々")


def segment(
    words: Sequence[tuple[str, int, int]], text: str = "", speaker: str = ""
) -> dict[str, Any]:
    """A segment of words with their times; its text is theirs unless given."""
    return {
        "start_ms": words[0][1],
        "end_ms": words[-1][2],
        "text": text or " ".join(word for word, _, _ in words),
        "words": [{"text": w, "start_ms": s, "end_ms": e} for w, s, e in words],
        "speaker": speaker,
    }


def spoken(text: str, start_ms: int = 0, word_ms: int = 300, speaker: str = "") -> dict[str, Any]:
    """A segment of evenly spoken words; the timed ones have neither marks nor case."""
    bare = ["".join(c for c in word if c.isalnum()).lower() for word in text.split()]
    times = [(w, start_ms + i * word_ms, start_ms + (i + 1) * word_ms) for i, w in enumerate(bare)]
    return segment(times, text, speaker)


def spoken_zh(text: str, start_ms: int = 0, character_ms: int = 220) -> dict[str, Any]:
    bare = [c for c in text if c.isalnum()]
    times = [
        (c, start_ms + i * character_ms, start_ms + (i + 1) * character_ms)
        for i, c in enumerate(bare)
    ]
    return segment(times, text)


def lines_of(cues: Sequence[Cue]) -> list[list[str]]:
    return [[line.text for line in cue.lines] for cue in cues]


def blankless(text: str) -> str:
    return "".join(text.split())


def check(cues: Sequence[Cue], segments: Sequence[dict[str, Any]], style: CueStyle) -> None:
    """What holds of any transcript."""
    texts = [plain_text(one["text"]) for one in segments]
    said = "".join(line.text for cue in cues for line in cue.lines)
    assert blankless(said) == blankless("".join(texts))
    is_wide = is_wide_text("".join(texts))
    most = (style.max_line_chars or (16 if is_wide else 42)) * (2 if is_wide else 1)
    for number, cue in enumerate(cues):
        assert 1 <= len(cue.lines) <= style.max_lines
        two = len({line.speaker for line in cue.lines}) > 1
        for line in cue.lines:
            assert line.text == plain_text(line.text) != ""
            label = label_of(line.speaker) if style.has_labels else "-" * two
            assert columns_of(label + line.text, is_wide) <= most
        assert 0 <= cue.start_ms < cue.end_ms
        assert cue.end_ms - cue.start_ms <= style.max_duration_ms
        before = cues[number - 1] if number else None
        behind = cues[number + 1] if number + 1 < len(cues) else None
        if before:
            assert cue.start_ms >= before.end_ms + style.gap_ms
        if cue.end_ms - cue.start_ms < style.min_duration_ms:
            assert cue.start_ms == (before.end_ms + style.gap_ms if before else 0)
            assert behind is None or behind.start_ms >= cue.end_ms + style.gap_ms


VOCABULARIES = st.sampled_from([LATIN, HAN, LATIN + HAN, LATIN + HOSTILE, HAN + HOSTILE])


@st.composite
def transcripts(draw: st.DrawFn) -> list[dict[str, Any]]:
    vocabulary, now = draw(VOCABULARIES), draw(st.integers(0, 3000))
    mark = st.sampled_from(["", "", "", ",", ".", "，", "。", "?", " —", "…”"])
    segments = []
    for _ in range(draw(st.integers(1, 4))):
        now += draw(st.sampled_from([0, 50, 400, 2500]))
        words, text = [], ""
        pace = draw(st.sampled_from([0, 40, 200, 350, 1500]))
        blank = draw(st.sampled_from([" ", " ", ""]))
        for word in draw(st.lists(st.sampled_from(vocabulary), min_size=1, max_size=40)):
            words.append((word, now, now + pace))
            text += f"{word}{draw(mark)}{blank}"
            now += pace + draw(st.sampled_from([0, 0, 30, 700]))
        one = segment(words, text, draw(st.sampled_from(["", "", "0", "Anna"])))
        if draw(st.booleans()):
            one["words"] = draw(st.sampled_from([[], one["words"][::2], one["words"][:5]]))
        segments.append(one)
    return segments


STYLES = st.builds(
    CueStyle,
    max_line_chars=st.sampled_from([0, 0, 8, 20, 37]),
    max_lines=st.integers(1, 3),
    max_cps=st.sampled_from([0.0, 4.0, 20.0]),
    gap_ms=st.sampled_from([0, 83, 120]),
    has_labels=st.booleans(),
)


@settings(max_examples=80)
@given(segments=transcripts(), style=STYLES)
def test_every_word_stands_once_and_in_order_within_the_limits(
    segments: list[dict[str, Any]], style: CueStyle
) -> None:
    check(make_cues(segments, style), segments, style)


@settings(max_examples=60)
@given(
    texts=st.lists(st.text(max_size=80), min_size=1, max_size=3),
    times=st.lists(st.integers(-5_000, 20_000), min_size=8, max_size=8),
)
def test_any_text_and_any_times_come_through(texts: list[str], times: list[int]) -> None:
    segments = [
        {
            "start_ms": times[2 * n], "end_ms": times[2 * n + 1], "text": text, "speaker": None,
            "words": [{"text": text[:3], "start_ms": times[7 - n], "end_ms": times[n]}],
        }
        for n, text in enumerate(texts)
    ]  # fmt: skip
    check(make_cues(segments), segments, CueStyle())


@settings(max_examples=60)
@given(words=st.lists(st.sampled_from([*LATIN, "time", "very", "room"]), min_size=1, max_size=60))
def test_words_that_fit_a_line_are_never_split(words: list[str]) -> None:
    cues = make_cues([spoken(" ".join(words))])
    shown = [word for cue in cues for line in cue.lines for word in line.text.split()]
    assert shown == words


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from([*HAN, "我，", "你。”", "（北", "“《语", "京）", "）。", "々"]), max_size=90
    )
)
def test_no_chinese_line_begins_with_a_closing_mark_or_ends_with_an_opening_one(
    characters: list[str],
) -> None:
    text = "我" + "".join(characters)
    for lines in lines_of(make_cues([spoken_zh(text)])):
        for line in lines:
            assert line[0] not in CLOSING
            assert line[-1] not in "（“《"


def test_words_are_shown_when_they_are_said() -> None:
    text = (
        "That agent is already logged on. Please enter your agent number, followed by the pound "
        "key. Call forward on busy."
    )
    cues = make_cues([spoken(text, 6_800)])
    assert lines_of(cues) == [
        ["That agent is already logged on."],
        ["Please enter your agent number,", "followed by the pound key."],
        ["Call forward on busy."],
    ]
    assert [cue.start_ms for cue in cues] == [6_800, 6_800 + 6 * 300, 6_800 + 16 * 300]
    assert cues[0].end_ms == cues[1].start_ms - 83
    assert cues[1].end_ms == cues[2].start_ms - 83
    assert cues[2].end_ms >= 6_800 + 20 * 300


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "to increase your speaking volume to other participants",
            ["to increase your speaking volume", "to other participants"],
        ),
        (
            "I will try to locate them for you as soon as they are back",
            ["I will try to locate them", "for you as soon as they are back"],
        ),
        (
            "we met the engineer and the manager of the whole project",
            ["we met the engineer", "and the manager of the whole project"],
        ),
        (
            "今天我们在北京开会，讨论语音识别的问题。",
            ["今天我们在北京开会，", "讨论语音识别的问题。"],
        ),
        (
            "如果你想知道更多的信息请拨打我们的电话",
            ["如果你想知道更多的信息", "请拨打我们的电话"],
        ),
    ],
)
def test_lines_break_where_they_read_well(text: str, lines: list[str]) -> None:
    make = spoken_zh if text[0] > "z" else spoken
    assert lines_of(make_cues([make(text)])) == [lines]


def test_no_line_ends_inside_a_chinese_word() -> None:
    words = [
        "仍然",
        "面临",
        "语音识别",
        "应用",
        "问题",
        "实际",
        "我们",
        "研究人员",
        "各种各样",
        "方法",
    ]
    text = "".join(words * 12)
    assert blankless("".join(chinese_words(text))) == text
    ends = {0}
    for word in chinese_words(text):
        ends.add(max(ends) + len(word))
    place = 0
    for lines in lines_of(make_cues([spoken_zh(text)])):
        for line in lines:
            place += len(line)
            assert place in ends


def test_a_mark_of_its_own_stays_with_the_word_before_it() -> None:
    (cue,) = make_cues([spoken("yes — of course")])
    assert cue.lines[0].text == "yes — of course"
    units = units_of("— yes - no", False, 42)
    assert [unit.text for unit in units] == ["— yes -", "no"]


def test_text_without_timed_words_lies_evenly_in_its_segment() -> None:
    text = "one two three four five six seven eight nine ten. " * 2
    untimed = {"start_ms": 1000, "end_ms": 21_000, "text": text, "words": None, "speaker": ""}
    cues = make_cues([untimed])
    assert cues[0].start_ms == 1000
    half = next(cue for cue in cues[1:] if cue.lines[0].text.startswith("one"))
    assert 10_500 < half.start_ms < 11_500


def test_what_is_written_otherwise_is_shown_when_it_is_said() -> None:
    words = [("in", 1000, 1200), ("nineteen", 1200, 1900), ("eighty", 1900, 2400),
             ("four", 2400, 2900), ("he", 9000, 9200), ("left", 9200, 9700)]  # fmt: skip
    cues = make_cues([segment(words, "In 1984 he left.")])
    assert lines_of(cues) == [["In 1984"], ["he left."]]
    assert [cue.start_ms for cue in cues] == [1000, 9000]
    untimed = [("in", 1000, 1200), ("he", 3000, 3200)]
    (one,) = make_cues([segment(untimed, "In 1984, he")])
    assert (one.start_ms, one.lines[0].text) == (1000, "In 1984, he")


def test_nothing_is_shown_through_a_long_silence() -> None:
    cues = make_cues([spoken("hello there"), spoken("good bye", 20_000)])
    assert lines_of(cues) == [["hello there"], ["good bye"]]
    assert cues[0].end_ms < 3_000
    assert cues[1].start_ms == 20_000


def test_a_short_word_is_shown_long_enough_to_be_read() -> None:
    (cue,) = make_cues([spoken("Yes.", 5_000, 200)], duration_ms=60_000)
    assert (cue.start_ms, cue.end_ms) == (5_000, 5_833)
    (at_the_end,) = make_cues([spoken("Yes.", 5_000, 200)], duration_ms=5_200)
    assert (at_the_end.start_ms, at_the_end.end_ms) == (5_200 - 833, 5_200)


def test_speech_faster_than_the_reading_speed_keeps_all_its_words() -> None:
    slow, fast = (
        spoken("he spoke of numbers " * 8, 0, 400),
        spoken("he spoke of numbers " * 8, 0, 90),
    )
    assert not any(cue.is_too_fast for cue in make_cues([slow]))
    cues = make_cues([fast])
    assert any(cue.is_too_fast for cue in cues)
    check(cues, [fast], CueStyle())


def test_two_short_turns_share_a_cue() -> None:
    segments = [spoken("Are you there?", 0, 200, "a"), spoken("Yes.", 620, 150, "b")]
    (cue,) = make_cues(segments)
    assert [(line.speaker, line.text) for line in cue.lines] == [
        ("a", "Are you there?"),
        ("b", "Yes."),
    ]
    apart = make_cues(segments, CueStyle(max_lines=1))
    assert lines_of(apart) == [["Are you there?"], ["Yes."]]


def test_long_turns_have_cues_of_their_own() -> None:
    segments = [
        spoken("I have nothing to say about it at all", 0, 350, "a"),
        spoken("and I would rather not hear about it either", 3_200, 350, "b"),
    ]
    speakers = [{line.speaker for line in cue.lines} for cue in make_cues(segments)]
    assert speakers == [{"a"}, {"b"}]


def test_a_word_wider_than_a_line_is_broken_between_its_characters() -> None:
    cues = make_cues([spoken("x" * 100)])
    assert "".join(line.text for cue in cues for line in cue.lines) == "x" * 100
    thai = "ครับ" * 30
    for lines in lines_of(make_cues([spoken(thai, 0, 9000)])):
        assert not any(line[0] in "\u0e31\u0e34\u0e49" for line in lines)  # marks stay on letters


@pytest.mark.parametrize(
    ("text", "language", "is_wide"),
    [
        ("今天天气", "", True),
        ("我们用 Python 写程序", "", True),
        ("the word 好 is Chinese", "", False),
        ("hello", "zh-CN", True),
        ("今天天气", "en", False),
        ("今天天气", "auto", True),
        ("안녕하세요", "", True),
        ("", "", False),
    ],
)
def test_how_text_is_counted_goes_by_the_hint_and_then_by_the_text(
    text: str, language: str, is_wide: bool
) -> None:
    assert is_wide_text(text, language) == is_wide


@pytest.mark.parametrize(
    "given",
    [
        {"max_line_chars": 5}, {"max_lines": 0}, {"max_lines": 9}, {"max_cps": 0.5},
        {"min_duration_ms": 0}, {"min_duration_ms": 8000}, {"gap_ms": -1}, {"max_duration_ms": 100},
    ],
)  # fmt: skip
def test_limits_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"use|cannot be"):
        CueStyle(**given)


def test_hours_without_a_pause_are_cut_like_minutes() -> None:
    segments = [
        spoken("this is said again and again, and it ends here.", n * 3_000) for n in range(700)
    ]
    cues = make_cues(segments)
    check(cues, segments, CueStyle())
    assert len(cues) >= 700


@pytest.mark.parametrize(
    "text", ["x" * 30_000, ". " * 20_000, "\u0301" * 30_000, "a b " * 2_000, "（" * 20_000]
)
def test_a_text_that_is_no_speech_takes_no_square_of_its_length(text: str) -> None:
    words = [("a" if n % 3 else "c", 10 * n, 10 * n + 10) for n in range(4_000)]
    one = segment(words, text)
    check(make_cues([one]), [one], CueStyle())

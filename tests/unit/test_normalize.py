"""What is done to texts before they are compared, and what a word is then."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.errors import ConfigError, DataError
from ray_asr.results.columns import by_pyarrow
from ray_asr.results.normalize import (
    BASIC,
    STEPS,
    Unit,
    Wording,
    normalize,
    steps_of,
    unspaced,
    words,
)
from ray_asr.results.replacements import read_replacements


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("basic", BASIC),
        ("none", ()),
        ("basic,-case", ("nfkc", "punctuation")),
        ("-punctuation, -case", ("nfkc",)),
        ("fillers,basic", (*BASIC, "fillers")),
        ("NFKC", ("nfkc",)),
        ("none,symbols,accents,-accents", ("symbols",)),
    ],
)
def test_steps_are_named_in_any_order_and_done_in_theirs(given: str, expected: tuple[str]) -> None:
    assert steps_of(given) == expected


@pytest.mark.parametrize("given", ["", "basic,", "whisper", "--case", "-basic", "basic case"])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(given: str) -> None:
    with pytest.raises(ConfigError, match=r"name none, basic \(nfkc, case, punctuation\) or.*"):
        steps_of(given)


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        ("none", " Don\u2019t\u3000STOP!  \uff21", "Don\u2019t STOP! \uff21"),
        ("nfkc", "\uff21\uff0c B\u2460", "A, B1"),
        ("case", "\u0130STANBUL Stra\u00dfe", "i\u0307stanbul stra\u00dfe"),
        ("punctuation", "A-b, 'c' d\u2019e", "A b c d'e"),
        ("basic,apostrophes", "Don\u2019t 'stop' O'Clock", "dont stop oclock"),
        (
            "basic,accents",
            "\u00c9t\u00e9 na\u00efve \u0451\u0436 \u0e17\u0e35\u0e48",
            "ete naive \u0435\u0436 \u0e17\u0e35\u0e48",
        ),
        ("basic,symbols", "3 + 4 \U0001f600 = $7", "3 4 7"),
        ("basic", "3 + 4 \U0001f600 = $7", "3 + 4 \U0001f600 = $7"),
    ],
)
def test_each_step_does_what_it_says(steps: str, text: str, expected: str) -> None:
    assert normalize(text, steps_of(steps)) == expected


@settings(max_examples=200)
@given(st.text(), st.sets(st.sampled_from([*STEPS])))
def test_what_is_normal_stays_as_it_is(text: str, steps: set[str]) -> None:
    assert normalize(normalize(text, steps), steps) == normalize(text, steps)


@settings(max_examples=100)
@given(st.text(), st.sampled_from(["auto", "word", "char"]))
def test_words_hold_all_characters_but_blanks(text: str, unit: Unit) -> None:
    plain = normalize(text)
    assert "".join(words(plain, unit)) == plain.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我用 gpu跑", ["我", "用", "gpu", "跑"]),
        ("東京タワーに行く", list("東京タワーに行く")),
        ("สวัสดี", list("สวัสดี")),
        ("ສະບາຍ", list("ສະບາຍ")),
        ("ជំរាប", list("ជំរាប")),
        ("မင်္ဂ", list("မင်္ဂ")),
        ("안녕 세상", ["안녕", "세상"]),
        ("xin chào", ["xin", "chào"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ],
)
def test_scripts_without_blanks_are_taken_by_character(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert unspaced(expected) == sum(len(word) == 1 for word in expected)


def test_fillers_are_left_out_where_they_are_words_of_their_own() -> None:
    wording = Wording("auto", steps_of("basic,fillers"))
    assert wording.words("Um, the umbrella, uh... HMM 嗯我呃想 mm-hmm") == [
        "the", "umbrella", "我", "想"
    ]  # fmt: skip
    assert Wording("char", steps_of("basic,fillers")).words("uh 嗯好") == ["好"]
    assert Wording("auto", steps_of("none,fillers")).words("UM Hello") == ["Hello"]


def test_words_are_replaced_once_from_the_left_and_longest_first() -> None:
    wording = Wording(
        replacements={
            "gonna": "going to",
            "New York": "NYC",
            "new": "old",
            "colour": "color",
            "国": "國",
            "well,": "",
            "a": "b",
            "b": "a",
        }
    )
    assert wording.replacements == 8
    assert wording.words("Well, I'm GONNA see New York, new colours + colour: a b 中国") == [
        "i'm", "going", "to", "see", "nyc", "old", "colours", "+", "color", "b", "a", "中", "國"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"...": "dots"}, "has no word left to look for after nfkc, case, punctuation"),
        ({"A": "b", "a": "c"}, "'a' is replaced in two ways"),
    ],
)
def test_replacements_that_cannot_work_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Wording(replacements=given)


def test_replacements_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    file.write_bytes("\ufeff# British\r\ncolour\tcolor\r\n\r\nuh huh\t\n臺\t台\n".encode())
    assert read_replacements(str(file), by_pyarrow) == {"colour": "color", "uh huh": "", "臺": "台"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"colour color\n", "line 1 has another form; write what is said, a tab"),
        (b"a\tb\n\tc\n", "line 2 has another form"),
        (b"a\tb\na\tc\n", "line 2 replaces 'a' a second way; leave one"),
        (b"\xff\xfea\t", "is no UTF-8 text"),
        (None, "cannot be read .*; check the path"),
    ],
)
def test_a_file_of_another_form_is_refused(data: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(DataError, match=said):
        read_replacements(str(file), by_pyarrow)


def test_a_file_that_is_no_list_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "words.tsv"
    with file.open("wb") as sink:
        sink.truncate(65 * 2**20)
    with pytest.raises(DataError, match="is larger than 64 MiB"):
        read_replacements(str(file), lambda where: (pafs.LocalFileSystem(), where))

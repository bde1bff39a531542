from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.job.alignment import cut_like

PROPERTY = settings(max_examples=100, deadline=None, database=None)
WORDS = ["hello", "don't", "a", "thirty", "5", "你", "好吗", "世界", "straße", "ça"]
PIECES = st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), max_size=6)
MARKS = st.sampled_from(["", "", ",", ".", "?", "。", "?!", "...", ", ", " — "])


def letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).casefold()


def visible(text: str) -> str:
    return "".join(text.split())


@st.composite
def punctuated(draw: st.DrawFn) -> tuple[list[str], str]:
    """Pieces, and their joined text with marks after words, case changed, marks at the ends."""
    pieces = draw(PIECES)
    words = " ".join(piece for piece in pieces if piece).split()
    marked = [draw(st.sampled_from([w, w.title(), w.upper()])) + draw(MARKS) for w in words]
    return pieces, draw(st.sampled_from(["", "¿", '"'])) * bool(words) + " ".join(marked)


@PROPERTY
@given(punctuated())
def test_each_cut_has_the_letters_of_its_piece(case: tuple[list[str], str]) -> None:
    pieces, text = case
    cuts = cut_like(text, pieces)
    assert [letters(cut) for cut in cuts] == [letters(piece) for piece in pieces]
    assert letters("".join(cuts)) == letters(text)


@PROPERTY
@given(punctuated())
def test_every_mark_stands_in_exactly_one_cut(case: tuple[list[str], str]) -> None:
    pieces, text = case
    assert visible("".join(cut_like(text, pieces))) == visible(text)


@PROPERTY
@given(st.lists(st.text(max_size=8), max_size=5))
def test_any_unicode_that_comes_back_unchanged_keeps_its_letters(pieces: list[str]) -> None:
    cuts = cut_like(" ".join(piece for piece in pieces if piece), pieces)
    assert [letters(cut) for cut in cuts] == [letters(piece) for piece in pieces]


@PROPERTY
@given(st.text(max_size=30), st.lists(st.text(max_size=8), max_size=5))
def test_there_are_as_many_cuts_as_pieces_whatever_the_text(text: str, pieces: list[str]) -> None:
    assert len(cut_like(text, pieces)) == len(pieces)


@pytest.mark.parametrize(
    ("text", "pieces", "cuts"),
    [
        ("Hello, world.", ["hello", "world"], ["Hello,", "world."]),
        ("你好,世界。", ["你好", "世界"], ["你好,", "世界。"]),
        ("你好。 Hello there!", ["你好", "hello there"], ["你好。", "Hello there!"]),
        ("你好吗?我很好。", ["你 好 吗", "我很好"], ["你好吗?", "我很好。"]),
        ("Don't stop.", ["don't", "stop"], ["Don't", "stop."]),
        ("One. Two.", ["one", "", "two"], ["One.", "", "Two."]),
        ("One.", ["", "one", ""], ["", "One.", ""]),
        ("Wait...", ["wait"], ["Wait..."]),
        ('"Yes?!" No.', ["yes", "no"], ['"Yes?!"', "No."]),
        ("", ["", ""], ["", ""]),
        ("", [], []),
    ],
)
def test_examples(text: str, pieces: list[str], cuts: list[str]) -> None:
    assert cut_like(text, pieces) == cuts


def test_an_opening_mark_before_an_empty_piece_is_not_lost() -> None:
    assert cut_like("¿Hola?", ["", "hola"]) == ["", "¿Hola?"]


@pytest.mark.parametrize("text", ["Twenty-one.", "hello", "hello worlds", "", "worldhello"])
def test_a_text_with_other_letters_gives_the_pieces_back(text: str) -> None:
    assert cut_like(text, ["hello", "world"]) == ["hello", "world"]

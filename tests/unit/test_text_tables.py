"""Facts, grids and sentences stand in columns, in any script and at any width."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.blocks import Block, Facts, Grid, Said
from ray_asr.terminal import cells, colored
from ray_asr.text_tables import as_text

CODES = re.compile(r"\x1b\[[0-9;]*m")
WORDS = st.text(st.sampled_from("ab 普通话。é\u0301\n\t\x1b\u202e"), max_size=40)


def test_facts_stand_below_one_another() -> None:
    assert as_text([Facts([("rows", "3"), ("output", "out")])]) == "rows    3\noutput  out"


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    grid = Grid(("set", "rows"), [("long", "1"), ("prompts", "1,000")])
    assert as_text([grid]).splitlines() == [
        "set       rows",
        "long         1",
        "prompts  1,000",
    ]


def test_chinese_takes_two_columns_a_character() -> None:
    grid = Grid(("", "n"), [("普通话", "1"), ("abc", "2")])
    lines = as_text([grid]).splitlines()
    assert lines[1:] == ["普通话  1", "abc     2"]
    assert {cells(line) for line in lines[1:]} == {9}


def test_a_blank_line_stands_between_tables_and_none_before_a_sentence() -> None:
    blocks: list[Block] = [Facts([("a", "1")]), Grid((), [("b", "2")]), Said("done.")]
    assert as_text(blocks) == "a  1\n\nb  2\ndone."


def test_what_holds_nothing_takes_no_line() -> None:
    assert as_text([Grid((), [])]) == ""
    assert as_text([]) == ""


@pytest.mark.parametrize("width", [30, 60, 100])
def test_a_last_column_of_words_is_wrapped_below_itself(width: int) -> None:
    reason = "as many cores as memory allows, and one is left for reading"
    lines = as_text([Grid((), [("ncpu", reason)], "ll")], width).splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(line[6:] for line in lines) == reason
    assert all(line.startswith("      ") for line in lines[1:])


def test_columns_that_find_no_room_follow_below() -> None:
    grid = Grid(("set", "rows", "words", "chars"), [("long", "1", "1,226", "5,806")])
    assert as_text([grid], 18).splitlines() == [
        "set   rows  words", "long     1  1,226", "", "set   chars", "long  5,806",
    ]  # fmt: skip
    assert as_text([grid], 24).splitlines()[0] == "set   rows  words  chars"
    assert len(as_text([grid]).splitlines()) == 2


def test_in_a_pipe_nothing_is_wrapped() -> None:
    words = "word " * 100
    assert as_text([Said(words)]) == words
    assert as_text([Facts([("a", words)])]) == f"a  {words.rstrip()}"


def test_a_path_is_never_broken() -> None:
    path = "/a/very/long/folder/" + "x" * 100
    assert path in as_text([Facts([("output", path)])], 40)


def test_only_what_has_a_tone_is_coloured() -> None:
    blocks: list[Block] = [
        Facts([("status", ("1 failed", "bad"))]), Said("proven: each row is there.", "good"),
        Said("a sentence."),
    ]  # fmt: skip
    assert as_text(blocks, paint=colored).splitlines() == [
        "status  \x1b[31m1 failed\x1b[0m",
        "\x1b[32mproven:\x1b[0m each row is there.",
        "a sentence.",
    ]


@given(
    st.lists(st.lists(WORDS, min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(30, 120),
    st.sampled_from(["lrl", "lll", "rrr"]),
)
def test_whatever_the_texts_columns_are_columns_and_colour_changes_nothing(
    rows: list[list[str]], width: int, align: str
) -> None:
    grid = Grid(("x", "y", "z"), [(a, (b, "warning"), c) for a, b, c in rows], align)
    plain = as_text([grid], width)
    # Words are not broken: the widest of a column behind the widest of the first always has room.
    widest = [
        max(cells(as_text([Grid((), [(cell,)])])) for cell in column)
        for column in zip(*rows, strict=True)
    ]
    for line in plain.split("\n"):
        assert cells(line) <= max(width, 100, widest[0] + max(widest[1:]) + len("  "))
    assert CODES.sub("", as_text([grid], width, colored)) == plain
    assert not set("\x1b\u202e\t") & set(plain)
    alone = as_text([grid])
    assert len(alone.split("\n")) == len(rows) + 1
    if "\n\n" not in plain:  # all columns beside one another
        assert "".join(alone.split()) == "".join(plain.split())

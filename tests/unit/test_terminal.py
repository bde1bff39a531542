"""A terminal gets no orders from transcripts, ids and file names."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr import cli
from ray_asr.terminal import (
    PrintableFormatter,
    can_rewrite,
    cells,
    colored,
    columns,
    cut,
    is_terminal,
    one_line,
    padded,
    printable,
    wants_color,
    wrapped,
)

TITLE = "\x1b]0;owned\x07"
ORDERS = ["\x00", "\x07", "\x08", "\x1b[2J", "\r", "\x7f", "\x9b31m", "\u202e", "\u2066", "\udcff"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_written_out(order: str) -> None:
    assert printable(f"a{order}b") == f"a\\u{ord(order[0]):04x}{order[1:]}b"


@given(st.text())
def test_whatever_the_text_nothing_of_it_is_an_order(text: str) -> None:
    shown = printable(text)
    assert not any(order[0] in shown for order in ORDERS)
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["plain\n\ttext", "普通话", "שלום", "café", "👩\u200d🚀"])
def test_words_of_any_language_stay(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_json_stays_the_same_json(text: str) -> None:
    assert json.loads(printable(json.dumps({"x": text}, ensure_ascii=False))) == {"x": text}


def test_a_log_record_is_shown_without_orders() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "file %s", (TITLE,), None)
    assert PrintableFormatter("%(message)s").format(record) == "file \\u001b]0;owned\\u0007"


def test_the_command_line_shows_an_error_without_orders(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["transcribe", f"/no/{TITLE}", "/tmp/out", "--model", f"/no/{TITLE}"])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "\\u001b]0;owned\\u0007" in shown
    assert "\x1b" not in shown


# --- colour, width


class Stream(io.StringIO):
    """A stream that is a terminal, or none."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


COLOR_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in COLOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("environment", "in_terminal", "in_pipe"),
    [
        ({}, True, False),
        ({"TERM": "xterm-256color"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),  # set but empty: not said
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "3", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
    ],
)
def test_colour_is_for_whoever_wants_it(
    environment: dict[str, str], in_terminal: bool, in_pipe: bool, bare: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        bare.setenv(name, value)
    assert wants_color(Stream(True)) is in_terminal
    assert wants_color(Stream(False)) is in_pipe


def test_nothing_is_written_over_where_that_cannot_be_done(bare: pytest.MonkeyPatch) -> None:
    assert not can_rewrite(Stream(True))  # without TERM nobody knows
    bare.setenv("TERM", "dumb")
    assert not can_rewrite(Stream(True))
    bare.setenv("TERM", "xterm")
    assert can_rewrite(Stream(True))
    assert not can_rewrite(Stream(False))
    assert not can_rewrite(None)


def test_a_closed_stream_is_no_terminal() -> None:
    with Path(os.devnull).open(encoding="utf-8") as stream:
        pass
    assert not is_terminal(stream)


def test_the_width_is_that_of_the_terminal_or_of_columns(bare: pytest.MonkeyPatch) -> None:
    assert columns(Stream(False)) is None
    bare.setenv("COLUMNS", "72")
    assert columns(Stream(False)) == 72
    for nonsense in ("", "0", "-5", "wide"):
        bare.setenv("COLUMNS", nonsense)
        assert columns(Stream(False)) is None


@pytest.mark.parametrize(
    ("text", "taken"),
    [("abc", 3), ("普通话", 6), ("ﾊﾝ", 2), ("e\u0301", 1), ("한글", 4), ("a\u200db", 2), ("", 0)],
)
def test_a_text_takes_as_many_columns_as_a_terminal_gives_it(text: str, taken: int) -> None:
    assert cells(text) == taken
    assert padded(text, 8) == text + " " * (8 - taken)
    assert padded(text, 8, "r") == " " * (8 - taken) + text


def test_a_text_that_is_too_long_is_cut_between_characters() -> None:
    assert cut("普通话", 6) == "普通话"
    assert cut("普通话", 5) == "普通…"
    assert cut("普通话", 4) == "普…"
    assert cut("abc", 2) == "a…"
    assert cut("abc", 1) == "…"
    assert cut("abc", 0) == ""


def test_chinese_is_wrapped_between_characters_and_no_line_begins_with_a_full_stop() -> None:
    assert wrapped("今天天气很好。我们去公园", 12) == ["今天天气很", "好。我们去公", "园"]
    assert wrapped("speech 语音 recognition", 11) == ["speech 语音", "recognition"]


@given(st.text(), st.integers(1, 40))
def test_wrapping_loses_nothing_and_breaks_no_word(text: str, width: int) -> None:
    text = one_line(text)
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert cells(line) <= width or " " not in line.strip()


@given(st.text(), st.integers(0, 40))
def test_a_cut_text_fits(text: str, width: int) -> None:
    assert cells(cut(one_line(text), width)) <= width


def test_a_line_is_one_line() -> None:
    assert one_line("a\nb\tc\rd") == "a\\nb\\tc\\u000dd"


def test_a_warning_has_its_level_in_colour() -> None:
    form = PrintableFormatter("%(levelname).1s %(message)s", paint=colored)
    spaced = PrintableFormatter("12:00 %(levelname).1s %(message)s", paint=colored)
    warning = logging.LogRecord("x", logging.WARNING, "", 0, "W W", (), None)
    assert spaced.format(warning) == "12:00 \x1b[33mW\x1b[0m W W"
    info = logging.LogRecord("x", logging.INFO, "", 0, "fine", (), None)
    assert form.format(info) == "I fine"

"""A terminal gets no orders from transcripts, ids and file names."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr import cli
from ray_asr.terminal import PrintableFormatter, printable

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

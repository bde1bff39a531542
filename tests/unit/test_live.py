"""How far something is: one line in a terminal, lines now and then in a log, and never a mess."""

from __future__ import annotations

import logging
import os
import pty
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ray_asr import live
from ray_asr.job.many_files import for_each
from ray_asr.job.progress import Progress
from ray_asr.live import Live, LiveHandler
from ray_asr.terminal import cells

logger = logging.getLogger("tests.live")


class Terminal:
    """A real pseudo-terminal of so many columns, and what somebody would see in it."""

    def __init__(self, width: int) -> None:
        self._master, slave = pty.openpty()
        os.environ["COLUMNS"] = str(width)
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self.width = width
        self.raw = ""

    def read(self) -> str:
        self.stream.flush()
        os.set_blocking(self._master, False)
        found = b""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except BlockingIOError:
                break
            if not piece:
                break
            found += piece
        self.raw += found.decode()
        return self.raw

    def screen(self) -> list[str]:
        """The lines, after returns and clearings were carried out."""
        lines, line = [], ""
        text = self.read().replace("\r\n", "\n")
        while text:
            if text.startswith("\r\x1b[K"):
                line, text = "", text[4:]
                continue
            character, text = text[0], text[1:]
            assert character not in "\r\x1b", f"an order that is not known before {text[:20]!r}"
            if character == "\n":
                lines.append(line)
                line = ""
            else:
                line += character
                assert cells(line) < self.width or "\n" in text, "it runs over the edge"
        return [*lines, line] if line else lines

    def close(self) -> None:
        if not self.stream.closed:
            self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv(live.ENVIRONMENT, raising=False)
    monkeypatch.setattr(live, "_DELAY_S", 0.0)
    monkeypatch.setattr(live._Terminal, "every_s", 0.0)
    made = Terminal(100)
    monkeypatch.setattr(live, "sys", SimpleNamespace(stderr=made.stream, modules=sys.modules))
    yield made
    made.close()


def test_a_terminal_has_one_line_that_is_written_over(terminal: Terminal) -> None:
    with Live(logger, stays=True) as line:
        line.say("1/4 rows", 0.25)
        assert terminal.screen() == ["█████░░░░░░░░░░░░░░░ 1/4 rows"]
        line.say("2/4 rows", 0.5)
        assert terminal.screen() == ["██████████░░░░░░░░░░ 2/4 rows"]
    assert terminal.screen() == ["2/4 rows"]
    assert terminal.raw.endswith("\n")


def test_where_a_result_follows_the_line_goes(terminal: Terminal) -> None:
    with Live(logger) as line:
        line.say("1/4 rows", 0.25)
    assert terminal.screen() == []


def test_log_lines_do_not_run_into_it(terminal: Terminal) -> None:
    handler = LiveHandler(terminal.stream)
    logger.addHandler(handler)
    try:
        with Live(logger, stays=True) as line:
            line.say("1/4 rows", 0.25)
            logger.warning("a warning")
            assert terminal.screen() == ["a warning", "█████░░░░░░░░░░░░░░░ 1/4 rows"]
            line.say("4/4 rows", 1.0)
        logger.warning("another")
    finally:
        logger.removeHandler(handler)
    assert terminal.screen() == ["a warning", "4/4 rows", "another"]


def test_a_line_that_is_too_long_is_cut_while_it_changes_and_whole_at_the_end(
    terminal: Terminal,
) -> None:
    text = "普通话 " * 40
    with Live(logger, stays=True) as line:
        line.say(text, 0.5)
        (shown,) = terminal.screen()
        assert cells(shown) < 100
        assert shown.endswith("…")
    assert text.strip() in terminal.read().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (12, "1/4 rows; …"),
        (20, "██░░░░░░ 1/4 rows;…"),
        (40, "█████░░░░░░░░░░░░░░░ 1/4 rows; 2 actors"),
    ],
)
def test_the_bar_has_the_room_that_the_first_words_leave(
    terminal: Terminal, width: int, shown: str
) -> None:
    os.environ["COLUMNS"] = str(width)
    terminal.width = width
    with Live(logger) as line:
        line.say("1/4 rows; 2 actors", 0.25)
        assert terminal.screen() == [shown]


def test_others_words_in_it_are_no_orders(terminal: Terminal) -> None:
    with Live(logger) as line:
        line.say("file \x1b[2J\nx", 0.5)
        assert terminal.screen()[-1].endswith("file \\u001b[2J\\nx")


def test_one_inside_another_has_no_line_of_its_own(terminal: Terminal) -> None:
    with Live(logger, stays=True) as outer:
        outer.say("run 2", 0.5)
        with Live(logger) as inner:
            inner.say("1/4 rows", 0.25)
            assert terminal.screen() == ["██████████░░░░░░░░░░ run 2: 1/4 rows"]
        outer.say("run 3", 1.0)
    assert terminal.screen() == ["run 3"]


def test_it_ends_with_what_it_was_about(terminal: Terminal) -> None:
    def fail() -> None:
        with Live(logger, stays=True) as line:
            line.say("1/4 rows", 0.25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert terminal.screen() == ["1/4 rows"]
    assert live._standing == []


def test_who_said_nothing_leaves_nothing(terminal: Terminal) -> None:
    with Live(logger):
        pass
    assert terminal.read() == ""


@pytest.mark.parametrize("why", ["a pipe", "a dumb terminal", "asked for"])
def test_elsewhere_lines_are_logged(
    why: str,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Any,
) -> None:
    if why == "a pipe":
        live.sys.stderr = (tmp_path / "log").open("w", encoding="utf-8")
    elif why == "a dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    else:
        monkeypatch.setenv(live.ENVIRONMENT, "log")
    caplog.set_level(logging.INFO, "tests.live")
    with Live(logger, every_s=3600.0) as line:
        assert not line.due()
        line.say("4/4 rows", 1.0)
    assert [record.getMessage() for record in caplog.records] == ["4/4 rows"]
    assert terminal.read() == ""
    if why == "a pipe":
        live.sys.stderr.close()
        assert (tmp_path / "log").read_text(encoding="utf-8") == ""


def test_somebody_who_is_gone_ends_nothing(terminal: Terminal) -> None:
    with Live(logger) as line:
        line.say("1/4 rows", 0.25)
        terminal.stream.close()
        line.say("2/4 rows", 0.5)


def test_a_terminal_without_utf8_gets_a_bar_of_its_own_characters(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    terminal.stream.reconfigure(encoding="ascii")  # type: ignore[attr-defined]
    with Live(logger) as line:
        line.say("1/4 普", 0.25)
        assert terminal.screen() == ["#####............... 1/4 ?"]


def test_a_run_says_that_it_loads_and_then_how_far_it_is(terminal: Terminal) -> None:
    with Progress(4) as progress:
        assert "0/4 rows, models are being loaded" in terminal.screen()[0]
        progress.update(2, 2000, "2 actor(s)")
        assert "2/4 rows (50 %)" in terminal.screen()[0]
        progress.update(4, 4000, "2 actor(s)")
    (left,) = terminal.screen()
    assert left.startswith("4/4 rows (100 %)")
    assert left.endswith("done; 2 actor(s)")


def test_what_is_done_at_once_says_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_DELAY_S", 60.0)
    for_each(range(20), lambda task: None, 4, "%d/%d files")
    assert terminal.read() == ""


def test_work_on_many_files_counts_up_to_the_last(terminal: Terminal) -> None:
    for_each(range(20), lambda task: None, 4, "%d/%d files")
    assert terminal.read().endswith(" 20/20 files\r\x1b[K")

"""Text from anywhere, as a terminal may have it: no orders, its width known, little colour.

Owns what is not sent to a terminal as it is (transcripts, ids and file names are others' words, and
a terminal takes some of them for orders), how many columns a text takes, and which streams get
colour. Must not know where a text comes from.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from ray_asr.blocks import Tone

# C0 and C1 controls but tab and newline, marks that turn the direction of all that follows, and
# halves of a pair of UTF-16, which no terminal's encoding has.
_ORDERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_CODES: dict[Tone, str] = {"head": "1", "good": "32", "warning": "33", "bad": "31"}
_WIDE = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
)
_WIDE += "\U0001f300-\U0001faff\U00020000-\U0003fffd"
# Full stops, commas and brackets of Chinese and Japanese: no line begins with one of these.
_CLOSING = (
    "\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\uff09\u300d"
    "\u300f\u3011\u3009\u300b\u3015\uff3d\uff5d\u2026"
)
# What a line may be broken between: blanks, a wide character, a word of others.
_PIECES = re.compile(rf"\s+|[{_WIDE}][{_CLOSING}]*|[^\s{_WIDE}]+")
_COLUMNS = 80

Paint = Callable[[str, Tone], str]


def printable(text: str) -> str:
    r"""`text` with control characters written out, such as `\u001b`; lines and tabs stay."""
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    r"""`text` on one line: its line ends and tabs are written out too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


class PrintableFormatter(logging.Formatter):
    """A log record's line with control characters written out, and its level in colour.

    Args:
        form: of a line; `%(levelname).1s` stands for the level.
        clock: of its time.
        paint: what a warning's or an error's level is painted with.
    """

    def __init__(
        self, form: str | None = None, clock: str | None = None, paint: Paint | None = None
    ) -> None:
        super().__init__(form, clock)
        self._paint = paint or plain

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines where it has a traceback."""
        line = printable(super().format(record))
        if record.levelno < logging.WARNING:
            return line
        level = record.levelname[:1]
        tone: Tone = "bad" if record.levelno >= logging.ERROR else "warning"
        return line.replace(f" {level} ", f" {self._paint(level, tone)} ", 1)


def is_terminal(stream: Any) -> bool:
    """Whether somebody sees at once what is written to `stream`."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def can_rewrite(stream: Any) -> bool:
    """Whether `stream` is a terminal that can go back to the start of a line and clear it."""
    return is_terminal(stream) and os.environ.get("TERM", "dumb") != "dumb"


def wants_color(stream: Any) -> bool:
    """Whether texts on `stream` are coloured.

    Said by `NO_COLOR` first, then `FORCE_COLOR` and `CLICOLOR_FORCE`, then `CLICOLOR` and `TERM`;
    where none of them says, terminals get colour, and pipes and files do not.
    Source: no-color.org, force-color.org, bixense.com/clicolors.
    """
    said = os.environ.get
    if said("NO_COLOR"):
        return False
    if force := said("FORCE_COLOR"):
        return force.lower() not in ("0", "false")
    if said("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    if said("CLICOLOR") == "0" or said("TERM") == "dumb":
        return False
    return is_terminal(stream)


def plain(text: str, tone: Tone) -> str:
    """The text as it is."""
    return text


def colored(text: str, tone: Tone) -> str:
    """The text in its tone's colour, for a terminal."""
    return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if tone in _CODES and text else text


def paint_for(stream: Any) -> Paint:
    """What paints texts for `stream`."""
    return colored if wants_color(stream) else plain


def columns(stream: Any) -> int | None:
    """How wide `stream` is, by `COLUMNS` first; None where nobody says, as of a pipe or a file."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said) > 0:
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (AttributeError, OSError, ValueError):
        return None


def cells(text: str) -> int:
    """How many columns a terminal takes for one line of text."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, width: int, align: str = "l") -> str:
    """One line of text with blanks up to `width` columns, at its left where `align` is `r`."""
    blanks = " " * max(0, width - cells(text))
    return blanks + text if align == "r" else text + blanks


def cut(text: str, width: int) -> str:
    """One line of text in at most `width` columns, its end an ellipsis where it was longer."""
    if cells(text) <= width:
        return text
    taken, room = [], width - 1
    for character in text:
        room -= _cells_of(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def wrapped(text: str, width: int) -> list[str]:
    """One line of text as lines of at most `width` columns; a longer word stays whole.

    Chinese, Japanese and Korean text may be broken after any character that another one may follow.
    """
    lines, line, taken = [], "", 0
    for piece in _PIECES.findall(text):
        wide = cells(piece)
        if line and taken + wide > width and not piece.isspace():
            lines.append(line.rstrip())
            line, taken = "", 0
        if line or not piece.isspace():
            line, taken = line + piece, taken + wide
    return [*lines, line.rstrip()]

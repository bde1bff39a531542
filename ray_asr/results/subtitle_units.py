"""A transcript's text as units that no subtitle breaks.

Owns what a unit is (a word with its marks; of Chinese and Japanese a character with them), and how
wide it is on a screen. Must not know subtitles, files or models.

Marks go as line breaking has them in East Asia (kinsoku): no unit begins with a closing mark, a
small kana or a mark of length, and none ends with an opening one. So no line does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_asr.results.chinese_words import chinese_words, is_chinese

# Han, kana, and the wide signs that stand as one: text in them is broken between characters.
_IDEOGRAPH = re.compile(
    "[\u3003-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303a\u3041-\u3096\u309d-\u309f\u30a1-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_NEVER_FIRST = frozenset(
    "\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u308e\u3095\u3096"  # small hiragana
    "\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee\u30f5\u30f6"  # small katakana
    "\u3005\u303b\u309d\u309e\u30fb\u30fc\u30fd\u30fe\uff67\uff68\uff69\uff6a\uff6b\uff6c\uff6d"
    "\uff6e\uff6f\uff70"
)
# Controls, marks that turn the direction of what follows, and what a reader's software may take for
# an order; the joiners that some scripts need stay.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_WIDE_SHARE = 0.25  # of the letters; one Han character stands for some letters of an alphabet

# Languages by their codes and their names, whose text is mostly in full-width characters.
_WIDE_LANGUAGES = frozenset(
    [
        "zh",
        "cmn",
        "yue",
        "wuu",
        "ja",
        "ko",
        "chinese",
        "mandarin",
        "cantonese",
        "japanese",
        "korean",
    ]
)


@dataclass(slots=True)
class Unit:
    """What no subtitle breaks.

    Attributes:
        text: a word or a character with its marks.
        columns: its width; a half-width character is 1, a full-width one 2.
        has_blank: whether a blank stands before it, where that is not the start of a line.
        start_ms: when it begins to be said, from the start of the recording.
        end_ms: when it ends.
        speaker: who says it; "" where that is not known.
        turn: the number of the stretch of one speaker that it is in.
        word: of Chinese text the word that it is in; "" elsewhere.
        ends_word: whether that word ends with it.
    """

    text: str
    columns: int
    has_blank: bool
    start_ms: int = 0
    end_ms: int = 0
    speaker: str = ""
    turn: int = 0
    word: str = ""
    ends_word: bool = True


def plain_text(text: str | None) -> str:
    """Text on one line, without control characters, its blanks collapsed."""
    return " ".join(_CONTROL.sub(" ", text or "").split())


def letters_of(text: str) -> str:
    """What punctuation and case don't change."""
    return "".join(c for c in text if c.isalnum()).casefold()


def is_wide_text(text: str, language: str = "") -> bool:
    """Whether lines of `text` are counted in full-width characters.

    Args:
        text: some of it.
        language: a hint, as a code or a name; "" to go by the text.
    """
    name = re.split(r"[-_ ]", language.strip().lower())[0]
    if name in _WIDE_LANGUAGES:
        return True
    if name and name not in ("auto", "nospeech"):
        return False
    letters = [c for c in text if c.isalnum()]
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in letters)
    return bool(letters) and wide >= _WIDE_SHARE * len(letters)


def columns_of(text: str, is_wide: bool) -> int:
    """The width of `text`: 2 for a full-width character, 1 for another, 0 for a mark on one.

    Characters that fonts have in both widths (quotes, dashes, dots) are full-width in wide text.
    """
    return sum(map(_columns, text, [is_wide] * len(text)))


def _columns(character: str, is_wide: bool) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("WFA" if is_wide else "WF") else 1


def is_ideograph(character: str) -> bool:
    """Whether a line may end behind it and begin with it, without a blank between."""
    return bool(_IDEOGRAPH.match(character))


def units_of(text: str, is_wide: bool, most_columns: int) -> list[Unit]:
    """The units of `text`, in order and untimed.

    Args:
        text: as `plain_text` gives it.
        is_wide: see `columns_of`.
        most_columns: of a line; a unit that is wider (scripts that write words without blanks have
            such) is broken between its characters.
    """
    units: list[Unit] = []
    for piece, has_blank in _with_letters(list(_pieces(text))):
        columns = columns_of(piece, is_wide)
        if columns <= most_columns:
            units.append(Unit(piece, columns, has_blank))
        else:
            units += _broken(piece, has_blank, is_wide, most_columns)
    if is_wide and is_chinese(text):
        _give_words(units, text)
    return units


def _give_words(units: Sequence[Unit], text: str) -> None:
    words = [(word, len(word.replace(" ", ""))) for word in chinese_words(text)]
    word, left = "", 0  # characters of the word that are still to come
    following = iter(words)
    for unit in units:
        for character in unit.text.replace(" ", ""):
            while not left:
                word, left = next(following, ("", 1))
            unit.word = word if character.isalnum() or not unit.word else unit.word
            left -= 1
        unit.ends_word = not left


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Pieces between which a line may be broken, and whether a blank stands before each."""
    piece: list[str] = []
    has_blank, blank_next, has_ideograph = False, False, False
    for character in text:
        if character == " ":
            blank_next = True
            continue
        if piece and (blank_next or _parts(piece[-1], has_ideograph, character)):
            yield "".join(piece), has_blank
            piece, has_ideograph = [], False
        if not piece:
            has_blank, blank_next = blank_next, False
        piece.append(character)
        has_ideograph = has_ideograph or is_ideograph(character)
    if piece:
        yield "".join(piece), has_blank


def _parts(last: str, has_ideograph: bool, character: str) -> bool:
    """Whether a line may end behind a piece and the next one begin with `character`.

    Args:
        last: the piece's last character.
        has_ideograph: whether the piece has one.
        character: what follows it without a blank.
    """
    kind = unicodedata.category(character)
    if kind[0] == "M" or kind == "Cf" or character in _NEVER_FIRST or _opens(last):
        return False
    ends_wide = has_ideograph or unicodedata.east_asian_width(last) in "WF"
    if _opens(character) or kind == "Sc":
        return ends_wide or unicodedata.east_asian_width(character) in "WF"
    if is_ideograph(character):
        return True
    return character.isalnum() and ends_wide and not _is_hangul(last)


def _opens(character: str) -> bool:
    return unicodedata.category(character) in ("Ps", "Pi")


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7ff"


def _with_letters(pieces: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Pieces of marks alone joined to the one before them, or else to the one behind."""
    joined: list[tuple[str, bool]] = []
    for piece, has_blank in pieces:
        before = joined[-1] if joined else None
        lone = not any(c.isalnum() for c in piece)
        if before and (lone or not any(c.isalnum() for c in before[0])):
            joined[-1] = (f"{before[0]}{' ' if has_blank else ''}{piece}", before[1])
        else:
            joined.append((piece, has_blank))
    return joined


def _broken(piece: str, has_blank: bool, is_wide: bool, most_columns: int) -> Iterator[Unit]:
    """A piece wider than a line in parts that fit, no mark parted from what it stands on."""
    part, columns = "", 0
    for character in piece:
        width = _columns(character, is_wide)
        joins = unicodedata.category(character)[0] == "M" or part.endswith("\u200d")
        if part.strip() and columns + width > most_columns and not joins:
            yield Unit(part.strip(), columns_of(part.strip(), is_wide), has_blank)
            has_blank, part, columns = part.endswith(" ") or character == " ", "", 0
        if part or character != " ":
            part, columns = part + character, columns + width
    if part.strip():
        yield Unit(part.strip(), columns_of(part.strip(), is_wide), has_blank)

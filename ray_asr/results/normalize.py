"""Text as it is compared with a reference: its steps, and what a word is.

Knows nothing of files, runs or error rates.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

from ray_asr.errors import ConfigError

Unit = Literal["auto", "word", "char"]

# In the order in which they are done.
STEPS = {
    "nfkc": "Unicode NFKC",
    "case": "lower case",
    "accents": "no accents on letters of Latin, Greek and Cyrillic",
    "apostrophes": "no apostrophes",
    "punctuation": "punctuation to blanks, but apostrophes inside words",
    "symbols": "symbols to blanks",
    "fillers": "no hesitations",
}
BASIC = ("nfkc", "case", "punctuation")
_PRESETS: dict[str, tuple[str, ...]] = {"none": (), "basic": BASIC}

# What people say while they look for words: in English and Chinese, and no word in either.
FILLERS = frozenset(["uh", "uhh", "uhm", "um", "umm", "hm", "hmm", "mm", "mmm", "mhm", "嗯", "呃"])

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u02b9", "'"))
_LONE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")
_ACCENTS = re.compile("[\u0300-\u036f]")
# Scripts without blanks between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff])"
)


@functools.cache
def _to_blank(category: str) -> dict[int, str]:
    """Every character of a category of Unicode, but the apostrophe; there are none above."""
    return {
        code: " "
        for code in range(0x20000)
        if unicodedata.category(chr(code)).startswith(category) and chr(code) != "'"
    }


def steps_of(text: str) -> tuple[str, ...]:
    """The steps that a list with commas names: `none`, `basic`, single ones, `-` before one.

    Raises:
        ConfigError: it names something else.
    """
    names = [name.strip().lower() for name in text.split(",")]
    wanted: set[str] = set(BASIC if names[0].startswith("-") else ())
    for name in names:
        if name in _PRESETS:
            wanted.update(_PRESETS[name])
        elif name in STEPS:
            wanted.add(name)
        elif name[:1] == "-" and name[1:] in STEPS:
            wanted.discard(name[1:])
        else:
            raise ConfigError(
                f"normalize is {text!r}: name none, basic ({', '.join(BASIC)}) or, with commas, "
                f"any of {', '.join(STEPS)}; a - before one leaves it out"
            )
    return tuple(step for step in STEPS if step in wanted)


def normalize(text: str, steps: Collection[str] = BASIC) -> str:
    """Text as it is compared, with single blanks.

    Unless told otherwise: Unicode NFKC, lower case, punctuation to blanks (apostrophes inside words
    stay: "don't"). Numbers and spelling stay as they are: write references as they are said.
    """
    composed = "NFKC" if "nfkc" in steps else "NFC"
    if "nfkc" in steps:
        text = unicodedata.normalize(composed, text)
    if "case" in steps:
        text = text.lower()
    if "accents" in steps:
        text = _ACCENTS.sub("", unicodedata.normalize("NFD", text))
    if "apostrophes" in steps:
        text = text.translate(_APOSTROPHES).replace("'", "")
    if "nfkc" in steps or "accents" in steps:
        text = unicodedata.normalize(composed, text)
    if "punctuation" in steps:
        text = text.translate(_APOSTROPHES).translate(_to_blank("P"))
        text = _LONE_APOSTROPHE.sub(" ", text)
    if "symbols" in steps:
        text = text.translate(_to_blank("S"))
    return " ".join(text.split())


def words(text: str, unit: Unit = "auto") -> list[str]:
    """The words of normalized text: what the word error rate counts.

    `word` splits at blanks, `char` takes each character but blanks, and `auto` splits at blanks and
    takes each character alone of scripts that have no blanks between words, such as Han.
    """
    if unit == "char":
        return list("".join(text.split()))
    return (_UNSPACED.sub(r" \1 ", text) if unit == "auto" else text).split()


def unspaced(some_words: Sequence[str]) -> int:
    """How many words are single characters of scripts without blanks between words."""
    if "".join(some_words).isascii():
        return 0
    return sum(1 for word in some_words if _UNSPACED.fullmatch(word))


class Wording:
    """How texts become what is compared.

    Args:
        unit: what a word is, see `words`.
        steps: of `STEPS`, what is done to a text first.
        replacements: words, with blanks between them, and those that they count as (none: they are
            left out). They are looked for once, from the left, longer ones first, in references and
            in transcripts, after all steps but `fillers`.

    Raises:
        ConfigError: the unit is unknown, or nothing is left of what is to be replaced.
    """

    def __init__(
        self,
        unit: Unit = "auto",
        steps: Collection[str] = BASIC,
        replacements: Mapping[str, str] | None = None,
    ) -> None:
        if unit not in get_args(Unit):
            raise ConfigError(f"unit is {unit!r}; it can be {', '.join(get_args(Unit))}")
        self.unit: Unit = unit
        self.steps = tuple(step for step in STEPS if step in steps)
        self._split: Unit = "word" if unit == "word" else "auto"
        self._replacements: dict[str, dict[tuple[str, ...], list[str]]] = {}
        for said, meant in (replacements or {}).items():
            key = tuple(self._plain(said))
            if not key:
                raise ConfigError(
                    f"the replacement of {said!r} has no word left to look for after "
                    f"{', '.join(self.steps) or 'blanks are cut off'}; leave it out"
                )
            known, value = self._replacements.setdefault(key[0], {}), self._plain(meant)
            if known.setdefault(key, value) != value:
                raise ConfigError(
                    f"{said!r} is replaced in two ways once it is as texts are compared; leave the "
                    "right one"
                )
        for first, known in self._replacements.items():
            longest_first = sorted(known.items(), key=lambda item: -len(item[0]))
            self._replacements[first] = dict(longest_first)
        self.replacements = sum(map(len, self._replacements.values()))

    def words(self, text: str) -> list[str]:
        """The words of a text; where the unit is `char`, still those of `auto`."""
        found = self._plain(text)
        if self._replacements:
            found = self._replaced(found)
        if "fillers" in self.steps:
            found = [word for word in found if word.lower() not in FILLERS]
        return found

    def compared(self, some_words: list[str]) -> Sequence[str]:
        """What is counted of a text's words: themselves, or their characters."""
        return "".join(some_words) if self.unit == "char" else some_words

    def _plain(self, text: str) -> list[str]:
        return words(normalize(text, self.steps), self._split)

    def _replaced(self, found: list[str]) -> list[str]:
        result: list[str] = []
        at = 0
        while at < len(found):
            for said, meant in self._replacements.get(found[at], {}).items():
                if tuple(found[at : at + len(said)]) == said:
                    result += meant
                    at += len(said)
                    break
            else:
                result.append(found[at])
                at += 1
        return result

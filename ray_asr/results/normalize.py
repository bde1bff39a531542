"""Text as it is compared with a reference: normal form and words.

Knows nothing of files, runs or error rates.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Literal

Unit = Literal["auto", "word", "char"]

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u02b9", "'"))
_LONE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")
_HAN = re.compile("([\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


@functools.cache
def _punctuation_to_blank() -> dict[int, str]:
    """Every character of Unicode's categories P*, but the apostrophe; there are none above."""
    return {
        code: " "
        for code in range(0x20000)
        if unicodedata.category(chr(code)).startswith("P") and chr(code) != "'"
    }


def normalize(text: str) -> str:
    """Text as it is compared.

    Unicode NFKC, lower case, punctuation to blanks (apostrophes inside words stay: "don't"), blanks
    collapsed. Numbers, symbols and spelling stay as they are: write references as they are said.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    text = text.translate(_APOSTROPHES).translate(_punctuation_to_blank())
    return " ".join(_LONE_APOSTROPHE.sub(" ", text).split())


def words(text: str, unit: Unit = "auto") -> list[str]:
    """The words of normalized text: what the word error rate counts.

    `word` splits at blanks, `char` takes each character but blanks, and `auto` splits at blanks and
    takes each Han character alone, since Chinese has no blanks between words.
    """
    if unit == "char":
        return list("".join(text.split()))
    return (_HAN.sub(r" \1 ", text) if unit == "auto" else text).split()

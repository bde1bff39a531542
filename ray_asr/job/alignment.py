"""The punctuated text of a recording, cut back to the segments it was joined from.

Owns that cut. Pure: knows texts only. Punctuation adds marks and changes case; it never changes
the letters, and by them the pieces are found again.
"""

from __future__ import annotations

from collections.abc import Sequence


def cut_like(punctuated: str, pieces: Sequence[str]) -> list[str]:
    """Cut `punctuated` into as many texts as `pieces`, each with the letters of its piece.

    A mark goes with the letters before it. Where the letters are not the same (a model that
    rewrites), the unpunctuated pieces are given back.
    """
    letters = ["".join(c for c in piece if c.isalnum()) for piece in pieces]
    if _letters(punctuated) != "".join(letters).casefold():
        return list(pieces)
    cuts: list[str] = []
    position = 0
    for index, piece in enumerate(letters):
        start, left = position, len(piece.casefold())
        while position < len(punctuated) and left > 0:
            left -= len(_letters(punctuated[position]))
            position += 1
        last = index == len(letters) - 1
        while position < len(punctuated) and (last or not punctuated[position].isalnum()):
            position += 1
        cuts.append(punctuated[start:position].strip() if piece else "")
    return cuts


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).casefold()

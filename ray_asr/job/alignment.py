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
    position, left_over = 0, sum(1 for piece in letters if piece)
    for piece in letters:
        if not piece:
            cuts.append("")
            continue
        left_over -= 1
        start, missing = position, len(piece.casefold())
        while position < len(punctuated) and missing > 0:
            missing -= len(_letters(punctuated[position]))
            position += 1
        while position < len(punctuated) and not (left_over and punctuated[position].isalnum()):
            position += 1
        cuts.append(punctuated[start:position].strip())
    return cuts


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum()).casefold()

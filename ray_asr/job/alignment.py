"""The punctuated text of a recording, and the pieces it was joined from.

Owns how the one is found in the other. Pure: knows texts only. Punctuation adds marks and changes
case; it never changes the letters, and by them the pieces are found again.
"""

from __future__ import annotations

from collections.abc import Sequence


def cut_like(punctuated: str, pieces: Sequence[str]) -> list[str]:
    """Cut `punctuated` into as many texts as `pieces`, each with the letters of its piece.

    A mark goes with the letters before it. Where the letters are not the same (a model that
    rewrites), the unpunctuated pieces are given back.
    """
    places = places_of(punctuated, pieces)
    if places is None:
        return list(pieces)
    return [punctuated[start:end].strip() for start, end in places]


def places_of(punctuated: str, pieces: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where each piece stands in `punctuated`, with the marks behind it; None as for `cut_like`."""
    letters = ["".join(c for c in piece if c.isalnum()) for piece in pieces]
    if letters_of(punctuated) != "".join(letters).casefold():
        return None
    places: list[tuple[int, int]] = []
    position, left_over = 0, sum(1 for piece in letters if piece)
    for piece in letters:
        if not piece:
            places.append((position, position))
            continue
        left_over -= 1
        start, missing = position, len(piece.casefold())
        while position < len(punctuated) and missing > 0:
            missing -= len(letters_of(punctuated[position]))
            position += 1
        while position < len(punctuated) and not (left_over and punctuated[position].isalnum()):
            position += 1
        places.append((start, position))
    return places


def letters_of(text: str) -> str:
    """What punctuation does not change."""
    return "".join(c for c in text if c.isalnum()).casefold()

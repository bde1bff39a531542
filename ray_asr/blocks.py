"""What there is to see of a result: facts, grids and sentences, whatever they are shown on.

Owns the parts that a result hands over. Must not know terminals or HTML, nor any result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# What a text is: a heading, or a good, doubtful or bad thing; most texts are plain.
Tone = Literal["plain", "head", "good", "warning", "bad"]
Cell = str | tuple[str, Tone]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, a line each."""

    rows: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of cells below a heading each.

    Attributes:
        head: of the columns; none where it is empty.
        rows: each as long as the others.
        align: `l` or `r` for each column; the first to the left, others to the right where empty.
            A last column to the left is wrapped where it is too long.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: str = ""

    def aligned(self) -> str:
        """`l` or `r` for each column."""
        count = len(self.head) or max((len(row) for row in self.rows), default=0)
        return self.align or ("l" + "r" * count)[:count]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, or a line of another kind."""

    text: str
    tone: Tone = "plain"


Block = Facts | Grid | Said


def split_cell(cell: Cell) -> tuple[str, Tone]:
    """A cell's text and what it is."""
    return (cell, "plain") if isinstance(cell, str) else cell

"""Facts, grids and sentences as lines of text.

Owns columns, wrapping and blank lines. Must not know what is shown, nor a stream: it is told a
width, and given a function that paints.
"""

from __future__ import annotations

from collections.abc import Sequence

from ray_asr.blocks import Block, Cell, Facts, Grid, Said, Tone, split_cell
from ray_asr.terminal import Paint, cells, one_line, padded, plain, wrapped

_GAP = 2
_LEAST_WRAPPED = 24  # in fewer columns a text is harder to read than one that runs over the edge


def as_text(blocks: Sequence[Block], width: int | None = None, paint: Paint = plain) -> str:
    """Blocks below one another; a blank line between all but sentences.

    Args:
        blocks: what is shown; control characters in it are written out.
        width: in columns of a terminal; None: as wide as it comes.
        paint: gives a text its colour.
    """
    lines: list[str] = []
    for block in blocks:
        if lines and not isinstance(block, Said):
            lines.append("")
        if isinstance(block, Said):
            lines += _said(block, width, paint)
        elif isinstance(block, Facts):
            rows = [(name, value) for name, value in block.rows]
            lines += _grid(Grid((), rows, "ll"), width, paint)
        else:
            lines += _grid(block, width, paint)
    return "\n".join(lines)


def _said(said: Said, width: int | None, paint: Paint) -> list[str]:
    text = one_line(said.text)
    first, *others = [text] if width is None else wrapped(text, width)
    # The word that says it all has the colour, and not the whole sentence.
    word, colon, rest = first.partition(":")
    if not colon:
        return [paint(line, said.tone) for line in (first, *others)]
    return [paint(word + colon, said.tone) + rest, *others]


def _grid(grid: Grid, width: int | None, paint: Paint) -> list[str]:
    align = grid.aligned()
    head = [[(name, "head") for name in grid.head]] if any(grid.head) else []
    rows: list[list[tuple[str, Tone]]] = [
        [_ready(cell) for cell in row] for row in [*head, *grid.rows]
    ]
    if not rows:
        return []
    widths = [max(cells(row[n][0]) for row in rows) for n in range(len(align))]
    lines: list[str] = []
    for columns in _columns_together(widths, align, width):
        if lines:
            lines.append("")
        of = [widths[n] for n in columns]
        sides = "".join(align[n] for n in columns)
        if sides[-1] == "l" and width is not None:
            before = sum(of[:-1]) + _GAP * (len(of) - 1)
            of[-1] = min(of[-1], max(width - before, _LEAST_WRAPPED))
        for row in rows:
            lines += _row([row[n] for n in columns], of, sides, paint)
    return lines


def _columns_together(widths: Sequence[int], align: str, width: int | None) -> list[list[int]]:
    """Which columns stand beside one another; others follow below, each time after the first."""
    together = [[0]]
    taken = widths[0]
    for n, wide in enumerate(widths[1:], 1):
        if n == len(widths) - 1 and align[n] == "l":
            wide = min(wide, _LEAST_WRAPPED)  # it is wrapped
        if width is not None and taken + _GAP + wide > width and len(together[-1]) > 1:
            together.append([0])
            taken = widths[0]
        together[-1].append(n)
        taken += _GAP + wide
    return together


def _ready(cell: Cell) -> tuple[str, Tone]:
    text, tone = split_cell(cell)
    return one_line(text).rstrip(), tone


def _row(
    row: Sequence[tuple[str, Tone]], widths: Sequence[int], align: str, paint: Paint
) -> list[str]:
    *others, (last, tone) = row
    start = ""
    for (text, of), wide, side in zip(others, widths, align, strict=False):
        start += padded(text, wide, side).replace(text, paint(text, of), 1) + " " * _GAP
    if align[-1] == "r":
        shown = padded(last, widths[-1], "r")
        return [(start + shown.replace(last, paint(last, tone), 1)).rstrip()]
    first, *more = wrapped(last, widths[-1])
    indent = " " * (sum(widths[:-1]) + _GAP * (len(widths) - 1))
    return [
        (start + paint(first, tone)).rstrip(),
        *(indent + paint(line, tone) for line in more),
    ]

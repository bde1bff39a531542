"""Facts, grids and sentences as HTML for a notebook.

Owns the markup. Texts are others' words: all of them are escaped, with control characters written
out. No colours of its own, so that it reads in light and dark, and nothing that a page which strips
styles and scripts would miss. Must not know what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ray_asr.blocks import Block, Cell, Facts, Grid, Tone, split_cell
from ray_asr.terminal import printable

_MOST_ROWS = 200
_MOST_CHARACTERS = 2000
_MARKS: dict[Tone, str] = {"good": "✓", "warning": "⚠", "bad": "✗"}
_SIDES = {"l": "left", "r": "right"}
_MOST_UNBROKEN = 40


def as_html(blocks: Sequence[Block]) -> str:
    """Blocks below one another, in one element."""
    return f'<div class="ray-asr">{"".join(map(_block, blocks))}</div>'


def progress_html(share: float, text: str) -> str:
    """How far something is (0 to 1): a bar with its line."""
    shown = f"{min(max(share, 0.0), 1.0):.4f}"
    return (
        f'<div class="ray-asr"><progress value="{shown}" max="1" style="width:16em" '
        f'aria-label="progress"></progress> <span>{_text(text)}</span></div>'
    )


def _block(block: Block) -> str:
    if isinstance(block, Facts):
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{_text(name)}</th>'
            f"{_cell(value, 'l')}</tr>"
            for name, value in block.rows
        )
        return f"<table><tbody>{rows}</tbody></table>"
    if isinstance(block, Grid):
        return _grid(block)
    return f"<p>{_marked(block.text, block.tone)}</p>"


def _grid(grid: Grid) -> str:
    align = grid.aligned()
    head = ""
    if any(grid.head):
        cells = "".join(
            f'<th scope="col" style="text-align:{_SIDES[side]}">{_text(name)}</th>'
            for name, side in zip(grid.head, align, strict=False)
        )
        head = f"<thead><tr>{cells}</tr></thead>"
    rows = "".join(f"<tr>{''.join(map(_cell, row, align))}</tr>" for row in grid.rows[:_MOST_ROWS])
    left = len(grid.rows) - _MOST_ROWS
    more = f"<p>… and {left:,} more rows</p>" if left > 0 else ""
    return f"<table>{head}<tbody>{rows}</tbody></table>{more}"


def _cell(cell: Cell, side: str) -> str:
    text, tone = split_cell(cell)
    # Numbers and short texts stay whole, however narrow the page.
    whole = ";white-space:nowrap" if len(text) <= _MOST_UNBROKEN else ""
    return f'<td style="text-align:{_SIDES[side]}{whole}">{_marked(text, tone)}</td>'


def _marked(text: str, tone: Tone) -> str:
    if tone == "plain":
        return _text(text)
    mark = f"{_MARKS[tone]} " if tone in _MARKS else ""
    return f"<strong>{mark}{_text(text)}</strong>"


def _text(text: str) -> str:
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}…"
    return escape(printable(text))

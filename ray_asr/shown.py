"""A result that shows itself: as a table in a terminal, as HTML in a notebook.

Owns what Python, IPython and Jupyter ask of such an object. Must not know any result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ray_asr.blocks import Block
from ray_asr.rich_html import as_html
from ray_asr.terminal import Paint, plain
from ray_asr.text_tables import as_text


class Shown(ABC):
    """What has `blocks()` to be seen, which are all that a subclass gives.

    Attributes:
        width: in which its table is wrapped where no terminal says how wide it is; None: not.
    """

    __slots__ = ()
    width: ClassVar[int | None] = None

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        # IPython takes the first class that says how it prints; a dataclass's own __repr__ is one.
        cls._repr_pretty_ = Shown._repr_pretty_

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """What there is to see."""

    def table(self) -> str:
        """For a terminal: plain text."""
        return self.text_table()

    def text_table(self, width: int | None = None, paint: Paint = plain) -> str:
        """For a terminal of so many columns, in colour where `paint` gives it."""
        return as_text(self.blocks(), width or self.width, paint)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return as_html(self.blocks())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.table())

"""What may look after work on rows, since a row may end the process that works on it.

Owns the two words for it. Must not know what becomes of such a row, or what the work is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Begun(Protocol):
    """Work on several rows that has begun."""

    def allow(self) -> None:
        """Its time counts from now."""
        ...

    def one(
        self, name: str, label: Callable[[], str], seconds: float | None, step: Callable[[], T]
    ) -> T:
        """What `step` gives for one of the rows.

        Args:
            name: of the row in this work.
            label: what a log calls it.
            seconds: of audio that it has; None: its time does not count.
            step: does it.

        Raises:
            RowError: the row is not to be tried any more.
        """
        ...

    def end(self) -> None:
        """It is done, or has raised."""
        ...


class Unwatched:
    """Nobody looks."""

    def allow(self) -> None:
        """No time counts."""

    def one(
        self, name: str, label: Callable[[], str], seconds: float | None, step: Callable[[], T]
    ) -> T:
        """What `step` gives."""
        return step()

    def end(self) -> None:
        """Nothing is to be done."""

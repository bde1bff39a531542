"""What the walks over containers share: what they find out, and how a container can be wrong.

Owns the bound on the parts of a container: a file of a few megabytes can hold millions, and each
costs time here and memory in a decoder. Must not know models or Ray, or what is in a part.
"""

from __future__ import annotations

from dataclasses import dataclass

# Fifteen hours of a live WebM have 2.7 million blocks.
MOST_PARTS = 5_000_000


class CutError(Exception):
    """The bytes end inside something that they began."""


class BrokenError(Exception):
    """The container contradicts itself, or holds what no recording needs; says what."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How long a container says that it is, in seconds.

    Attributes:
        duration_s: what its header says; None where it says nothing.
        least_s: it is at least so long, or its parts contradict each other: more than one of them
            says so. A recording that is too long by this is refused before it is decoded.
        codec: the codec of its one stream, where that decides how it is decoded; "" elsewhere.
    """

    duration_s: float | None = None
    least_s: float = 0.0
    codec: str = ""


class PartCount:
    """Counts the parts of one container.

    Args:
        most: how many a recording has at most.
    """

    def __init__(self, most: int = MOST_PARTS) -> None:
        self._most = most
        self._count = 0

    def add(self) -> None:
        """Count a part.

        Raises:
            BrokenError: there are more than any recording has.
        """
        self._count += 1
        if self._count > self._most:
            raise BrokenError("it is in more parts than a recording has")

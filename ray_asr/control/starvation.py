"""Reading that waits for a CPU which the pool's own actors have.

Owns how many actors are given up for it, and when there is none left to give. Must not know Ray.
The plan leaves reading a CPU of those that Ray has; where something else runs on the cluster, the
actors may have taken it, and then nothing would move any more.
"""

from __future__ import annotations

# No chunk waits or is in work, and nothing is read: so long before an actor is given up for it.
_PATIENCE_S = 5.0


class Starvation:
    """What a pool may have at most, while reading lacks a CPU."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._asked_s = 0.0
        self._cap: int | None = None
        self._room = 0

    def cap(self, now_s: float, size: int, dry: bool, room: int) -> int | None:
        """Actors at most; None: as many as the policy wants.

        One at a time is given up, each after a while in which nothing was read. It stays so until
        nodes come.

        Args:
            now_s: of a clock that goes up.
            size: actors that there are or that wait for a place.
            dry: actors are there and no chunk is, though not all is read, and nobody reads.
            room: actors that the nodes of now hold.
        """
        if self._cap is not None and room > self._room:
            self._cap = None
        self._room = room
        if not dry:
            self._since = None
            return self._cap
        if self._since is None:
            self._since = self._asked_s = now_s
        if now_s - self._asked_s >= _PATIENCE_S and size > 1:
            self._asked_s = now_s
            self._cap = size - 1
        return self._cap

    def waited_s(self, now_s: float) -> float:
        """Since when reading has had no CPU, in seconds."""
        return 0.0 if self._since is None else now_s - self._since

"""What a block of foreign code raised, whatever it is, kept for who can say what it means.

Owns the one way to catch what has no common parent. Must not know whose errors they are.
"""

from __future__ import annotations

from types import TracebackType


class KeptError:
    """Keeps the error of what is done inside it.

    Args:
        passing: kinds that go on to whoever waits for them; so do those that end the process, and
            a lack of memory.

    Attributes:
        error: what was raised; None where nothing was.
    """

    def __init__(self, passing: type[Exception]) -> None:
        self._passing = (passing, MemoryError)
        self.error: Exception | None = None

    def __enter__(self) -> KeptError:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return False
        self.error = error
        return True

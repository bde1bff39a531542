"""Whether what an engine gives back is what its protocol promises.

Owns that look. Must not know rows, or any engine. What is wrong here would be found much later, in
the table of a whole chunk, where it cannot be told any more whose it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

R = TypeVar("R")

_INTEGERS = (int, np.integer)


def checked(results: list[R], items: Sequence[Any], is_sound: Callable[[Any], bool]) -> list[R]:
    """`results`, held to the promise of one for each position, of the kind that is asked for.

    Raises:
        ValueError: it is not so.
    """
    if len(results) != len(items):
        raise ValueError(f"the engine gave {len(results)} results for {len(items)} inputs")
    for result in results:
        if not is_sound(result):
            raise ValueError(f"the engine gave what is no result: {result!r:.200}")
    return results


def is_text(text: Any) -> bool:
    """Text that a column takes; raises where it holds half a character."""
    return isinstance(text, str) and (text.isascii() or bool(text.encode()))


def are_spans(spans: Any) -> bool:
    """Stretches of a recording, or None of them."""
    return all(_is_timed(span) and 0 <= span.start_ms <= span.end_ms for span in spans or ())


def is_heard(heard: Any) -> bool:
    """A `Recognition`, in texts and times."""
    texts = (heard.text, heard.language, heard.emotion, *heard.events)
    return all(map(is_text, texts)) and all(is_text(w.text) and _is_timed(w) for w in heard.words)


def are_voices(voices: Any) -> bool:
    """Embeddings `(N, D)` that can be compared."""
    return isinstance(voices, np.ndarray) and voices.ndim == 2 and bool(np.isfinite(voices).all())


def are_turns(turns: Any) -> bool:
    """Turns of named speakers."""
    return are_spans(turns) and all(is_text(turn.speaker) for turn in turns)


def _is_timed(timed: Any) -> bool:
    return isinstance(timed.start_ms, _INTEGERS) and isinstance(timed.end_ms, _INTEGERS)

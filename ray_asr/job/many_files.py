"""Work on many files, several at a time, with word now and then of how far it is.

Owns the threads. Must not know what is done with a file, or Ray.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ray_asr.live import Live

T = TypeVar("T")

_SAY_EVERY_S = 10.0

logger = logging.getLogger(__name__)


def for_each(tasks: Sequence[T], work: Callable[[T], None], threads: int, words: str) -> None:
    """Do `work` for every task; where one raises, those that have not begun are left out.

    Args:
        tasks: in the order in which they begin.
        work: done in a thread.
        threads: at work at the same time.
        words: of how far it is, with a place for the number done and one for that of all.
    """
    with Live(logger, _SAY_EVERY_S) as live, ThreadPoolExecutor(threads) as pool:
        try:
            for done, _ in enumerate(pool.map(work, tasks), 1):
                if live.due(is_last=done == len(tasks)):
                    live.say(words % (done, len(tasks)), done / len(tasks))
        finally:
            pool.shutdown(cancel_futures=True)

"""Three steps of a stream of batches, each in a thread of its own, results in order.

Owns who waits for whom. Must not know models, Ray or Parquet.

Python's lock is free while torch computes, copies or waits for a device: the host prepares the
next batch and makes words of the last one while the device computes this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_turn(
    batches: Iterable[T],
    prepare: Callable[[T], Any],
    compute: Callable[[Any], Any],
    finish: Callable[[Any], R],
) -> Iterator[Callable[[], R]]:
    """The steps one after the other, each batch when it is asked for.

    For a device that is the host: threads beside the model would take cores that it was granted.

    Yields:
        For each batch, in order, what to call for its result; it raises what a step raised.
    """
    for batch in batches:
        yield lambda batch=batch: finish(compute(prepare(batch)))


def overlapped(
    batches: Iterable[T],
    prepare: Callable[[T], Any],
    compute: Callable[[Any], Any],
    finish: Callable[[Any], R],
    ahead: int = 2,
) -> Iterator[Callable[[], R]]:
    """The steps of up to `ahead` further batches go on while a result is waited for.

    Yields:
        As `in_turn`.
    """
    with (
        ThreadPoolExecutor(1, "prepare-batch") as preparing,
        ThreadPoolExecutor(1, "compute-batch") as computing,
        ThreadPoolExecutor(1, "finish-batch") as finishing,
    ):
        begun: deque[Future[R]] = deque()
        for batch in batches:
            prepared = preparing.submit(prepare, batch)
            computed = computing.submit(_after, prepared, compute)
            begun.append(finishing.submit(_after, computed, finish))
            if len(begun) > ahead:
                yield begun.popleft().result
        while begun:
            yield begun.popleft().result


def _after(earlier: Future[Any], step: Callable[[Any], Any]) -> Any:
    return step(earlier.result())

"""What Ray Data notes of every block, bounded.

It keeps a few kilobytes for each block that an operator ever gave out, for a table at the end that
a job does not show: gigabytes in the driver of a job of tens of thousands of hours. Owns that only
the last of them are kept. Must not know what is in the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

KEPT = 100  # blocks of an operator


@contextmanager
def few_block_stats(context: DataContext) -> Iterator[None]:
    """While it holds, what is executed under `context` keeps notes of its last blocks alone."""
    context.custom_execution_callback_classes.append(_Forgetting)
    try:
        yield
    finally:
        context.custom_execution_callback_classes.remove(_Forgetting)


class _Forgetting(ExecutionCallback):
    def on_execution_step(self, executor: Any) -> None:
        for op in executor._topology or ():
            stats = getattr(op, "_output_blocks_stats", None)
            if isinstance(stats, list) and len(stats) > 2 * KEPT:
                del stats[:-KEPT]

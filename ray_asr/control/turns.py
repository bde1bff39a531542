"""How often Ray Data's scheduling loop turns: as often as chunks need it, not ten times a second.

A turn takes milliseconds of the driver's CPU, whether anything has come or not, and on a machine of
few cores those are an actor's. Owns how long the loop rests between two turns. Must not know what
is in the chunks, or what a policy decides.

Every actor has a chunk beside the one it works on, so that nobody waits for a turn as long as one
comes well before that is done too. How long that takes is known by its bytes.

At the start it must not rest at all: Ray asks once a second what the cluster has, the first answer
is "nothing" (it asks in the background, in 2.60), and until the next one only the first chunk
is taken from those who read. There it is asked again at each turn until it knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

# Ray's own wait for results, in which a turn ends at the latest where none are there.
_TURN_S = 0.1
_MOST_S = 0.5
# Those that wait are of several lengths, and some take less than their length tells.
_TURNS_IN_A_CHUNK = 4


def rest_s(chunk_s: float | None, waiting: int) -> float:
    """How long the loop may rest before its next turn, in seconds.

    Args:
        chunk_s: what an actor takes for a chunk that waits, the shortest mean of all pools; None
            where none is done yet, and every turn may be the one that brings the first.
        waiting: chunks that wait in front of the pools. Without any, an actor may be out of work
            as soon as the next one comes.
    """
    if chunk_s is None or not waiting:
        return 0.0
    return max(0.0, min(_MOST_S, chunk_s / _TURNS_IN_A_CHUNK) - _TURN_S)


@contextmanager
def unhurried(context: DataContext) -> Iterator[None]:
    """While it holds, what is executed under `context` turns no more often than it has to."""
    context.custom_execution_callback_classes.append(_Resting)
    try:
        yield
    finally:
        context.custom_execution_callback_classes.remove(_Resting)


class _Resting(ExecutionCallback):
    def on_execution_step(self, executor: Any) -> None:
        _ask_again(getattr(executor, "_resource_manager", None))
        topology = executor._topology or {}
        pools = [op for op in topology if op.get_autoscaling_actor_pools()]
        queues = [topology[op].input_queues for op in pools]
        waiting = min((sum(queue.num_blocks for queue in of_op) for of_op in queues), default=0)
        means = [_mean_s(op.metrics, of_op) for op, of_op in zip(pools, queues, strict=True)]
        if means and None not in means:
            time.sleep(rest_s(min(mean for mean in means if mean is not None), waiting))


def _mean_s(metrics: Any, queues: Any) -> float | None:
    """What the chunks that wait in front of a pool take, on an average."""
    seconds, done = metrics.block_generation_time or 0.0, metrics.bytes_task_inputs_processed
    waiting = sum(queue.num_blocks for queue in queues)
    if not done or not waiting:
        return None
    return seconds / done * sum(queue.memory_usage for queue in queues) / waiting


def _ask_again(manager: Any) -> None:
    """Have Ray ask at its next turn what the cluster has, where it does not know yet."""
    known = getattr(manager, "_global_limits", None)
    if known is not None and not known.object_store_memory:
        manager._global_limits_last_update_time = 0.0

"""How often Ray Data's scheduling loop turns: as often as chunks need it, not ten times a second.

A turn takes milliseconds of the driver's CPU, whether anything has come or not, and on a machine of
few cores those are an actor's. Owns how long the loop rests between two turns. Must not know what
is in the chunks, or what a policy decides.

Every actor has a chunk beside the one it works on, so that nobody waits for a turn as long as one
comes well before that is done too. How long that takes is known by its bytes.

At the start it must not rest at all. Ray asks once a second what the cluster has, the first answer
is "nothing" (it asks in the background, in 2.60), and until the next one only the first chunk
is taken from those who read. There it is asked again at each turn until it knows. And a turn waits
for a tenth of a second though a chunk has come, as long as anything else has not (reading always
has more): too long where actors have loaded and have nothing to do.

Who takes the results looks for them a hundred times a second: here it is told when they come.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.data import DataContext
from ray.data._internal.execution import streaming_executor_state as state_module
from ray.data._internal.execution.execution_callback import ExecutionCallback

# Ray's own wait for results, in which a turn ends at the latest where none are there.
_TURN_S = 0.1
_FIRST_TURN_S = 0.02  # where actors wait for the first chunks
_MOST_S = 0.5
# Those that wait are of several lengths, and some take less than their length tells.
_TURNS_IN_A_CHUNK = 4
_MOST_WAIT_S = 0.5  # for a result, before it is looked for all the same


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
    turn_s = _turn_s()
    try:
        yield
    finally:
        _set_turn_s(turn_s)
        context.custom_execution_callback_classes.remove(_Resting)


def _turn_s() -> float:
    return getattr(state_module, "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S", _TURN_S)


def _set_turn_s(seconds: float) -> None:
    # Read at each turn, from the module.
    if seconds != _turn_s():
        state_module.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = seconds


class _Resting(ExecutionCallback):
    def before_execution_starts(self, executor: Any) -> None:
        _, state = getattr(executor, "_output_node", None) or (None, None)
        if all(hasattr(state, name) for name in _Results.NEEDS):
            _Results(state)

    def on_execution_step(self, executor: Any) -> None:
        _ask_again(getattr(executor, "_resource_manager", None))
        topology = executor._topology or {}
        pools = [op for op in topology if op.get_autoscaling_actor_pools()]
        queues = [topology[op].input_queues for op in pools]
        waiting = min((sum(queue.num_blocks for queue in of_op) for of_op in queues), default=0)
        means = [_mean_s(op.metrics, of_op) for op, of_op in zip(pools, queues, strict=True)]
        _set_turn_s(_FIRST_TURN_S if any(map(_waits_for_its_first, pools)) else _TURN_S)
        if means and None not in means:
            time.sleep(rest_s(min(mean for mean in means if mean is not None), waiting))


def _waits_for_its_first(op: Any) -> bool:
    """Whether an actor of this pool has loaded and has no chunk, where none is done yet."""
    if op.metrics.bytes_task_inputs_processed:
        return False
    return any(pool.num_idle_actors() for pool in op.get_autoscaling_actor_pools())


class _Results:
    """What comes out at the end of `state`'s operators, waited for and not looked for.

    Args:
        state: Ray Data's state of the last operator.
    """

    NEEDS = (
        "add_output", "mark_finished", "get_output_blocking", "output_queue",
        "_finished", "_exception", "_num_waiting_consumers", "_waiting_consumers_lock",
    )  # fmt: skip

    def __init__(self, state: Any) -> None:
        self._state, self._came = state, threading.Event()
        self._take = state.get_output_blocking
        state.get_output_blocking = self._next
        state.add_output = self._telling(state.add_output)
        state.mark_finished = self._telling(state.mark_finished)

    def _telling(self, step: Any) -> Any:
        def told(*arguments: Any) -> Any:
            try:
                return step(*arguments)
            finally:
                self._came.set()

        return told

    def _is_there(self, split: int | None) -> bool:
        state = self._state
        return state._finished or state._exception or state.output_queue.has_next(split)

    def _next(self, split: int | None) -> Any:
        """What Ray's own gives, called when it does not have to wait."""
        state = self._state
        if not self._is_there(split):
            with state._waiting_consumers_lock:
                state._num_waiting_consumers += 1
            try:
                while not self._is_there(split):
                    self._came.wait(_MOST_WAIT_S)
                    self._came.clear()
            finally:
                with state._waiting_consumers_lock:
                    state._num_waiting_consumers -= 1
        return self._take(split)


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

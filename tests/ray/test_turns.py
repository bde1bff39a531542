"""What Ray Data's own operators say of chunks, by which its loop rests."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.data import ActorPoolStrategy, DataContext
from ray.data._internal.execution import streaming_executor_state as state_module
from ray.data._internal.execution.execution_callback import ExecutionCallback

from ray_asr.control import turns

pytestmark = pytest.mark.usefixtures("ray_local")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

QUICK_S, SLOW_S = 0.1, 0.5


class _Look(ExecutionCallback):
    """Whether Ray knows what the cluster has, and when it asked, after each turn."""

    seen: list[tuple[bool, float]] = []  # noqa: RUF012 - of this class, which Ray makes an object of

    def on_execution_step(self, executor: Any) -> None:
        manager = executor._resource_manager
        knows = bool(manager._global_limits.object_store_memory)
        self.seen.append((knows, manager._global_limits_last_update_time))


class Quick:
    """A pool's callable that takes a while."""

    takes_s = QUICK_S

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.takes_s)
        return batch


class Slow(Quick):
    """One that takes longer."""

    takes_s = SLOW_S


def test_the_loop_rests_by_the_quickest_pool_while_chunks_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    asked: list[tuple[float | None, int]] = []

    def rest_s(chunk_s: float | None, waiting: int) -> float:
        asked.append((chunk_s, waiting))
        return 0.0

    monkeypatch.setattr(turns, "rest_s", rest_s)
    pool = {"batch_size": 1, "num_cpus": 0.1, "compute": ActorPoolStrategy(size=1)}
    with turns.unhurried(context):
        rows = ray.data.from_items([{"x": number} for number in range(12)], override_num_blocks=12)
        found = rows.map_batches(Quick, **pool).map_batches(Slow, **pool).take_all()
    assert sorted(row["x"] for row in found) == list(range(12))
    assert context.custom_execution_callback_classes == []
    # Not before each has done a chunk, and then with the mean of the quick one.
    chunks_s = [chunk_s for chunk_s, _ in asked if chunk_s is not None]
    assert len(chunks_s) == len(asked) > 0
    assert all(QUICK_S <= chunk_s < SLOW_S for chunk_s in chunks_s)
    assert all(waiting > 0 for _, waiting in asked)


def test_until_ray_knows_what_the_cluster_has_it_asks_at_every_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    _Look.seen = []
    with turns.unhurried(context):
        context.custom_execution_callback_classes.append(_Look)
        rows = ray.data.from_items([{"x": number} for number in range(4)], override_num_blocks=4)
        compute = ActorPoolStrategy(size=1)
        assert rows.map_batches(Slow, batch_size=1, num_cpus=0.1, compute=compute).count() == 4
    assert all(asked == 0 for knows, asked in _Look.seen if not knows)
    assert _Look.seen[-1][0]
    assert _Look.seen[-1][1] > 0  # and then no more often than Ray does


class Broken(Quick):
    """One that fails."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("broken on purpose")


class Late(Quick):
    """A task's callable that keeps who comes behind it waiting."""

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(1.0)
        return batch


class _Watch(ExecutionCallback):
    """How long the loop's turns may be, after each."""

    turns_s: list[float] = []  # noqa: RUF012 - of this class, which Ray makes an object of

    def on_execution_step(self, executor: Any) -> None:
        self.turns_s.append(state_module.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S)


def numbers(count: int) -> ray.data.Dataset:
    return ray.data.from_items([{"x": n} for n in range(count)], override_num_blocks=count)


def test_who_takes_results_is_told_and_does_not_look_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    looked: list[float] = []

    def sleep(seconds: float) -> None:
        looked.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(state_module, "time", SimpleNamespace(time=time.time, sleep=sleep))
    pool = {"batch_size": 1, "num_cpus": 0.1, "compute": ActorPoolStrategy(size=1)}
    with turns.unhurried(context):
        found = [row["x"] for row in numbers(4).map_batches(Slow, **pool).iter_rows()]
    assert sorted(found) == list(range(4))
    assert looked == []
    assert len(list(numbers(2).map_batches(Slow, **pool).iter_rows())) == 2
    assert len(looked) > 20  # as Ray has it: a hundred times a second


def test_who_takes_results_is_told_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    pool = {"batch_size": 1, "num_cpus": 0.1, "compute": ActorPoolStrategy(size=1)}
    with turns.unhurried(context), pytest.raises(Exception, match="broken on purpose"):
        numbers(3).map_batches(Broken, **pool).take_all()


def test_turns_are_short_while_an_actor_waits_for_the_first_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    monkeypatch.setattr(context, "wait_for_min_actors_s", 60)  # they have loaded before any turn
    _Watch.turns_s = []
    usual_s = state_module.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S
    pool = {"batch_size": 1, "num_cpus": 0.1, "compute": ActorPoolStrategy(size=1)}
    late = {"batch_size": 1, "num_cpus": 0.2}  # not as the pool, which Ray would make one with it
    with turns.unhurried(context):
        context.custom_execution_callback_classes.append(_Watch)
        assert (
            numbers(3).map_batches(Late().__call__, **late).map_batches(Quick, **pool).count() == 3
        )
        context.custom_execution_callback_classes.remove(_Watch)
    assert min(_Watch.turns_s) < usual_s / 2
    assert _Watch.turns_s[-1] == usual_s
    assert usual_s == state_module.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S

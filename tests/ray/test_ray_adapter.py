"""A policy's word on a real pool of Ray Data."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.data import ActorPoolStrategy, DataContext, Dataset

from ray_asr.control import ray_adapter
from ray_asr.control.announcing import Announcing
from ray_asr.control.pool_control import PoolControl
from ray_asr.control.ray_adapter import contract_problems, install, remove
from ray_asr.control.signals import Decision, Signals
from ray_asr.errors import PlanError

pytestmark = pytest.mark.usefixtures("ray_local")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


class Ours:
    """A pool's callable that takes a while and says which process it was."""

    def __init__(self, announce: Callable[[], Any] = lambda: None, takes_s: float = 0.1) -> None:
        announce()
        self._takes_s = takes_s

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self._takes_s)
        return {**batch, "pid": [os.getpid()] * len(batch["id"])}


class Theirs(Ours):
    """Another pool of the same dataset."""


class Asked:
    """A policy that answers by a function and keeps what it was told."""

    def __init__(self, target: Callable[[Signals], int]) -> None:
        self._target = target
        self.told: list[Signals] = []

    def decide(self, signals: Signals) -> Decision:
        self.told.append(signals)
        return Decision(self._target(signals), "the test says so")


def pool_of(
    dataset: Dataset, stage: type[Ours], least: int, most: int, num_cpus: float, *args: Any
) -> Dataset:
    return dataset.map_batches(
        stage,
        fn_constructor_args=args,
        batch_size=1,
        num_cpus=num_cpus,
        compute=ActorPoolStrategy(
            min_size=least, max_size=most, initial_size=least, max_tasks_in_flight_per_actor=2
        ),
    )


def run(control: PoolControl, build: Callable[[Dataset], Dataset], rows: int) -> list[int]:
    context = DataContext.get_current()
    before = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    assert install(context, control)
    try:
        dataset = build(ray.data.range(rows, override_num_blocks=rows))
        return [row["id"] for row in dataset.iter_rows()]
    finally:
        remove(context, control)
        context.enable_progress_bars, context.print_on_execution_start = before


def sizes(policy: Asked) -> list[int]:
    return [signals.running for signals in policy.told]


def test_the_pool_grows_and_shrinks_as_the_policy_says_and_no_row_is_lost() -> None:
    policy = Asked(lambda s: 1 if s.chunks_done < 10 else 5 if s.chunks_done < 90 else 2)  # type: ignore[operator]
    control = PoolControl(lambda: policy, "Ours", num_cpus=0.25, cores=2.0, period_s=0.2)

    def build(dataset: Dataset) -> Dataset:
        dataset = pool_of(dataset, Ours, 1, 6, 0.25)
        return pool_of(dataset, Theirs, 2, 2, 0.25, lambda: None, 0.0)

    ids = run(control, build, 170)
    assert sorted(ids) == list(range(170))
    running = sizes(policy)
    grown = running.index(5)
    assert running[0] <= 1
    assert 2 in running[grown:]
    assert control.most_running == 5
    assert control.moments[0].target == 1
    assert {moment.target for moment in control.moments} == {1, 5, 2}
    assert all(moment.reason == "the test says so" for moment in control.moments)
    last = policy.told[-1]
    assert last.load_s is not None
    assert last.room == 12  # 3 CPUs and a quarter of one for each; one CPU reads
    assert last.granted_percent == pytest.approx(100 * last.running * 0.25 / 2)
    assert last.busy_s is not None
    assert last.busy_s > 0


def test_bounds_of_the_pool_hold_whatever_the_policy_says() -> None:
    policy = Asked(lambda _: 50)
    control = PoolControl(lambda: policy, "Ours", num_cpus=0.25, period_s=0.1)
    ids = run(control, lambda dataset: pool_of(dataset, Ours, 1, 3, 0.25), 60)
    assert sorted(ids) == list(range(60))
    assert control.most_running == 3


class Mortal(Ours):
    """Its process dies at one row, the first time."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self._marker = marker

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["id"][0] == 20 and not os.path.exists(self._marker):
            open(self._marker, "w").close()
            os._exit(1)
        return super().__call__(batch)


def test_an_actor_that_dies_is_counted_and_its_rows_come_out(tmp_path: Any) -> None:
    policy = Asked(lambda _: 2)
    control = PoolControl(lambda: policy, "Mortal", num_cpus=0.25, period_s=0.05)
    marker = str(tmp_path / "died")
    ids = run(control, lambda dataset: pool_of(dataset, Mortal, 2, 2, 0.25, marker), 120)
    assert os.path.exists(marker)
    assert sorted(ids) == list(range(120))
    assert policy.told[-1].lost >= 1


def test_a_pool_without_a_place_ends_the_run_and_says_what_is_missing() -> None:
    policy = Asked(lambda _: 1)
    control = PoolControl(lambda: policy, "Ours", num_cpus=64.0, actor_timeout_s=2.0, period_s=0.1)
    with pytest.raises(PlanError, match=r"each needs 64 CPU \(of 4 in the cluster"):
        run(control, lambda dataset: pool_of(dataset, Ours, 1, 1, 64.0), 3)


def test_a_slow_load_is_no_lack_of_a_place() -> None:
    policy = Asked(lambda _: 1)
    control = PoolControl(lambda: policy, "Ours", num_cpus=0.25, actor_timeout_s=8.0, period_s=0.1)
    slow = Announcing(control.name, lambda: time.sleep(12))
    ids = run(control, lambda dataset: pool_of(dataset, Ours, 1, 1, 0.25, slow), 3)
    assert sorted(ids) == [0, 1, 2]


def test_rays_internals_are_as_the_adapter_was_written_for() -> None:
    assert contract_problems() == []


def test_another_ray_is_said_once_and_scales_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_adapter, "contract_problems", lambda: ["Scaler has no scale"])
    policy = Asked(lambda _: 1)
    control = PoolControl(lambda: policy, "Ours", num_cpus=0.25)
    context = DataContext.get_current()
    with caplog.at_level(logging.WARNING, "ray_asr"):
        assert not install(context, control)
    remove(context, control)
    assert "Scaler has no scale" in caplog.text
    dataset = pool_of(ray.data.range(4, override_num_blocks=4), Ours, 1, 2, 0.25)
    assert sorted(row["id"] for row in dataset.iter_rows()) == [0, 1, 2, 3]
    assert policy.told == []

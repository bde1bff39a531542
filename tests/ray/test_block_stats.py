"""Ray Data's notes of blocks do not grow with a job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

from ray_asr.control.block_stats import KEPT, few_block_stats

pytestmark = pytest.mark.usefixtures("ray_local")

BLOCKS = 10 * KEPT


class _Look(ExecutionCallback):
    kept: list[int] = []  # noqa: RUF012 - of this class, which Ray makes an object of

    def on_execution_step(self, executor: Any) -> None:
        self.kept += [len(getattr(op, "_output_blocks_stats", ())) for op in executor._topology]


def many_blocks(batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(BLOCKS):
        yield {"x": [number]}


@pytest.mark.parametrize("bounded", [True, False])
def test_only_the_last_blocks_are_noted(bounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    context = DataContext.get_current()
    monkeypatch.setattr(context, "target_max_block_size", 1)
    monkeypatch.setattr(context, "custom_execution_callback_classes", [])
    _Look.kept = []
    with few_block_stats(context) if bounded else contextlib.nullcontext():
        context.custom_execution_callback_classes.append(_Look)
        # A dataset has a copy of the context as it is when it is made.
        rows = ray.data.from_items([{"x": 0}]).map_batches(many_blocks).take_all()
    assert len(rows) == BLOCKS
    assert (max(_Look.kept) <= 3 * KEPT) == bounded, max(_Look.kept)
    assert context.custom_execution_callback_classes == [_Look]

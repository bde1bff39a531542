"""Samples of a run on a real Ray, and what the job leaves of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.control.monitor import SAMPLES_SCHEMA, Monitor
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import speech_table

pytestmark = pytest.mark.usefixtures("ray_local")


def test_every_node_is_sampled_and_what_the_driver_says_stands_beside_it() -> None:
    with Monitor(ncpu=1.0, interval_s=0.2) as monitor:
        assert monitor.latest().cpu_percent is None
        monitor.run.rows = 7
        until = time.monotonic() + 60
        while monitor.table().num_rows < 5 and time.monotonic() < until:
            time.sleep(0.2)
        latest = monitor.latest()
    table = monitor.table()
    assert table.schema == SAMPLES_SCHEMA
    assert table.num_rows >= 5
    assert len(set(table["node"].to_pylist())) == 1
    assert set(table["rows"].to_pylist()) == {7}
    times = table["time_s"].to_pylist()
    assert times == sorted(times)
    assert latest.cpu_percent is not None
    assert 0 <= latest.cpu_percent <= 100
    assert monitor.mean("cpu_percent") is not None
    assert monitor.mean("gpu_percent") is None


def test_a_run_leaves_its_plan_its_samples_and_why_it_scaled(
    tmp_path: Path, embedded_speech: list[dict[str, str]]
) -> None:
    pq.write_table(speech_table(embedded_speech[:24]), tmp_path / "a.parquet")
    models = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}
    config = with_settings(Config(), {**models, "sample_interval_s": 0.2})
    summary = transcribe_path(str(tmp_path / "a.parquet"), str(tmp_path / "out"), config)
    folder = tmp_path / "out" / "_runs" / summary.run_id
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["ncpu"] == summary.ncpu
    assert all(plan["reasons"].values())
    scaling = json.loads((folder / "scaling.json").read_text())
    assert max(change["running"] for change in scaling) <= summary.actors_max
    assert all(change["reason"] for change in scaling)
    samples = pq.read_table(folder / "samples.parquet")
    assert samples.num_rows > 3
    assert summary.cpu_percent_mean == pytest.approx(
        sum(samples["cpu_percent"].to_pylist()) / samples.num_rows
    )
    assert max(samples["running"].to_pylist()) <= summary.actors_max
    assert 1 <= summary.actors_max <= plan["recognize"]["most"]

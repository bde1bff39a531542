"""What a job says of its actors and machines while it runs, and what stays of it."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.control.capacity import ClusterResources, Node
from ray_asr.job import steering
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import speech_table

pytestmark = pytest.mark.usefixtures("ray_local")


def test_progress_and_samples_tell_each_actor_and_each_group_of_cores(
    tmp_path: Path, embedded_speech: list[dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    pq.write_table(speech_table(embedded_speech[:60]), tmp_path / "a.parquet")
    models = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}
    config = with_settings(
        Config(), {**models, "sample_interval_s": 0.2, "autoscale": False, "num_actors": 2}
    )
    with caplog.at_level("INFO", "ray_asr.job.progress"):
        run = transcribe_path(str(tmp_path / "a.parquet"), str(tmp_path / "out"), config)
    line = caplog.messages[-1]
    assert re.search(
        r"; \d+ actor\(s\) \d+ % busy(, \d+ loading)?, CPU \d+ %, memory \d+ %, \d+ chunk", line
    ), line
    samples = pq.read_table(tmp_path / "out" / "_runs" / run.run_id / "samples.parquet").to_pylist()
    # A process is seen while it still loads; the run may end before it took any work.
    pids = {one["actor"] for row in samples for one in row["actors_busy"]}
    assert 1 <= run.actors_max <= 2
    assert 1 <= len(pids) <= 2
    for row in samples:
        assert len(row["actors_busy"]) == row["actors"]
        assert all(0 <= one["busy_share"] <= 1 for one in row["actors_busy"])
        groups = [group["cpu_percent"] for group in row["core_groups"]]
        assert min(groups) - 1e-6 <= row["cpu_percent"] <= max(groups) + 1e-6


def test_the_models_are_measured_where_memory_decides_how_many_actors_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Of eight actors of the assumed size it would hold one; the embedded models are smaller.
    tight = ClusterResources((Node(9, 8, memory_gb=9.0),))
    monkeypatch.setattr(steering, "cluster_resources", lambda: tight)
    config = with_settings(Config(), {"model": "demo", "vad_model": "demo", "punc_model": "demo"})
    assumed = steering.plan_run(config, measure=False)
    assert (assumed.load_s, "the models are measured" in caplog.text) == (None, False)
    with caplog.at_level("INFO", "ray_asr"):
        measured = steering.plan_run(config)
    assert "the models are measured" in caplog.text
    assert measured.load_s is not None
    assert measured.recognize.most * measured.ncpu > assumed.recognize.most * assumed.ncpu

"""A cluster on which others run: reading gets its CPU, or the job says that it has none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from ray.data import DataContext

from ray_asr.config import Config, with_settings
from ray_asr.errors import PlanError
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import speech_table

pytestmark = pytest.mark.usefixtures("ray_local")
CPUS = 4  # of that Ray
CONFIG = with_settings(
    Config(),
    {"model": "demo", "vad_model": "demo", "punc_model": "demo", "ncpu": 1, "precision": "fp32"},
)


@contextmanager
def taken(cpus: int) -> Iterator[None]:
    """So many of Ray's CPUs are another job's."""

    class Other:
        def is_there(self) -> bool:
            return True

    others: list[Any] = [ray.remote(Other).options(num_cpus=1).remote() for _ in range(cpus)]
    ray.get([other.is_there.remote() for other in others])
    try:
        yield
    finally:
        for other in others:
            ray.kill(other)
        deadline = time.monotonic() + 30
        while ray.available_resources().get("CPU", 0.0) < CPUS and time.monotonic() < deadline:
            time.sleep(0.2)


@pytest.fixture
def source(tmp_path: Path, embedded_speech: list[dict[str, str]]) -> str:
    pq.write_table(speech_table(embedded_speech[:12]), tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


@pytest.fixture
def actors_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read before the actors have loaded, or reading could be the faster one."""
    monkeypatch.setattr(DataContext.get_current(), "wait_for_min_actors_s", 120)


@pytest.mark.usefixtures("actors_come_first")
def test_an_actor_is_given_up_where_reading_has_no_cpu(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_settings(CONFIG, {"num_actors": 2, "max_actors": 2})
    with taken(CPUS - 2), caplog.at_level("INFO", "ray_asr"):
        run = transcribe_path(source, str(tmp_path / "out"), config)
    assert (run.rows_out, run.rows_failed) == (12, 0)
    assert "reading has no CPU: an actor gives it one" in caplog.text


def test_a_single_cpu_is_no_place_for_actor_and_reading_and_that_is_said(
    source: str, tmp_path: Path
) -> None:
    config = with_settings(CONFIG, {"num_actors": 1, "max_actors": 1, "actor_timeout_s": 8.0})
    started = time.monotonic()
    with taken(CPUS - 1), pytest.raises(PlanError, match=r"no (CPU|actor has had a place) for"):
        transcribe_path(source, str(tmp_path / "out"), config)
    assert time.monotonic() - started < 120

"""The tuner on a real Ray with the embedded models: settings measured, a baseline left behind."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray.data import DataContext

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.control.baseline import Baseline, load_baseline
from ray_asr.control.capacity import ClusterResources, Node
from ray_asr.control.plan import make_plan
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.errors import ConfigError, EngineFatalError, RayAsrError
from ray_asr.job.pipeline import transcribe_path
from ray_asr.job.tune import TuneOptions, TuneResult, run_tune
from tests.conftest import speech_table, write_shard

# Every setting is a job of its own, with actors that load models.
pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(900), pytest.mark.long]

# Short segments and batches, so that a sample of seconds holds chunks for every actor.
CONFIG = with_settings(
    Config(),
    {
        "model": "demo", "vad_model": "demo", "punc_model": "", "language": "en",
        "max_single_segment_time": 2000, "batch_size_s": 4.0,
    },
)  # fmt: skip
ROWS = 16
TWO_CORES = ClusterResources((Node(ray_cpus=3, cores=2, memory_gb=16.0),))
PLAN_OF = partial(make_plan, TWO_CORES, None)


def without_pairs() -> type[FunASREngine]:
    """An engine that does not start with two cores; made here, so that actors get it by value."""

    class NoPairs(FunASREngine):
        def __init__(self, config: EngineConfig) -> None:
            super().__init__(config)
            self._wide = config.ncpu > 1

        def load(self) -> None:
            if self._wide:
                raise EngineFatalError("this device has no room for two.")
            super().load()

    return NoPairs


def tune(source: Path, out: Path, make_engine: Any = FunASREngine, **more: Any) -> TuneResult:
    options = TuneOptions(**{"sample_minutes": 0.2, "repeat": 1, "out": str(out), **more})
    return run_tune(str(source), CONFIG, options, make_engine=make_engine, plan_of=PLAN_OF)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, embedded_speech: list[dict[str, str]]) -> Path:
    path = tmp_path_factory.mktemp("in") / "shard.parquet"
    return write_shard(speech_table(embedded_speech[:ROWS]), path)


@pytest.fixture(scope="module")
def tuned(
    ray_local: None, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TuneResult, Path]:
    out = tmp_path_factory.mktemp("tuned") / "baseline.json"
    # Time for the first sample of all of them; how the search goes on has tests without a clock.
    return tune(source, out, without_pairs(), precisions=("int8",), budget_minutes=0.5), out


def test_settings_are_measured_and_the_best_is_kept(tuned: tuple[TuneResult, Path]) -> None:
    result, out = tuned
    found = load_baseline(out)
    assert found == result.baseline
    default = found.default()
    assert default is not None
    assert (default.ncpu, default.actors, default.repetitions) == (1, 2, 1)
    assert default.precision in ("fp32", "int8")
    best = found.best()
    assert best.x_real_time >= default.x_real_time > 1.0
    assert best.x_least <= best.x_real_time <= best.x_most
    for entry in found.entries:
        if not entry.error:
            assert entry.load_s is not None
            assert entry.load_s > 0
            assert entry.cpu_percent is not None
            assert 0 < entry.cpu_percent <= 100
    assert {entry.actors for entry in found.entries} >= {1, 2}
    assert len({entry.batch_size_s for entry in found.entries}) >= 2
    assert "best" in str(result)


def test_a_setting_that_fails_is_an_entry_with_its_error(tuned: tuple[TuneResult, Path]) -> None:
    failed = [entry for entry in tuned[0].baseline.entries if entry.error]
    assert failed
    assert all("no room for two" in entry.error for entry in failed if entry.ncpu == 2)
    assert any(entry.ncpu == 2 for entry in failed)


def test_the_plan_takes_what_was_best(tuned: tuple[TuneResult, Path]) -> None:
    best = tuned[0].baseline.best()
    plan = make_plan(TWO_CORES, None, with_settings(CONFIG, {"batch_size_s": 0.0}), load_baseline(
        tuned[1]
    ))  # fmt: skip
    assert (plan.ncpu, plan.recognize.start) == (best.ncpu, best.actors)
    assert plan.batch_size_s == best.batch_size_s


def test_a_job_takes_a_baseline_of_this_machine_and_says_so(
    tuned: tuple[TuneResult, Path], source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = tuned[0].baseline
    best = dataclasses.replace(found.best(), precision="fp32", ncpu=1, actors=1, stages="fused")
    dataclasses.replace(found, entries=(best,)).save(tmp_path / "b.json")
    config = with_settings(CONFIG, {"baseline": str(tmp_path / "b.json"), "autoscale": False})
    with caplog.at_level("INFO", "ray_asr"):
        summary = transcribe_path(str(source), str(tmp_path / "out"), config)
    assert f"the baseline {tmp_path / 'b.json'} is used" in caplog.text
    assert (summary.precision, summary.actors_max, summary.rows_out) == ("fp32", 1, ROWS)


def test_nothing_is_left_of_the_measuring(tuned: tuple[TuneResult, Path]) -> None:
    assert [file.name for file in tuned[1].parent.iterdir()] == ["baseline.json"]
    assert DataContext.get_current().wait_for_min_actors_s < 1800


def faster(baseline: Baseline) -> Baseline:
    """The same with a hundred times every speed, on a shorter sample."""
    entries = [dataclasses.replace(e, x_real_time=e.x_real_time * 100) for e in baseline.entries]
    sample = dataclasses.replace(baseline.sample, audio_s=20.0)
    return dataclasses.replace(baseline, entries=tuple(entries), sample=sample)


def test_a_check_says_that_it_became_slower(
    tuned: tuple[TuneResult, Path], source: Path, tmp_path: Path
) -> None:
    faster(tuned[0].baseline).save(tmp_path / "b.json")
    before = (tmp_path / "b.json").read_bytes()
    assert tune(source, tmp_path / "b.json", check=True).slower is True
    assert (tmp_path / "b.json").read_bytes() == before


def test_a_check_on_another_machine_is_refused(
    tuned: tuple[TuneResult, Path], source: Path, tmp_path: Path
) -> None:
    hardware = dataclasses.replace(tuned[0].baseline.hardware, cpu="Another CPU")
    other = dataclasses.replace(tuned[0].baseline, hardware=hardware)
    other.save(tmp_path / "b.json")
    with pytest.raises(ConfigError, match=r"measured with Another CPU.*ray-asr tune"):
        tune(source, tmp_path / "b.json", check=True)


def test_a_model_that_does_not_exist_is_said_before_anything_is_measured(
    source: Path, tmp_path: Path
) -> None:
    wrong = with_settings(CONFIG, {"model": os.fspath(tmp_path / "no-model")})
    with pytest.raises(ConfigError, match="no-model"):
        run_tune(
            str(source),
            wrong,
            TuneOptions(sample_minutes=0.2, out=str(tmp_path / "b.json")),
            plan_of=PLAN_OF,
        )
    assert not (tmp_path / "b.json").exists()


def test_where_nothing_can_be_measured_the_reason_is_said(source: Path, tmp_path: Path) -> None:
    def broken(config: EngineConfig) -> FunASREngine:
        raise RuntimeError("no such thing")

    with pytest.raises(RayAsrError, match=r"no setting could be measured.*no such thing"):
        tune(source, tmp_path / "b.json", broken, budget_minutes=0.02)
    assert not (tmp_path / "b.json").exists()

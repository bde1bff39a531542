"""One job on paper: from an input, a finished run or its audio-hours, and what a tuner measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from ray_asr import cli
from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import Baseline, Entry, Hardware, Models, Sample
from ray_asr.control.capacity import ClusterResources, Node
from ray_asr.control.plan import make_plan
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.forecast import ForecastOptions, forecast
from ray_asr.job.summary import RunSummary, begin_run, write_run
from tests.fakes import tone, wav_bytes, write_input

ONE = Entry(1, 1, 30.0, "int8", "fused", x_real_time=20.0, sample_s=400.0, load_s=5.0, start_s=8.0)
TWO = dataclasses.replace(ONE, actors=2, x_real_time=34.0, is_default=True)
BASELINE = Baseline(
    "2026-11-23 10:00 UTC", Hardware("A CPU", 1, 2, 16.0), Models("demo", "builtin"), {},
    Sample(400.0, 50), (ONE, TWO),
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Config:
    BASELINE.save(tmp_path / "b.json")
    return with_settings(Config(), {"baseline": str(tmp_path / "b.json")})


def a_run(output: Path, audio_s: float, wall_s: float, **settings: Any) -> str:
    """What a job leaves that recognized so much in such a time."""
    config = with_settings(Config(), {"model": "demo", "autoscale": False, **settings})
    plan = make_plan(ClusterResources((Node(3, 2, memory_gb=16.0),)), None, config)
    summary = RunSummary(
        run_id="20261123T101010-abcdef", output=str(output), rows_in=90, rows_out=90, rows_ok=90,
        rows_no_speech=0, rows_failed=0, rows_resumed=0, audio_s=audio_s, wall_s=wall_s,
        rtfx=audio_s / wall_s, cpu_percent_mean=90.0, gpu_percent_mean=None,
        actors_max=plan.recognize.start, ncpu=plan.ncpu, precision="int8",
        batch_size_s=plan.batch_size_s, model_id="demo", config_fingerprint="0" * 12,
    )  # fmt: skip
    filesystem = pafs.LocalFileSystem()
    begin_run(filesystem, str(output), summary.run_id, config, "shards")
    write_run(filesystem, str(output), summary, plan.to_dict())
    return f"{output}/_runs/{summary.run_id}"


def test_a_finished_run_is_held_against_its_prediction(config: Config, tmp_path: Path) -> None:
    run = a_run(tmp_path / "out", audio_s=6800.0, wall_s=200.0)
    found = forecast(None, config, ForecastOptions(run=run))
    assert found.expected.makespan_s == pytest.approx(8.0 + 6800 / 34, rel=0.03)
    assert found.error == pytest.approx(found.expected.makespan_s / 200 - 1)


def test_the_settings_of_the_run_count_not_the_best_ones(config: Config, tmp_path: Path) -> None:
    run = a_run(tmp_path / "out", 6800.0, 350.0, num_actors=1, ncpu=1)
    found = forecast(None, config, ForecastOptions(run=run))
    assert found.expected.makespan_s == pytest.approx(8.0 + 6800 / 20, rel=0.03)


def test_the_job_of_a_run_on_other_nodes_is_held_against_nothing(
    config: Config, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "out", audio_s=68_000.0, wall_s=2000.0)
    found = forecast(None, config, ForecastOptions(run=run, nodes=4))
    assert found.error is None
    assert found.expected.makespan_s == pytest.approx(8.0 + 68_000 / 4 / 34, rel=0.05)


def test_audio_hours_alone_are_a_job(config: Config) -> None:
    found = forecast(None, config, ForecastOptions(audio_hours=10.0, nodes=2))
    assert sum(found.workload.chunks_s) == pytest.approx(36_000)
    assert found.workload.chunks_s[0] == 120.0  # four batches
    bound = with_settings(config, {"max_actors": 1})
    assert (
        forecast(None, bound, ForecastOptions(audio_hours=10.0)).expected.makespan_s
        > forecast(None, config, ForecastOptions(audio_hours=10.0)).expected.makespan_s
    )


def test_an_input_is_measured_in_seconds(config: Config, tmp_path: Path) -> None:
    source = write_input(tmp_path / "in.parquet", [wav_bytes(tone(4.0)) for _ in range(5)])
    found = forecast(str(source), config)
    assert sum(found.workload.chunks_s) == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize("options", [
    ForecastOptions(), ForecastOptions(run="x", audio_hours=1.0),
])  # fmt: skip
def test_one_job_has_to_be_named(config: Config, options: ForecastOptions) -> None:
    with pytest.raises(ConfigError, match="name one job"):
        forecast(None, config, options)


def test_without_a_baseline_nothing_is_made_up() -> None:
    with pytest.raises(ConfigError, match=r"run `ray-asr tune`.*control\.baseline"):
        forecast(None, Config(), ForecastOptions(audio_hours=1.0))


def test_a_baseline_of_another_model_is_refused(config: Config, tmp_path: Path) -> None:
    models = dataclasses.replace(BASELINE.models, model="paraformer-zh")
    dataclasses.replace(BASELINE, models=models).save(config.control.baseline)
    run = a_run(tmp_path / "out", audio_s=680.0, wall_s=20.0)
    with pytest.raises(ConfigError, match=r"model demo.*baseline of paraformer-zh"):
        forecast(None, config, ForecastOptions(run=run))


def test_a_run_of_a_setting_that_was_not_measured_is_refused(
    config: Config, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "out", 680.0, 20.0, ncpu=2)
    with pytest.raises(ConfigError, match="no measurement with ncpu=2"):
        forecast(None, config, ForecastOptions(run=run))


@pytest.mark.parametrize("harm", ["none", "no summary", "torn", "no audio"])
def test_what_is_no_finished_run_is_refused(config: Config, tmp_path: Path, harm: str) -> None:
    run = Path(a_run(tmp_path / "out", 0.0 if harm == "no audio" else 680.0, 20.0))
    if harm == "none":
        run = tmp_path / "nowhere"
    elif harm == "no summary":
        (run / "summary.json").unlink()
    elif harm == "torn":
        (run / "plan.json").write_text('{"recog')
    with pytest.raises(DataError, match=r"finished run|no audio"):
        forecast(None, config, ForecastOptions(run=str(run)))


def test_the_command_line_predicts_and_says_what_is_wrong(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(tmp_path / "out", audio_s=6800.0, wall_s=200.0)
    named = ["--set", f"control.baseline={config.control.baseline}"]
    for arguments, code, says in [
        (["--run", run, *named], 0, "took 3 min 20 s; predicted"),
        (["--audio-hours", "2", "--nodes", "3", "--price-per-actor-hour", "1", *named], 0, "cost"),
        (["--run", run], 2, "run `ray-asr tune`"),
        (["--audio-hours", "2", "--nodes", "-3", *named], 2, "nodes is -3"),
        (["--audio-hours", "-2", *named], 2, "audio_hours is -2"),
        (["--run", str(tmp_path), *named], 3, "not the folder of a finished run"),
        (["--audio-hours", "2", "--set", "control.min_actors=9", *named], 4, "at least 9 actors"),
    ]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["simulate", *arguments])
        said = capsys.readouterr()
        assert (ended.value.code, says in said.out + said.err) == (code, True), said
    with pytest.raises(SystemExit):
        cli.main(["simulate", "--run", run, *named, "--json"])
    assert json.loads(capsys.readouterr().out)["real_wall_s"] == 200.0

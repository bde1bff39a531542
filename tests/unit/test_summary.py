from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from ray_asr.config import Config, fingerprint, load_config, to_dict, with_settings
from ray_asr.job.summary import RecordedRun, RunSummary, begin_run, latest_run, write_run

LOCAL = pafs.LocalFileSystem()
RUN = RunSummary(
    run_id="20261122T000000-abcdef",
    output="out",
    rows_in=10,
    rows_out=6,
    rows_ok=3,
    rows_no_speech=2,
    rows_failed=1,
    rows_resumed=4,
    audio_s=7200.0,
    wall_s=60.0,
    rtfx=120.0,
    cpu_percent_mean=93.4,
    gpu_percent_mean=None,
    actors_max=2,
    ncpu=4,
    precision="fp32",
    batch_size_s=60.0,
    model_id="demo",
    config_fingerprint="0123456789ab",
)


def test_a_summary_has_the_fields_of_the_contract() -> None:
    names = {field.name for field in dataclasses.fields(RunSummary)}
    assert names >= {
        "rows_in", "rows_out", "rows_ok", "rows_no_speech", "rows_failed", "rows_resumed",
        "audio_s", "wall_s", "rtfx", "cpu_percent_mean", "gpu_percent_mean", "actors_max", "ncpu",
        "precision", "batch_size_s", "model_id",
    }  # fmt: skip


def test_the_table_has_what_a_reader_looks_for() -> None:
    table = RUN.table()
    assert "10 in, 6 written, 4 done before" in table
    assert "3 ok, 2 no_speech, 1 failed" in table
    assert "2.000 h in 60.0 s" in table
    assert "120.0x real time" in table
    assert "2 with 4 cores each" in table
    assert "93 % of all cores" in table
    assert table.splitlines()[-1].endswith("out")


def test_a_cpu_use_that_is_not_known_is_left_out() -> None:
    assert "CPU" not in dataclasses.replace(RUN, cpu_percent_mean=None).table()


def test_a_run_that_had_nothing_to_do_shows_no_speed_and_no_actors() -> None:
    nothing = dataclasses.replace(RUN, rows_out=0, rows_resumed=10, cpu_percent_mean=None)
    assert nothing.table().split() == [
        "rows", "10", "in,", "0", "written,", "10", "done", "before", "output", "out",
    ]  # fmt: skip


def test_a_run_leaves_its_summary_and_settings(tmp_path: Path) -> None:
    config = with_settings(Config(), {"hotword": "魔搭", "batch_size_s": 30, "model": "demo"})
    begin_run(LOCAL, str(tmp_path), RUN.run_id, config, "shards")
    write_run(LOCAL, str(tmp_path), RUN)
    folder = tmp_path / "_runs" / RUN.run_id
    names = ["config.yaml", "run.json", "summary.json"]
    assert sorted(file.name for file in folder.iterdir()) == names
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary == dataclasses.asdict(RUN)
    assert summary["gpu_percent_mean"] is None


@pytest.mark.parametrize(
    "settings",
    [{}, {"hotword": "魔搭", "batch_size_s": 30}, {"funasr_options": {"beam": [1, "x"]}}],
)
def test_the_settings_of_a_run_can_be_loaded_again(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    config = with_settings(Config(), settings)
    begin_run(LOCAL, str(tmp_path), RUN.run_id, config, "shards")
    assert load_config(tmp_path / "_runs" / RUN.run_id / "config.yaml") == config


def test_two_runs_leave_two_folders(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        run = dataclasses.replace(RUN, run_id=run_id)
        write_run(LOCAL, str(tmp_path), run)
    assert sorted(f.name for f in (tmp_path / "_runs").iterdir()) == ["a", "b"]


def test_the_newest_run_of_the_settings_is_found_again(tmp_path: Path) -> None:
    english, german = (with_settings(Config(), {"language": name}) for name in ("en", "de"))
    for run_id, config, source in (
        ("20261101T000000-a", english, "old"),
        ("20261102T000000-a", english, "s3://bucket/new"),
        ("20261103T000000-a", german, "other"),
    ):
        begin_run(LOCAL, str(tmp_path), run_id, config, source)
    (tmp_path / "_runs" / "20261104T000000-a").mkdir()  # killed before it said anything
    found = latest_run(LOCAL, str(tmp_path), fingerprint(english))
    assert found == RecordedRun("s3://bucket/new", to_dict(english))
    assert latest_run(LOCAL, str(tmp_path), "0" * 12) is None
    assert latest_run(LOCAL, str(tmp_path / "nothing"), fingerprint(english)) is None

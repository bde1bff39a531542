"""What the job refuses before its first task."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.corpus.restart import SWITCH_FILE, WAITING_FOLDER
from ray_asr.corpus.resume import JOB_FILE, claim_output, job_record
from ray_asr.corpus.units import input_units
from ray_asr.errors import ConfigError, DataError
from ray_asr.job import pipeline
from ray_asr.job.continuation import settings_to_match
from ray_asr.job.summary import RunSummary
from tests.fakes import planned, write_input


class Reached(RuntimeError):
    """The job would start now."""


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Everything before the first task, on a cluster of one machine that is not there.

    What would have been connected to is noted.
    """

    def stop(*_: object) -> None:
        raise Reached

    seen: list[object] = []
    monkeypatch.setattr(pipeline, "check_models", lambda config: config)
    monkeypatch.setattr(pipeline, "connect", lambda *given: seen.append(given))
    monkeypatch.setattr(pipeline, "stage", lambda engine: None)
    monkeypatch.setattr(pipeline, "plan_run", planned)
    monkeypatch.setattr(pipeline, "_run", stop)
    return seen


def run(source: Path, output: Path, **settings: object) -> RunSummary:
    return pipeline.transcribe_path(str(source), str(output), with_settings(Config(), settings))


def do(source: Path, output: Path, count: int) -> None:
    """Parts, as a run leaves them, for the first units of the input."""
    _, units = input_units(str(source), with_settings(Config(), SMALL))
    assert len(units) == 3
    for unit in units[:count]:
        (output / unit.part_name).write_bytes(b"rows")


SMALL = {"unit_mb": 1e-5}


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Input of three units, and an output that a run of `SMALL` has claimed."""
    source = write_input(tmp_path / "in" / "a.parquet", [b"x" * 100] * 3, row_group_size=1)
    output = tmp_path / "out"
    claim_output(
        pafs.LocalFileSystem(), str(output), settings_to_match(with_settings(Config(), SMALL))
    )
    return source, output


def test_an_output_of_other_settings_is_refused_naming_only_what_differs(
    places: tuple[Path, Path], connected: list[object]
) -> None:
    source, output = places
    do(source, output, 1)
    with pytest.raises(Reached):  # cores do not decide
        run(source, output, **SMALL, ncpu=2)
    connected.clear()
    with pytest.raises(DataError) as caught:
        run(source, output, **SMALL, language="en")
    assert "engine.language was '', now 'en'" in str(caught.value)
    assert "engine.model" not in str(caught.value)
    assert len(list(output.glob("part-*"))) == 1
    assert connected == []


@pytest.mark.usefixtures("connected")
def test_an_output_of_other_settings_is_left_as_it_is(places: tuple[Path, Path]) -> None:
    source, output = places
    before = sorted(output.rglob("*"))
    with pytest.raises(DataError):
        run(source, output, **SMALL, language="en")
    assert sorted(output.rglob("*")) == before


@pytest.mark.usefixtures("connected")
def test_a_beginning_anew_that_was_cut_short_is_gone_on_with_by_the_new_settings(
    places: tuple[Path, Path],
) -> None:
    source, output = places
    do(source, output, 3)
    new = settings_to_match(with_settings(Config(), {**SMALL, "language": "en"}))
    switch = {"old_parts_deleted": False, "job": job_record(new)}
    (output / SWITCH_FILE).write_text(json.dumps(switch))
    (output / WAITING_FOLDER).mkdir()
    (output / WAITING_FOLDER / "part-new.parquet").write_bytes(b"new")
    with pytest.raises(Reached):
        run(source, output, **SMALL, language="en")
    assert [part.name for part in output.glob("part-*")] == ["part-new.parquet"]
    assert json.loads((output / JOB_FILE).read_text()) == json.loads(json.dumps(job_record(new)))


@pytest.mark.usefixtures("connected")
def test_a_run_that_begins_anew_takes_an_output_of_other_settings(
    places: tuple[Path, Path],
) -> None:
    source, output = places
    do(source, output, 3)
    config = with_settings(Config(), {**SMALL, "language": "en"})
    with pytest.raises(Reached):
        pipeline.transcribe_path(str(source), str(output), config, restart=True)
    assert len(list(output.glob("part-*"))) == 3  # it has no part of its own yet
    with pytest.raises(DataError, match="begin anew here with --restart"):
        run(source, output, **SMALL, language="en")


@pytest.mark.usefixtures("connected")
def test_a_run_that_fails_before_its_first_part_leaves_the_output_to_any_other(
    tmp_path: Path,
) -> None:
    source = write_input(tmp_path / "in" / "a.parquet", [b"x"])
    for model in ("wrong", "right"):
        with pytest.raises(Reached):
            run(source, tmp_path / "out", model=model)
        kept = {file.name for file in (tmp_path / "out").iterdir()}
        assert kept == {"_lease", "_runs"}


@pytest.mark.usefixtures("connected")
def test_a_run_that_fails_beside_earlier_parts_leaves_the_claim(places: tuple[Path, Path]) -> None:
    source, output = places
    do(source, output, 1)
    with pytest.raises(Reached):
        run(source, output, **SMALL)
    assert (output / JOB_FILE).is_file()


def test_where_nothing_is_left_to_do_no_cluster_is_asked(
    places: tuple[Path, Path], connected: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source, output = places
    do(source, output, 2)
    with pytest.raises(Reached):
        run(source, output, **SMALL)
    assert len(connected) == 1
    do(source, output, 3)
    summary = run(source, output, **SMALL)
    assert len(connected) == 1
    assert "all 3 units (3 rows) are done already: nothing is left to do." in caplog.text
    assert (summary.rows_in, summary.rows_out, summary.rows_resumed) == (3, 0, 3)
    left = json.loads((output / "_runs" / summary.run_id / "summary.json").read_text())
    assert left == dataclasses.asdict(summary)


@pytest.mark.usefixtures("connected")
def test_a_missing_input_makes_no_output(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        pipeline.transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), Config())
    assert list(tmp_path.iterdir()) == []


def test_what_ray_says_of_a_cluster_that_it_does_not_find_is_a_sentence_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance. Please specify the one.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(pipeline.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(pipeline.ray, "init", init)
    with pytest.raises(ConfigError, match=r"address auto \(Could not find any running Ray inst"):
        pipeline.connect("auto")

"""What the job refuses before its first task."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.config import Config, with_settings
from ray_asr.errors import DataError
from ray_asr.job import pipeline
from tests.fakes import planned, write_input


class Reached(RuntimeError):
    """The job would start now."""


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything before the first task, on a cluster of one machine that is not there."""

    def stop(*_: object) -> None:
        raise Reached

    monkeypatch.setattr(pipeline, "check_models", lambda config: None)
    monkeypatch.setattr(pipeline, "connect", lambda *_: None)
    monkeypatch.setattr(pipeline, "plan_run", planned)
    monkeypatch.setattr(pipeline, "_run", stop)


@pytest.mark.usefixtures("without_ray")
def test_an_output_of_other_settings_is_refused_naming_only_what_differs(tmp_path: Path) -> None:
    source = str(write_input(tmp_path / "in" / "a.parquet", [b"x"]))
    output = tmp_path / "out"
    with pytest.raises(Reached):
        pipeline.transcribe_path(source, str(output), Config())
    with pytest.raises(Reached):  # the same again goes on
        pipeline.transcribe_path(source, str(output), with_settings(Config(), {"ncpu": 2}))
    with pytest.raises(DataError) as caught:
        pipeline.transcribe_path(source, str(output), with_settings(Config(), {"language": "en"}))
    assert "engine.language was '', now 'en'" in str(caught.value)
    assert "engine.model" not in str(caught.value)
    assert sorted(file.name for file in output.iterdir()) == ["_job.json"]


@pytest.mark.usefixtures("without_ray")
def test_a_missing_input_makes_no_output(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        pipeline.transcribe_path(str(tmp_path / "in"), str(tmp_path / "out"), Config())
    assert list(tmp_path.iterdir()) == []

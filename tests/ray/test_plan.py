"""The dry run on a real Ray: what it asks, measures and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_asr import cli
from tests.conftest import speech_table

MODELS = ["--model", "demo", "--vad-model", "demo", "--punc-model", "demo"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *arguments])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out + said.err


@pytest.mark.usefixtures("ray_local")
def test_a_plan_says_each_number_its_reason_and_what_is_not_known(
    tmp_path: Path,
    embedded_speech: list[dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pq.write_table(speech_table(embedded_speech), tmp_path / "a.parquet")
    code, text = run(capsys, str(tmp_path), *MODELS, "--json")
    assert code == 0
    found = json.loads(text[text.index("{") :])
    plan = found["plan"]
    assert plan["num_cpus"] == plan["ncpu"] >= 1
    assert set(plan["reasons"]) >= {"ncpu", "recognize", "batch_size_s", "precision", "load_s"}
    assert all(plan["reasons"].values())
    assert plan["load_s"] > 0
    code, text = run(capsys, str(tmp_path), *MODELS, "--no-measure")
    assert code == 0
    assert "run `ray-asr tune`" in text
    assert "0.2" in next(line for line in text.splitlines() if line.startswith("audio"))


@pytest.mark.usefixtures("ray_local")
def test_a_plan_that_does_not_fit_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run(capsys, *MODELS, "--no-measure", "--ncpu", "999")
    assert code == 4
    assert "999 cores" in text

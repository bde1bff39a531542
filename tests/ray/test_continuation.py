"""Runs that follow others on one output, on a real Ray with the embedded models."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.demo import model_folder
from ray_asr.errors import DataError, EngineFatalError
from ray_asr.job.continuation import precision_of
from ray_asr.job.pipeline import transcribe_path
from ray_asr.job.summary import RunSummary
from tests.conftest import speech_table, write_shard
from tests.ray.heads import BIN, free_port


@pytest.fixture
def source(tmp_path: Path, embedded_speech: list[dict[str, str]]) -> Path:
    spoken = [item for item in embedded_speech if item["set"] == "announcements"][:4]
    write_shard(speech_table(spoken), tmp_path / "in" / "a.parquet", row_group_size=2)
    return tmp_path / "in"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("model"), tmp_path / "model"))


def run(source: Path, output: Path, model: Path, **settings: object) -> RunSummary:
    given = {
        "model": str(model), "vad_model": "", "punc_model": "", "ncpu": 1, "num_actors": 1,
        "unit_mb": 0.05, **settings,
    }  # fmt: skip
    return transcribe_path(str(source), str(output), with_settings(Config(), given))


def rows(output: Path) -> pa.Table:
    return ds.dataset(output, format="parquet").to_table()


@pytest.mark.usefixtures("ray_local")
def test_after_a_model_that_does_not_load_the_corrected_command_has_the_output(
    source: Path, model: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "broken"))
    (broken / "model.pt").write_bytes(b"these are no weights")
    output = tmp_path / "out"
    with pytest.raises(EngineFatalError, match="does not load"):
        run(source, output, broken)
    assert {file.name for file in output.iterdir()} == {"_lease", "_runs"}
    assert run(source, output, model, language="en").rows_ok == 4
    assert rows(output).num_rows == 4


@pytest.mark.usefixtures("ray_local")
def test_a_model_retrained_in_its_folder_is_not_mixed_in(
    source: Path, model: Path, tmp_path: Path
) -> None:
    import torch

    output = tmp_path / "out"
    summary = run(source, output, model)
    parts = sorted(path.name for path in output.glob("part-*"))
    assert len(parts) > 1
    assert precision_of(pafs.LocalFileSystem(), str(output), parts) == summary.precision
    (output / parts[0]).unlink()
    size = (model / "model.pt").stat().st_size
    weights = torch.load(model / "model.pt")
    tensors = weights.get("state_dict", weights)
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensors[name] = tensors[name] * 0.9
    torch.save(weights, model / "model.pt")
    assert abs((model / "model.pt").stat().st_size - size) < 4096
    with pytest.raises(DataError, match=r"revision of engine\.model was .*another output folder"):
        run(source, output, model)
    assert sorted(path.name for path in output.glob("part-*")) == parts[1:]


def test_a_cluster_that_does_not_answer_is_exit_code_2_in_seconds(
    source: Path, model: Path, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    command = [
        BIN / "ray-asr", "transcribe", source, tmp_path / "out", "--model", model,
        "--vad-model", "", "--punc-model", "",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_ADDRESS": address}
    started = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=170)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"ray-asr: nothing answers at the Ray address {address} (Connection")
    assert time.monotonic() - started < 120, "Ray alone takes longer"
    assert not (tmp_path / "out").exists()

"""What loading a model says, and what it leaves alone."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.config import EngineConfig
from ray_asr.demo import model_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import load_auto_model
from ray_asr.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("model"), tmp_path / "model"))


def load(folder: Path) -> FunASREngine:
    engine = FunASREngine(EngineConfig(model=str(folder), vad_model="", punc_model="", ncpu=1))
    engine.load()
    return engine


def test_code_and_requirements_beside_a_model_are_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})\n")
    (folder / "requirements.txt").write_text("no-such-package-of-ray-asr\n")
    started: list[str] = []
    start = subprocess.Popen

    def noted(command: Any, *given: Any, **options: Any) -> Any:
        started.append(str(command))
        return start(command, *given, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)
    monkeypatch.chdir(folder)
    load(folder)
    assert not (tmp_path / "ran").exists()
    assert not any("pip" in command for command in started), started


@pytest.mark.parametrize("file", ["tokens.json", "am.mvn"])
def test_a_folder_without_a_file_is_refused_before_anything_is_loaded(
    folder: Path, file: str
) -> None:
    (folder / file).unlink()
    with pytest.raises(ConfigError, match=rf"has no {file}"):
        load(folder)


def test_the_seed_that_funasr_sets_stays_inside(folder: Path) -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), np.random.random(), torch.rand(1).item()

    drawn: list[tuple[float, float, float]] = []
    for loading in (False, True):
        random.seed(1)
        np.random.seed(2)
        torch.manual_seed(3)
        if loading:
            load_auto_model(str(folder), "model", device="cpu", ncpu=1)
        drawn.append(draws())
    assert drawn[0] == drawn[1]


# In a process of its own: to be sure that a class is not there, all of FunASR is imported.
_LOAD_BOTH = """
import sys
from ray_asr.engine.loading import load_auto_model
from ray_asr.errors import RayAsrError
for name in ("paraformer-zh", sys.argv[1]):
    try:
        load_auto_model(name, "model", device="cpu", ncpu=1, hub="hf", trust=True)
    except RayAsrError as error:
        print(int(error.exit_code), error)
"""


def test_a_hub_that_is_not_asked_and_a_class_that_is_not_there_are_a_sentence_each(
    folder: Path, tmp_path: Path
) -> None:
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(config.replace("model: Paraformer", "model: Nobodys"))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", _LOAD_BOTH, str(folder)],
        capture_output=True, text=True, env=environment, timeout=300, check=True,
    )  # fmt: skip
    unreached, unknown = ran.stdout.splitlines()
    assert unreached.startswith(
        '2 engine.model: the model "paraformer-zh" is not on this machine, and its hub, hf, is not'
    )
    assert unreached.endswith("network, or name a folder that holds the model's files.")
    assert unknown.startswith("1 engine.model: the model ")
    assert "does not load (model 'Nobodys' is not registered)" in unknown
    assert unknown.endswith("fetch them again, or name another model.")

"""Model folders that would have the process do something else than compute."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from ray_asr.config import EngineConfig
from ray_asr.demo import model_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.errors import EngineFatalError


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("model"), tmp_path / "model"))


def load(folder: Path) -> FunASREngine:
    engine = FunASREngine(EngineConfig(model=str(folder), vad_model="", punc_model="", ncpu=1))
    engine.load()
    return engine


@pytest.mark.parametrize("written_by", ["pickle", "torch"])
def test_code_in_a_weights_file_does_not_run(folder: Path, tmp_path: Path, written_by: str) -> None:
    weights = {"state_dict": torch.load(folder / "model.pt"), "more": Touch(tmp_path / "ran")}
    if written_by == "torch":
        torch.save(weights, folder / "model.pt")
    else:
        (folder / "model.pt").write_bytes(pickle.dumps(weights))
    with pytest.raises(EngineFatalError, match="does not load"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_code_and_requirements_beside_a_model_are_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "model.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})\n")
    (folder / "requirements.txt").write_text("no-such-package-of-ray-asr\n")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    asked = "trust_remote_code: true\nremote_code: model.py\n"
    (folder / "config.yaml").write_text(config + asked, encoding="utf-8")
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: started.append(given))
    monkeypatch.chdir(folder)
    load(folder)
    assert not (tmp_path / "ran").exists()
    assert started == []

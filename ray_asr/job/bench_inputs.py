"""What a benchmark needs before it runs: the model, the audio, and what the machine is.

Owns the untrained model's place and the two forms of the audio. Must not know the cases.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ray_asr.corpus.audio import decode
from ray_asr.engine.bench_audio import utterances
from ray_asr.engine.guard import check_folder
from ray_asr.engine.loading import resolve_model

UNTRAINED = "untrained"
_SHARDS = 8
_PACKAGES = ("torch", "ray", "funasr", "daft", "funasr-onnx", "onnxruntime")

logger = logging.getLogger(__name__)


def find_models(
    model: str, vad_model: str, punc_model: str, cache_folder: str, trust: bool = False
) -> dict[str, Any]:
    """The models by folder or name, and where what is made of them is kept.

    Raises:
        ConfigError: a folder is not a model's, or could run code and is not to be trusted.
    """
    cache = Path(cache_folder or "~/.cache/ray_asr").expanduser()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    if model == UNTRAINED:
        folder = str(_untrained(cache))
        made_of_it = cache / "exports" / UNTRAINED
    else:
        folder = _checked(model, "model", trust)
        made_of_it = cache / "exports" / Path(folder).resolve().name
    found = {
        kind: _checked(name, kind, trust) if name else ""
        for kind, name in (("vad_model", vad_model), ("punc_model", punc_model))
    }
    made_of_it.mkdir(parents=True, exist_ok=True)
    return {"model": folder, **found, "cache": str(made_of_it)}


def _checked(name: str, kind: str, trust: bool) -> str:
    """The model for every case: peers load it in their own way, so it is looked at before."""
    folder = resolve_model(name, kind)
    if Path(folder).is_dir():
        check_folder(Path(folder), kind, {}, trust)
    return folder


def _untrained(cache: Path) -> Path:
    """The folder of the untrained Paraformer-large, built where it is not there yet."""
    folder = cache / "paraformer-large-untrained"
    if not (folder / "model.pt").is_file():
        logger.info("building an untrained Paraformer-large in %s.", folder)
        writing = cache / f"{folder.name}.{os.getpid()}"
        # In a process of its own: this one stays free of torch.
        build = f"from pathlib import Path; from ray_asr.engine.untrained import build_untrained; \
build_untrained(Path({str(writing)!r}))"
        subprocess.run([sys.executable, "-c", build], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
        writing.rename(folder)
    return folder


def write_audio(root: Path, audio_s: float, container: str) -> dict[str, Any]:
    """The same utterances as files and as Parquet shards."""
    encoded, audio_s = utterances(decode, audio_s, container)
    files, shards = root / "files", root / "shards"
    files.mkdir()
    shards.mkdir()
    names = [f"utterance-{number:06d}" for number in range(len(encoded))]
    for name, data in zip(names, encoded, strict=True):
        (files / f"{name}.{container.lower()}").write_bytes(data)
    for shard in range(min(_SHARDS, len(names))):
        columns = {
            "utterance_id": names[shard::_SHARDS],
            "audio": pa.array(encoded[shard::_SHARDS], pa.binary()),
        }
        pq.write_table(pa.table(columns), shards / f"shard-{shard}.parquet", compression="NONE")
    return {
        "files": str(files),
        "shards": str(shards),
        "audio_s": audio_s,
        "utterances": len(encoded),
    }


def machine(cores: int) -> dict[str, Any]:
    """What the figures were measured on, and with."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": model,
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": versions,
    }

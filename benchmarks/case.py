"""What every peer shares: its specification, the audio, the clock, and FunASR's AutoModel.

Owns the word of a peer with `ray-asr bench`: a JSON file in, a JSON file out
(`ray_asr/job/bench_process.py`). Peers are measured as their own guides teach them; nothing here
makes them faster or slower than that.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def read_spec() -> dict[str, Any]:
    return json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def finish(
    spec: dict[str, Any], started: float, ended: float, texts: dict[str, str], **more: Any
) -> None:
    result = {"started": started, "ended": ended, "texts": texts, **more}
    Path(spec["result"]).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


def decode(data: bytes) -> np.ndarray:
    """The benchmark's audio is 16 kHz mono already: libsndfile reads it, as FunASR does."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    return samples


def load(spec: dict[str, Any]) -> Any:
    """FunASR's AutoModel; `ncpu` only where the case says so, else FunASR's default of 4."""
    with contextlib.redirect_stdout(io.StringIO()):  # its notice of a tool that nothing needs here
        from funasr import AutoModel

    options: dict[str, Any] = {"model": spec["model"], "device": spec["device"]}
    for name in ("vad_model", "punc_model"):
        if spec[name]:
            options[name] = spec[name]
    if "ncpu" in spec["options"]:
        options["ncpu"] = spec["options"]["ncpu"]
    model = AutoModel(**options, disable_update=True, disable_pbar=True)
    # Loading leaves twice the weights' size with the allocator: eight processes would not fit.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return model


def generate(model: Any, waveforms: list[np.ndarray], batch_size: int) -> list[str]:
    """Texts by position; the public call with a list, or with one array where batches are of 1."""
    if batch_size <= 1:
        return [text_of(model.generate(input=waveform)) for waveform in waveforms]
    results = model.generate(input=waveforms, batch_size=batch_size)
    if len(results) != len(waveforms):
        raise RuntimeError(f"FunASR gave {len(results)} results for {len(waveforms)} files")
    return [result["text"] for result in results]


def text_of(results: list[dict[str, Any]]) -> str:
    return results[0]["text"] if results else ""


def signal_ready(spec: dict[str, Any]) -> None:
    """Leave the time at which this process had loaded its model."""
    ready = Path(spec["work"], f"ready-{os.getpid()}")
    ready.write_text(str(time.time()), encoding="utf-8")


def last_ready(spec: dict[str, Any]) -> float:
    return max(float(file.read_text()) for file in Path(spec["work"]).glob("ready-*"))


def written(folder: Path) -> tuple[float, dict[str, str]]:
    """When the last Parquet file of `folder` was written, and the texts in all of them."""
    import pyarrow.dataset as ds

    files = list(folder.rglob("*.parquet"))
    rows = ds.dataset(files, format="parquet").to_table(["utterance_id", "text"]).to_pylist()
    texts = {row["utterance_id"]: row["text"] for row in rows}
    return max(file.stat().st_mtime for file in files), texts

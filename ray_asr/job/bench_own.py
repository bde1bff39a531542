"""The benchmark's cases that are ray_asr itself, one process each: `python -m ... SPEC`.

Owns when the clock of a run starts and ends, and the engine that does nothing. Must not know what
is compared with it.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import time
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import ray
from ray.data import DataContext

from ray_asr.config import Config, EngineConfig, load_config
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.job.pipeline import connect, transcribe_path
from ray_asr.schema import SAMPLE_RATE_HZ, STATUS_FAILED, Recognition, Span, Waveform

# Nothing is read before every actor has loaded its models: then the clock starts.
_MOST_LOADING_S = 1800
_TASK_START_S = 1.0
_TINY_S = 0.1
_ROWS, _QUICK_ROWS = (10_000, 50_000), (1_000, 6_000)
_SILENCE = b"\0\0" * int(_TINY_S * SAMPLE_RATE_HZ)


class SignallingEngine(FunASREngine):
    """FunASR, leaving a file with the time at which its models were loaded."""

    def __init__(self, folder: str, config: EngineConfig) -> None:
        super().__init__(config)
        self._folder = folder

    def load(self) -> None:
        """Load the models and say so."""
        super().load()
        ready = Path(self._folder, f"ready-{os.getpid()}")
        ready.write_text(str(time.time()), encoding="utf-8")


class NullEngine:
    """An engine that costs nothing (see `protocol.Engine`): what is left is the pipeline."""

    precision = "none"
    _HEARD = Recognition("nothing")

    def __init__(self, config: EngineConfig) -> None:
        pass

    def load(self) -> None:
        """Nothing to load."""

    def memory_share(self) -> float:
        """None of it: batches stay as they are."""
        return 0.0

    def detect_speech(self, waveforms: Sequence[Waveform]) -> list[list[Span]]:
        """All of each waveform."""
        return [[Span(0, len(w) * 1000 // SAMPLE_RATE_HZ)] for w in waveforms]

    def speech_stream(self) -> None:
        """None: recordings are taken whole."""

    def speakers(self) -> None:
        """None: nobody asks who speaks."""

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        """The same word for each."""
        return [self._HEARD] * len(waveforms)

    def recognize_all(
        self, batches: Iterable[Sequence[Waveform]]
    ) -> Iterator[Callable[[], list[Recognition]]]:
        """The same word for each of each batch."""
        for waveforms in batches:
            yield partial(self.recognize, waveforms)

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        """The texts as they are."""
        return list(texts)


def _config(spec: dict[str, Any]) -> Config:
    device = spec["device"]
    settings: dict[str, Any] = {
        "model": spec["model"],
        "vad_model": spec["vad_model"],
        "punc_model": spec["punc_model"],
        "device": device,
        "num_gpus": 0.0 if device == "cpu" else 1.0,
        # All actors from the start: the clock begins when the last of them has loaded.
        "autoscale": False,
        "vary_batch": False,
    }
    if "precision" in spec["options"]:
        settings["precision"] = spec["options"]["precision"]
    return load_config(None, spec["sets"], settings)


def _imported(seconds: float) -> int:
    """What a task's process imports before its first row."""
    importlib.import_module("ray_asr.job.pipeline")
    time.sleep(seconds)  # so that the next of these gets a process of its own
    return os.getpid()


def _connect(spec: dict[str, Any]) -> None:
    """A Ray with its processes started: like loading models, that is not on the clock.

    Task processes, and with a dataset of nothing the actors that Ray Data has for its own books.
    """
    connect("local", _temp_dir=spec["ray_folder"])
    ray.data.range(1).materialize()
    task = ray.remote(num_cpus=1)(_imported)
    count = int(ray.cluster_resources()["CPU"])
    ray.get([task.remote(_TASK_START_S) for _ in range(count)])
    DataContext.get_current().wait_for_min_actors_s = _MOST_LOADING_S


def measure_transcription(spec: dict[str, Any]) -> dict[str, Any]:
    """The job on the benchmark's shards, from loaded models to the last part written."""
    work = Path(spec["work"])
    output = work / "transcripts"
    _connect(spec)
    summary = transcribe_path(
        spec["shards"],
        str(output),
        _config(spec),
        make_engine=partial(SignallingEngine, str(work)),
    )
    ready = [float(file.read_text()) for file in work.glob("ready-*")]
    parts = list(output.glob("part-*.parquet"))
    rows = ds.dataset(parts, format="parquet").to_table(["utterance_id", "status", "text"])
    failed = rows.column("status").to_pylist().count(STATUS_FAILED)
    texts = zip(rows.column("utterance_id"), rows.column("text"), strict=True)
    return {
        "started": max(ready),
        "ended": max(part.stat().st_mtime for part in parts),
        "texts": {name.as_py(): text.as_py() for name, text in texts},
        "failed_rows": failed,
        "precision": summary.precision,
        "actors": summary.actors_max,
        "ncpu": summary.ncpu,
    }


def tiny_shard(path: Path, rows: int) -> None:
    """A Parquet file of so many rows of a tenth of a second of silence."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE_HZ)
        audio.writeframes(_SILENCE)
    table = pa.table(
        {
            "utterance_id": [f"row-{n}" for n in range(rows)],
            "audio": pa.array([sink.getvalue()] * rows, pa.binary()),
        }
    )
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, row_group_size=4096, compression="NONE", use_dictionary=False)


def _cpu_s() -> float:
    """CPU seconds so far of this process and all below it, those that have ended included."""
    total = 0.0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return total


def measure_overhead(spec: dict[str, Any]) -> dict[str, Any]:
    """The pipeline's CPU for a row: what a longer input costs more than a shorter one."""
    work = Path(spec["work"])
    small, large = _QUICK_ROWS if spec["quick"] else _ROWS
    for rows in (small, large):
        tiny_shard(work / f"input-{rows}" / "shard.parquet", rows)
    _connect(spec)
    config = _config({**spec, "options": {}, "vad_model": "", "punc_model": "", "device": "cpu"})
    spent: list[float] = []
    started = time.time()
    for number, rows in enumerate((small, small, large)):  # the first run starts Ray's workers
        before = _cpu_s()
        source, output = str(work / f"input-{rows}"), str(work / f"out-{number}")
        summary = transcribe_path(source, output, config, make_engine=NullEngine)
        if summary.rows_ok != rows:
            raise RuntimeError(f"{summary.rows_ok} of {rows} rows came out as ok")
        spent.append(_cpu_s() - before)
    return {
        "started": started,
        "ended": time.time(),
        "texts": {},
        "rows": [small, large],
        "cpu_ms_per_row": 1000 * (spent[2] - spent[1]) / (large - small),
    }


def main(arguments: list[str]) -> None:
    """Run the case that the specification describes and leave its result."""
    spec = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    measure = measure_overhead if spec["options"].get("overhead") else measure_transcription
    result = measure(spec)
    Path(spec["result"]).write_text(json.dumps(result), encoding="utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])

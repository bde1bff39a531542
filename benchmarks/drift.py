"""What grows while a job goes on: a million rows through the pipeline, or thousands of model calls.

    python benchmarks/drift.py rows --rows 1000000     # an engine that does nothing, on a real Ray
    python benchmarks/drift.py calls --calls 5000      # the embedded models, in this process

Memory is what a process has for itself (private pages: neither Ray's shared store nor mapped
files). Warm-up is the first quarter of a run. Behind it the median of the slopes between all pairs
of samples (Theil and Sen's, which single peaks do not move), times the time that is left, is the
drift, given as a share of the median in the first tenth of that time. Processes are shown that
lived for at least half of it; "all of a kind" is their sum with those that were replaced.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

WARM_UP = 0.25
_MIB = 2**20
_ROWS_OF_A_SHARD = 50_000
_MOST_SAMPLES = 600  # whose pairs are looked at
_WARM_CALLS = 20
_SHOWN = 40  # samples of a process in the JSON


def private_mib(process: int | str = "self") -> float:
    """Pages of a process that no other has, in MiB."""
    pages = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in pages if line.startswith("Private_")) / 1024


def drift(times: list[float], values: list[float]) -> dict[str, float]:
    """Of samples that begin with the warm-up: MiB behind it and at the end, and the change in %."""
    at, value = np.asarray(times), np.asarray(values)
    warm = at[0] + WARM_UP * (at[-1] - at[0])
    at, value = at[at >= warm], value[at >= warm]
    step = max(1, len(at) // _MOST_SAMPLES)
    at, value = at[::step], value[::step]
    first, second = np.triu_indices(len(at), 1)
    slope = float(np.median((value[second] - value[first]) / (at[second] - at[first])))
    start = float(np.median(value[: max(1, len(value) // 10)]))
    change = slope * float(at[-1] - at[0])
    return {"from_mib": start, "to_mib": float(np.median(value[-max(1, len(value) // 10) :])),
            "drift_percent": 100 * change / start}  # fmt: skip


# --- rows


class _Watch(threading.Thread):
    """Samples of this process and all below it."""

    def __init__(self, every_s: float) -> None:
        super().__init__(daemon=True)
        self._every_s = every_s
        self._over = threading.Event()
        self.samples: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._titles: dict[int, set[str]] = defaultdict(set)

    def run(self) -> None:
        own = psutil.Process()
        while not self._over.wait(self._every_s):
            now = time.monotonic()
            for process in [own, *own.children(recursive=True)]:
                try:
                    title = process.cmdline()[0] if process.pid != own.pid else "driver"
                    self.samples[process.pid].append((now, private_mib(process.pid)))
                except (psutil.Error, OSError, IndexError):  # it has ended
                    continue
                self._titles[process.pid].add(title.rpartition("/")[2])

    def kind(self, pid: int) -> str:
        """What a process was, by the titles that it had: Ray's workers take that of their work."""
        titles = " ".join(self._titles[pid])
        for name, mark in (("actor", "TranscribeWorker"), ("reading task", "_read")):
            if mark in titles:
                return name
        for name in ("driver", "raylet", "gcs_server"):
            if name in titles:
                return name
        named = {title[5:].partition(".")[0] for title in self._titles[pid] if "ray::" in title}
        return f"Ray's {min(named - {'IDLE'}, default='others')}"

    def stop(self) -> None:
        self._over.set()
        self.join()


def measure_rows(rows: int, every_s: float) -> dict[str, Any]:
    import ray

    from ray_asr.config import load_config
    from ray_asr.job.bench_own import NullEngine, tiny_shard
    from ray_asr.job.pipeline import transcribe_path

    settings = {"model": "demo", "vad_model": "", "punc_model": "", "ncpu": 1, "autoscale": False}
    config = load_config(None, ["job.unit_mb=16"], settings)
    with tempfile.TemporaryDirectory(prefix="drift_", ignore_cleanup_errors=True) as folder:
        shards = Path(folder, "shards")
        of_shard = min(rows, _ROWS_OF_A_SHARD)
        tiny_shard(shards / "shard-00000.parquet", of_shard)
        for number in range(1, rows // of_shard):
            os.link(shards / "shard-00000.parquet", shards / f"shard-{number:05d}.parquet")
        watch = _Watch(every_s)
        watch.start()
        started = time.monotonic()
        try:
            summary = transcribe_path(
                str(shards), str(Path(folder, "out")), config, "local", make_engine=NullEngine
            )
        finally:
            wall_s = time.monotonic() - started
            watch.stop()
            ray.shutdown()
    return {
        "rows_ok": summary.rows_ok,
        "wall_s": wall_s,
        "processes": list(_of_processes(watch, wall_s)),
    }


def _of_processes(watch: _Watch, wall_s: float) -> Iterator[dict[str, Any]]:
    sums: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for pid, samples in sorted(watch.samples.items(), key=lambda item: watch.kind(item[0])):
        kind = watch.kind(pid)
        for now, mib in samples:
            sums[kind][now] += mib
        lived_s = samples[-1][0] - samples[0][0]
        if lived_s >= 0.5 * (1 - WARM_UP) * wall_s:
            figures = drift([now for now, _ in samples], [mib for _, mib in samples])
            some = samples[:: max(1, len(samples) // _SHOWN)]
            series = [(round(now - samples[0][0]), round(mib, 1)) for now, mib in some]
            yield {"kind": kind, "pid": pid, "lived_s": lived_s, **figures, "series": series}
    for kind, by_time in sums.items():
        if len(by_time) > 10:
            figures = drift(list(by_time), list(by_time.values()))
            lived_s = max(by_time) - min(by_time)
            yield {"kind": f"all of a kind: {kind}", "pid": 0, "lived_s": lived_s, **figures}


# --- calls


def described(value: Any, path: str = "", seen: frozenset[int] = frozenset()) -> dict[str, str]:
    """Everything that hangs on a value, as one text for each path to it."""
    import torch

    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return {path: repr(value)}
    if id(value) in seen:
        return {path: "itself"}
    inside = seen | {id(value)}
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy() if not value.is_quantized else value.int_repr()
    if hasattr(value, "tobytes"):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return {path: f"{value.dtype} {tuple(value.shape)} {digest}"}
    if isinstance(value, Mapping):
        parts = {f"{path}[{key!r}]": inner for key, inner in value.items()}
    elif isinstance(value, (list, tuple, set, frozenset)):
        parts = {f"{path}[{n}]": inner for n, inner in enumerate(value)}
    elif hasattr(value, "__dict__"):
        parts = {f"{path}.{name}": inner for name, inner in vars(value).items()}
    else:
        return {path: type(value).__name__}
    texts = {path: f"{type(value).__name__} of {len(parts)}"}
    for place, inner in parts.items():
        texts |= described(inner, place, inside)
    return texts


def measure_calls(calls: int, threads: int) -> dict[str, Any]:
    import torch

    from ray_asr.config import EngineConfig
    from ray_asr.corpus.audio import decode
    from ray_asr.demo import DEMO, speech_folder
    from ray_asr.engine.funasr_engine import FunASREngine

    manifest = (speech_folder() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    spoken = sorted((json.loads(line) for line in manifest), key=lambda item: item["duration"])
    names = [item["audio_filepath"] for item in spoken[:12]]
    waveforms = [decode((speech_folder() / name).read_bytes(), path_hint=name) for name in names]
    engine = FunASREngine(
        EngineConfig(model=DEMO, vad_model=DEMO, punc_model=DEMO, language="en", ncpu=threads)
    )
    engine.load()
    process = psutil.Process()

    def call(number: int) -> None:
        waveform = waveforms[number % len(waveforms)]
        engine.detect_speech([waveform])
        engine.punctuate([heard.text for heard in engine.recognize([waveform])])

    def state() -> dict[str, Any]:
        return {
            "configuration": {
                path: text
                for name in ("_asr", "_vad", "_punc")
                for path, text in described(getattr(engine, name).kwargs, name).items()
            },
            "threads": process.num_threads(),
            "torch_threads": torch.get_num_threads(),
            "open_files": process.num_fds(),
        }

    for number in range(_WARM_CALLS):
        call(number)
    before = state()
    samples: list[tuple[float, float]] = []
    started = time.monotonic()
    for number in range(calls):
        call(number)
        if number % max(1, calls // _MOST_SAMPLES) == 0:
            samples.append((float(number), private_mib()))
    wall_s = time.monotonic() - started
    after = state()
    was, has = before.pop("configuration"), after.pop("configuration")
    return {
        "calls": calls,
        "wall_s": wall_s,
        "settings_looked_at": len(was),
        "settings_changed": sorted(
            path for path in was.keys() | has.keys() if was.get(path) != has.get(path)
        ),
        "before": before,
        "after": after,
        "memory": drift([number for number, _ in samples], [mib for _, mib in samples]),
    }


def _table(result: dict[str, Any]) -> str:
    if "processes" not in result:
        facts = {**result, **result["memory"]}
        return "\n".join(f"{name:<20}{facts[name]}" for name in facts if name != "memory")
    lines = [f"{result['rows_ok']} rows in {result['wall_s']:.0f} s"]
    lines.append(f"{'process':<34}{'lived s':>9}{'from MiB':>10}{'to MiB':>10}{'drift %':>9}")
    for row in result["processes"]:
        name = f"{row['kind']} {row['pid'] or ''}"
        lines.append(
            f"{name:<34}{row['lived_s']:>9.0f}{row['from_mib']:>10.1f}{row['to_mib']:>10.1f}"
            f"{row['drift_percent']:>9.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["rows", "calls"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every-s", type=float, default=1.0)
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    if given.what == "rows":
        result = measure_rows(given.rows, given.every_s)
    else:
        result = measure_calls(given.calls, given.threads)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=2), encoding="utf-8")
    click.echo(_table(result))


if __name__ == "__main__":
    main()

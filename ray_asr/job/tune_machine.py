"""What a baseline is measured on: machine, models, versions, and how busy it was meanwhile.

Owns these facts. Must not know candidates, or what is made of them.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

import psutil

from ray_asr.config import Config
from ray_asr.control.baseline import Hardware, Models
from ray_asr.control.capacity import ClusterResources
from ray_asr.engine.loading import model_identity
from ray_asr.job.bench_inputs import machine
from ray_asr.job.bench_process import _gpu_meter

_SAMPLE_S = 0.25
_COUNTED = ("torch", "ray", "funasr")


def hardware_of(cluster: ClusterResources) -> Hardware:
    """The cluster's cores, and the kind of machine that this process runs on."""
    cores = sum(node.computing for node in cluster.nodes)
    facts = machine(cores)
    return Hardware(facts["cpu"], len(cluster.nodes), cores, facts["memory_gb"], _gpu_names())


def models_of(config: Config) -> Models:
    """The models of a configuration."""
    model, revision = model_identity(config.engine)
    engine = config.engine
    return Models(model, revision, engine.vad_model, engine.punc_model, engine.spk_model)


def versions() -> dict[str, str]:
    """Of the packages that speed hangs on."""
    return {name: text for name, text in machine(1)["versions"].items() if name in _COUNTED}


def _gpu_names() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(asked.stdout.split("\n")[:-1]) if asked.returncode == 0 else ()


@dataclass(frozen=True, slots=True)
class Seen:
    """Means of a stretch of time; None where there was nothing to see."""

    cpu_percent: float | None = None
    gpu_percent: float | None = None
    memory_gb: float | None = None


class Meter:
    """Samples of this machine while a block runs: CPU, GPU, and memory above what was in use.

    Args:
        watches: whether this machine is all of the cluster; else it sees nothing.
    """

    def __init__(self, watches: bool) -> None:
        self._watches = watches
        self._gpu: Any = _gpu_meter() if watches else None
        self._points: list[tuple[float, float, float, int, float | None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tune-meter", daemon=True)

    def __enter__(self) -> Meter:
        if self._watches:
            self._sample()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._watches:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # A guest's time is counted in the user's already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        memory = psutil.virtual_memory()
        gpu = self._gpu() if self._gpu else None
        self._points.append((time.time(), total, idle, memory.total - memory.available, gpu))

    def between(self, start: float, end: float) -> Seen:
        """What was seen from one moment to another (Unix time)."""
        inside = [p for p in self._points if start - _SAMPLE_S <= p[0] <= end + _SAMPLE_S]
        if len(inside) < 2:
            return Seen()
        first, last = inside[0], inside[-1]
        passed = last[1] - first[1]
        gpus = [p[4] for p in inside if p[4] is not None]
        return Seen(
            cpu_percent=100 * (1 - (last[2] - first[2]) / passed) if passed > 0 else None,
            gpu_percent=sum(gpus) / len(gpus) if gpus else None,
            memory_gb=max(0, max(p[3] for p in inside) - self._points[0][3]) / 2**30,
        )

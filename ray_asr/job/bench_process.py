"""One measured process tree: started, watched from outside, and ended.

Owns what is sampled (CPU time, memory, GPU) and the word of a case with the benchmark: a JSON file
in, a JSON file out. Must not know what a case does; imports neither Ray nor models, so that what
it measures is the case's alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

# Looking takes CPU time of the case's own machine, and the more the more processes the case has:
# the longer a run is, the rarer it is. A moment is known to a fiftieth of the run, within bounds.
_LEAST_SAMPLE_S, _SAMPLE_SHARE, _MOST_SAMPLE_S = 0.25, 0.02, 2.0
# Reading the page tables of large processes takes milliseconds each, and stops what they allocate.
_LEAST_MEMORY_S, _MEMORY_SHARE = 3.0, 0.25
_LAST_WORDS = 300
# Set by a caller's shell, they would decide for every case alike.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS", "OMP_WAIT_POLICY", "RAY_ADDRESS",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a case gave.

    Attributes:
        result: what the case itself wrote: `started` and `ended` (Unix time), `texts` by id, and
            what else it measures.
        cpu_percent: of all cores granted, by all processes of the case, from start to end.
        gpu_percent: mean utilization of the GPU then; None without one.
        peak_mb: most memory of all processes together then, pages they share counted once.
    """

    result: dict[str, Any]
    cpu_percent: float
    gpu_percent: float | None
    peak_mb: float


class CaseFailedError(Exception):
    """A case ended without a result; says why, in a line."""


class _Watch:
    """Samples of a process tree: CPU seconds so far, memory, GPU utilization."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._known: dict[psutil.Process, float] = {}
        self.times: list[float] = []
        self.cpu_s: list[float] = []
        self.gpu_percents: list[float | None] = []
        self._memory: list[tuple[float, int]] = []
        self._gpu = _gpu_meter()

    def sample(self) -> None:
        alive = self.alive()
        for process in alive:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._known[process] = times.user + times.system
        self.times.append(time.time())
        self.cpu_s.append(sum(self._known.values()))
        self.gpu_percents.append(self._gpu() if self._gpu else None)
        now = self.times[-1]
        rest_s = max(_LEAST_MEMORY_S, _MEMORY_SHARE * (now - self.times[0]))
        if not self._memory or now - self._memory[-1][0] >= rest_s:
            self._memory.append((now, sum(_memory(process) for process in alive)))

    def alive(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []

    def kill(self) -> None:
        """End the case and every process that was seen to belong to it."""
        for process in {*self.alive(), *self._known}:
            with contextlib.suppress(psutil.Error):
                process.kill()  # psutil refuses where another process has got the number since

    def cpu_between(self, start: float, end: float) -> float:
        return self._cpu_at(end) - self._cpu_at(start)

    def _cpu_at(self, moment: float) -> float:
        after = bisect_right(self.times, moment)
        if after == 0 or after == len(self.times):
            return self.cpu_s[min(after, len(self.times) - 1)]
        left, right = self.times[after - 1], self.times[after]
        share = (moment - left) / (right - left)
        return self.cpu_s[after - 1] + share * (self.cpu_s[after] - self.cpu_s[after - 1])

    def gpu_between(self, start: float, end: float) -> float | None:
        inside = [
            percent
            for moment, percent in zip(self.times, self.gpu_percents, strict=True)
            if percent is not None and start <= moment <= end
        ]
        return sum(inside) / len(inside) if inside else None

    def peak_between(self, start: float, end: float) -> int:
        inside = [size for moment, size in self._memory if start <= moment <= end]
        # A run too short for a sample of its own has those of the process around it.
        return max(inside or [size for _, size in self._memory], default=0)


def _memory(process: psutil.Process) -> int:
    try:
        information = process.memory_full_info()
        return int(getattr(information, "pss", information.rss))
    except psutil.Error:
        return 0


def _gpu_meter() -> Any:
    """A function that reads the first GPU's utilization; None where there is nothing to read."""
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return None
    return lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def run_case(
    command: Sequence[str],
    spec: Mapping[str, Any],
    folder: Path,
    *,
    environment: Mapping[str, str],
    cores: int,
    timeout_s: float,
) -> Measured:
    """Run `command SPEC` to its end and measure it.

    Args:
        command: what to run; gets the path of the specification as its last argument.
        spec: the specification; `result`, `work` and `ray_folder` are added to it.
        folder: an empty folder of this run's own.
        environment: on top of this process's, without its thread settings.
        cores: what 100 % of the CPU is.
        timeout_s: ended, with all that it started, after this long.

    Raises:
        CaseFailedError: it ended without a result, or not in time.
    """
    folder.mkdir(parents=True)
    specification, result_file = folder / "spec.json", folder / "result.json"
    # Ray's sockets want a short path, and Ray gives its own folder to everybody.
    ray_folder = tempfile.mkdtemp(prefix="rab_")
    own_paths = {"result": str(result_file), "work": str(folder), "ray_folder": f"{ray_folder}/r"}
    specification.write_text(json.dumps({**spec, **own_paths}), encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if name not in _THREAD_VARIABLES}
    with (folder / "log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [*command, str(specification)],
            env={**own, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        watch = _Watch(psutil.Process(process.pid))
        began = time.monotonic()
        deadline = began + timeout_s
        try:
            watch.sample()
            while process.poll() is None and time.monotonic() < deadline:
                so_far = time.monotonic() - began
                time.sleep(min(max(_LEAST_SAMPLE_S, _SAMPLE_SHARE * so_far), _MOST_SAMPLE_S))
                watch.sample()
            late = process.poll() is None
        finally:
            watch.kill()
            process.wait()
            shutil.rmtree(ray_folder, ignore_errors=True)
        log.seek(0)
        said = [line for line in log.read().splitlines() if line.strip()]
    if late:
        raise CaseFailedError(f"not done after {timeout_s:.0f} s")
    if not result_file.is_file():
        reason = said[-1].strip()[:_LAST_WORDS] if said else "it said nothing"
        raise CaseFailedError(f"exit code {process.returncode}: {reason}")
    result = json.loads(result_file.read_text(encoding="utf-8"))
    start, end = result["started"], result["ended"]
    wall_s = max(end - start, 1e-9)
    return Measured(
        result=result,
        cpu_percent=100 * watch.cpu_between(start, end) / wall_s / cores,
        gpu_percent=watch.gpu_between(start, end),
        peak_mb=watch.peak_between(start, end) / 2**20,
    )

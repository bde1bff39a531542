"""What one machine is doing: CPU, memory, GPU, and how busy the actors on it are.

Owns one sample of the machine that this process runs on. Must not know Ray.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from dataclasses import dataclass
from typing import Any

import psutil

# Looking for processes costs more than all the rest: seldom.
_LOOK_EVERY_S = 15.0
_NVML = "pynvml"  # of nvidia-ml-py, which is optional


@dataclass(frozen=True, slots=True)
class Sample:
    """One machine between one look and the next.

    Attributes:
        cpu_percent: of the cores that processes here may use, 0 to 100.
        actors_cpu_percent: of these cores, what our actors took.
        actors: of ours on this machine.
        busy_share: of its granted cores what an actor took in the mean, 0 to 1; None without one.
        load_1m: processes that ran or waited for a core, the mean of a minute.
        memory_share: in use, 0 to 1.
        gpu_percent: mean of the machine's GPUs; None without one.
        gpu_memory_share: of the fullest GPU; None without one.
    """

    cpu_percent: float
    actors_cpu_percent: float
    actors: int
    busy_share: float | None
    load_1m: float
    memory_share: float
    gpu_percent: float | None = None
    gpu_memory_share: float | None = None


class Sampler:
    """Samples of this machine, each over the time since the one before.

    Args:
        title: what the process titles of our actors contain.
        ncpu: cores granted to each of them.
        cores: that processes may use; 0: as this process's affinity says.
    """

    def __init__(self, title: str, ncpu: float, cores: float = 0.0) -> None:
        self._title = title
        self._ncpu = ncpu
        self._allowed = sorted(os.sched_getaffinity(0))
        self._cores = cores or float(len(self._allowed))
        self._actors: dict[int, tuple[psutil.Process, float]] = {}
        self._looked = -_LOOK_EVERY_S
        self._gpus = _gpus()
        self._last = time.monotonic()
        self._busy_s = self._machine_busy_s()
        self._actors_s()

    def sample(self) -> Sample:
        """What happened since the last call."""
        now = time.monotonic()
        passed_s = max(now - self._last, 1e-3)
        busy_s, actors_s = self._machine_busy_s(), self._actors_s()
        cpu_s, self._last, self._busy_s = busy_s - self._busy_s, now, busy_s
        actors = len(self._actors)
        granted_s = passed_s * max(self._ncpu, 1e-9) * actors
        gpu_percent, gpu_memory_share = self._gpu_sample()
        return Sample(
            cpu_percent=min(100.0, 100 * cpu_s / passed_s / self._cores),
            actors_cpu_percent=min(100.0, 100 * actors_s / passed_s / self._cores),
            actors=actors,
            busy_share=min(1.0, actors_s / granted_s) if actors else None,
            load_1m=os.getloadavg()[0],
            memory_share=psutil.virtual_memory().percent / 100,
            gpu_percent=gpu_percent,
            gpu_memory_share=gpu_memory_share,
        )

    def _machine_busy_s(self) -> float:
        """CPU seconds of the allowed cores so far."""
        times = psutil.cpu_times(percpu=True)
        return sum(
            times[core].user + times[core].system + times[core].nice
            + getattr(times[core], "irq", 0.0) + getattr(times[core], "softirq", 0.0)
            # What a hypervisor gives to others is not there for one more actor either.
            + getattr(times[core], "steal", 0.0)
            for core in self._allowed
            if core < len(times)
        )  # fmt: skip

    def _actors_s(self) -> float:
        """CPU seconds of our actors since the last call."""
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._look()
        total_s = 0.0
        for pid, (process, before_s) in list(self._actors.items()):
            try:
                times = process.cpu_times()
            except psutil.Error:
                del self._actors[pid]
                continue
            now_s = times.user + times.system
            total_s += now_s - before_s
            self._actors[pid] = process, now_s
        return total_s

    def _look(self) -> None:
        for process in psutil.process_iter():
            if process.pid in self._actors:
                continue
            with contextlib.suppress(psutil.Error):
                if self._title in " ".join(process.cmdline()):
                    times = process.cpu_times()
                    self._actors[process.pid] = process, times.user + times.system

    def _gpu_sample(self) -> tuple[float | None, float | None]:
        if not self._gpus:
            return None, None
        pynvml = importlib.import_module(_NVML)
        percents, shares = [], []
        for gpu in self._gpus:
            with contextlib.suppress(pynvml.NVMLError):
                percents.append(float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu))
                memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
                shares.append(float(memory.used) / float(memory.total))
        if not percents or not shares:
            return None, None
        return sum(percents) / len(percents), max(shares)


def _gpus() -> list[Any]:
    """Handles of the machine's GPUs; none where there is none or no library to ask them."""
    if importlib.util.find_spec(_NVML) is None:
        return []
    pynvml = importlib.import_module(_NVML)
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []

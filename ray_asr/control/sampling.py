"""What one machine is doing: CPU, memory, GPU, and how busy the actors on it are.

Owns one sample of the machine that this process runs on. Must not know Ray.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_NVML = "pynvml"  # of nvidia-ml-py, which is optional
_NODES = Path("/sys/devices/system/node")


@dataclass(frozen=True, slots=True)
class CoreGroup:
    """The cores of one NUMA node that processes may use: a memory of their own.

    Attributes:
        group: `numa<number>`.
        cpu_percent: of these cores, 0 to 100.
    """

    group: str
    cpu_percent: float


@dataclass(frozen=True, slots=True)
class ActorBusy:
    """One actor of ours.

    Attributes:
        actor: the id of its process.
        busy_share: of its granted cores what it took, 0 to 1.
    """

    actor: str
    busy_share: float


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
        core_groups: the cores that processes may use, apart.
        actors_busy: our actors, apart.
    """

    cpu_percent: float
    actors_cpu_percent: float
    actors: int
    busy_share: float | None
    load_1m: float
    memory_share: float
    gpu_percent: float | None = None
    gpu_memory_share: float | None = None
    core_groups: tuple[CoreGroup, ...] = ()
    actors_busy: tuple[ActorBusy, ...] = ()


class Sampler:
    """Samples of this machine, each over the time since the one before.

    Args:
        ncpu: cores granted to each of our actors.
        cores: that processes may use; 0: as this process's affinity says.
    """

    def __init__(self, ncpu: float, cores: float = 0.0) -> None:
        self._ncpu = ncpu
        self._groups = core_groups(sorted(os.sched_getaffinity(0)))
        self._cores = cores or float(sum(map(len, self._groups.values())))
        self._actors: dict[int, tuple[psutil.Process, float]] = {}
        self._gone: set[int] = set()
        self._gpus = _gpus()
        self._last = time.monotonic()
        self._busy_s = self._groups_busy_s()

    def sample(self, actors: Collection[int] = ()) -> Sample:
        """What happened since the last call.

        Args:
            actors: process ids of ours on this machine; one that is gone is no longer counted.
        """
        now = time.monotonic()
        passed_s = max(now - self._last, 1e-3)
        busy_s, of_actors_s = self._groups_busy_s(), self._actors_s(actors)
        groups_s = {name: busy_s[name] - self._busy_s[name] for name in busy_s}
        cpu_s, actors_s = sum(groups_s.values()), sum(of_actors_s.values())
        self._last, self._busy_s = now, busy_s
        count = len(self._actors)
        granted_s = passed_s * max(self._ncpu, 1e-9)
        gpu_percent, gpu_memory_share = self._gpu_sample()
        return Sample(
            cpu_percent=min(100.0, 100 * cpu_s / passed_s / self._cores),
            actors_cpu_percent=min(100.0, 100 * actors_s / passed_s / self._cores),
            actors=count,
            busy_share=min(1.0, actors_s / granted_s / count) if count else None,
            load_1m=os.getloadavg()[0],
            memory_share=psutil.virtual_memory().percent / 100,
            gpu_percent=gpu_percent,
            gpu_memory_share=gpu_memory_share,
            core_groups=tuple(
                CoreGroup(name, min(100.0, 100 * groups_s[name] / passed_s / len(cores)))
                for name, cores in self._groups.items()
            ),
            actors_busy=tuple(
                ActorBusy(str(pid), min(1.0, took_s / granted_s))
                for pid, took_s in of_actors_s.items()
            ),
        )

    def _groups_busy_s(self) -> dict[str, float]:
        """CPU seconds of each group of cores so far."""
        times = psutil.cpu_times(percpu=True)
        return {
            name: sum(
                times[core].user + times[core].system + times[core].nice
                + getattr(times[core], "irq", 0.0) + getattr(times[core], "softirq", 0.0)
                # What a hypervisor gives to others is not there for one more actor either.
                + getattr(times[core], "steal", 0.0)
                for core in cores
                if core < len(times)
            )
            for name, cores in self._groups.items()
        }  # fmt: skip

    def _actors_s(self, pids: Collection[int]) -> dict[int, float]:
        """CPU seconds of each of our actors since the last call, by process id."""
        took_s: dict[int, float] = {}
        for pid in set(pids) - self._gone:
            try:
                process, before_s = self._actors.get(pid) or (psutil.Process(pid), None)
                times = process.cpu_times()
            except psutil.Error:
                self._actors.pop(pid, None)
                self._gone.add(pid)  # its number may be another process's soon
                continue
            now_s = times.user + times.system
            took_s[pid] = 0.0 if before_s is None else now_s - before_s
            self._actors[pid] = process, now_s
        return took_s

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


def core_groups(cores: Sequence[int], nodes: Path = _NODES) -> dict[str, list[int]]:
    """Cores by their NUMA node; all in one group on a machine that does not say.

    Args:
        cores: by the kernel's numbers.
        nodes: the kernel's folder of NUMA nodes.
    """
    groups: dict[str, list[int]] = {}
    for folder in sorted(nodes.glob("node[0-9]*"), key=lambda path: (len(path.name), path.name)):
        with contextlib.suppress(OSError, ValueError):
            ranges = (folder / "cpulist").read_text(encoding="ascii").strip().split(",")
            ends = [[int(end) for end in part.split("-")] for part in ranges if part]
            mine = [core for core in cores if any(end[0] <= core <= end[-1] for end in ends)]
            if mine:
                groups[folder.name.replace("node", "numa")] = mine
    if sum(map(len, groups.values())) != len(cores):
        return {"numa0": list(cores)}
    return groups


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

"""Which cores a process really has, and a claim on some of them that no other actor shares.

Owns the reading of affinity, cgroup quota and the machine's layout, and the lock files by which
actors of one machine keep their cores apart. Must not know models, torch or Ray.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ray_asr.private_folders import private_folder

SYSTEM = Path("/sys/devices/system")
CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")

logger = logging.getLogger(__name__)
# Held for the life of the process: closing a file would give its core away.
_held: list[CoreClaim] = []


@dataclass(frozen=True, slots=True)
class LogicalCore:
    """One CPU of the kernel's numbering.

    Attributes:
        number: as in an affinity mask.
        numa_node: whose memory is near.
        physical: the lowest number among the threads of the same physical core.
    """

    number: int
    numa_node: int
    physical: int


def offered_cores() -> set[int]:
    """The CPUs that this process may be scheduled on."""
    return os.sched_getaffinity(0)


def layout(numbers: Iterable[int], system: Path = SYSTEM) -> list[LogicalCore]:
    """Where CPUs lie; on a machine that does not say, each is a core of its own on one node."""
    node_of = {
        number: int(folder.name.removeprefix("node"))
        for folder in system.glob("node/node[0-9]*")
        for number in _numbers(folder / "cpulist")
    }
    cores: list[LogicalCore] = []
    for number in sorted(numbers):
        siblings = _numbers(system / f"cpu/cpu{number}/topology/thread_siblings_list")
        cores.append(LogicalCore(number, node_of.get(number, 0), min(siblings, default=number)))
    return cores


def _numbers(file: Path) -> list[int]:
    """`0-3,8` as numbers; none where the file cannot be read."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return []
    ranges = [part.split("-") for part in text.split(",") if part]
    return [n for ends in ranges for n in range(int(ends[0]), int(ends[-1]) + 1)]


def cgroup_folders(
    controller: str, root: Path = CGROUPS, own: Path = _OWN_CGROUPS
) -> Iterator[Path]:
    """The folders whose limits this process is under, from its own up to the root.

    Args:
        controller: `cpu` or `memory`, for version 1, where each has a tree of its own.
        root: where the trees are mounted.
        own: the kernel's list of this process's groups.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        trees = [root / names, root / controller] if names else [root, root / "unified"]
        tree = next((tree for tree in trees if tree.is_dir()), root)
        # A container may be told its path on the host, which it does not see: its root is left.
        folder = tree / path.strip("/")
        while folder != tree:
            yield folder
            folder = folder.parent
        yield tree


def cpu_quota(root: Path = CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """CPUs' worth of time that the cgroups grant; None where they set no limit."""
    quotas: list[float] = []
    for folder in cgroup_folders("cpu", root, own):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            quotas.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            quotas.append(int(quota) / int(period))
    return min((quota for quota in quotas if quota > 0), default=None)


def memory_limit_gb(root: Path = CGROUPS, own: Path = _OWN_CGROUPS) -> float | None:
    """What the cgroups allow, in GiB; None where they set no limit."""
    limits: list[int] = []
    for folder in cgroup_folders("memory", root, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                limits.append(int((folder / name).read_text(encoding="ascii")))
    unlimited = 2**60  # version 1 says "no limit" with the largest multiple of a page
    return min((limit / 2**30 for limit in limits if limit < unlimited), default=None)


class CoreClaim:
    """Cores that no other claim of this machine and user holds until it is released.

    Attributes:
        cores: their numbers.
    """

    def __init__(self, files: dict[int, IO[bytes]]) -> None:
        self._files = files
        self.cores = tuple(sorted(files))

    def release(self) -> None:
        """Give the cores back; the end of the process does the same."""
        for file in self._files.values():
            file.close()
        self._files = {}


def claim_cores(
    count: int,
    folder: Path | None = None,
    offered: Iterable[LogicalCore] | None = None,
) -> CoreClaim | None:
    """`count` cores of one NUMA node that no other process has claimed; None where there are none.

    Threads of one physical core are claimed together: a second actor on the other thread would
    take half of its speed.

    Args:
        count: physical cores.
        folder: of the lock files, one for all actors of a machine; None: in the temporary folder.
        offered: to choose from; None: those that this process may be scheduled on.
    """
    place = folder or Path(tempfile.gettempdir(), f"ray_asr_cores_{os.getuid()}")
    try:
        private_folder(place)
    except OSError as error:
        logger.warning("control.pin_cores: %s, so that no cores can be claimed there.", error)
        return None
    cores = layout(offered_cores()) if offered is None else list(offered)
    threads: dict[tuple[int, int], list[int]] = {}
    for core in cores:
        threads.setdefault((core.numa_node, core.physical), []).append(core.number)
    # One at a time: two that each hold a half of what is left would both go without.
    with (place / "claiming").open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for node in sorted({node for node, _ in threads}):
            claimed: dict[int, IO[bytes]] = {}
            wanted = count
            for (of_node, physical), numbers in sorted(threads.items()):
                if of_node != node or not wanted:
                    continue
                file = _locked(place / f"core-{physical}")
                if file is not None:
                    claimed[numbers[0]] = file
                    wanted -= 1
            claim = CoreClaim(claimed)
            if not wanted:
                return claim
            claim.release()
    return None


def _locked(path: Path) -> IO[bytes] | None:
    """The open file, locked until it is closed; None where another process has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def pin_process(
    count: int, folder: Path | None = None, offered: Iterable[LogicalCore] | None = None
) -> tuple[int, ...]:
    """Keep all threads of this process on `count` cores of its own, from now to its end.

    To be called before models are loaded, so that their memory is near. Where no cores are free
    the kernel goes on placing the threads, and a warning says so.

    Returns:
        The cores; none where there were none.
    """
    claim = claim_cores(count, folder, offered)
    if claim is None:
        logger.warning(
            "control.pin_cores: no %d core(s) of one NUMA node are free for this actor; it is not "
            "pinned. Lower engine.ncpu or the number of actors.", count,
        )  # fmt: skip
        return ()
    _held.append(claim)
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # a thread that has ended
            os.sched_setaffinity(int(thread), claim.cores)
    return claim.cores

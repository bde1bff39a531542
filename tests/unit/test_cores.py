"""Quotas, layouts and claims on made-up machines; claims among real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ray_asr.engine.cores import (
    LogicalCore,
    claim_cores,
    cpu_quota,
    layout,
    memory_limit_gb,
    offered_cores,
    pin_process,
)

FOUR = [LogicalCore(n, 0, n) for n in range(4)]


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")
    return root


# --- what cgroups grant


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "300000 100000\n"}, 2.0),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "damaged"}, None),
        (
            "3:cpu,cpuacct:/job\n",
            {"cpu/job/cpu.cfs_quota_us": "250000", "cpu/job/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        # A container that is told its path on the host sees only its own root.
        (
            "4:cpu:/docker/abc\n",
            {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:memory:/m\n", {"m/cpu.max": "100000 100000"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_the_tightest_quota_on_the_way_up_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    root = written(tmp_path / "cgroup", {"keep": "", **files})
    (tmp_path / "own").write_text(own, encoding="ascii")
    assert cpu_quota(root, tmp_path / "own") == quota


@pytest.mark.parametrize(
    ("own", "files", "limit_gb"),
    [
        ("0::/a\n", {"a/memory.max": str(6 * 2**30), "memory.max": "max"}, 6.0),
        ("4:memory:/x/y\n", {"memory/x/memory.limit_in_bytes": str(3 * 2**30)}, 3.0),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("0::/\n", {}, None),
    ],
)
def test_the_tightest_memory_limit_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit_gb: float | None
) -> None:
    root = written(tmp_path / "cgroup", {"keep": "", **files})
    (tmp_path / "own").write_text(own, encoding="ascii")
    assert memory_limit_gb(root, tmp_path / "own") == limit_gb


def test_no_list_of_groups_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "none") is None


# --- where cores lie


def test_threads_and_numa_nodes_are_read(tmp_path: Path) -> None:
    files = {"node/node0/cpulist": "0-1,4-5\n", "node/node1/cpulist": "2-3,6-7\n"}
    for number in range(8):
        siblings = f"{number % 4},{number % 4 + 4}\n"
        files[f"cpu/cpu{number}/topology/thread_siblings_list"] = siblings
    cores = layout([1, 3, 5, 7], written(tmp_path, files))
    assert cores == [
        LogicalCore(1, 0, 1),
        LogicalCore(3, 1, 3),
        LogicalCore(5, 0, 1),
        LogicalCore(7, 1, 3),
    ]


def test_a_machine_that_says_nothing_has_plain_cores(tmp_path: Path) -> None:
    assert layout({2, 0}, tmp_path) == [LogicalCore(0, 0, 0), LogicalCore(2, 0, 2)]


def test_this_machine_has_the_cores_that_it_offers() -> None:
    assert {core.number for core in layout(offered_cores())} == offered_cores()


# --- claims


def test_claims_are_disjoint_until_there_is_no_core_left(tmp_path: Path) -> None:
    first, second = (claim_cores(2, tmp_path, FOUR) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.cores == (0, 1)
    assert second.cores == (2, 3)
    assert claim_cores(1, tmp_path, FOUR) is None
    first.release()
    again = claim_cores(1, tmp_path, FOUR)
    assert again is not None
    assert again.cores == (0,)


def test_a_claim_that_fails_takes_nothing(tmp_path: Path) -> None:
    held = claim_cores(3, tmp_path, FOUR)
    assert held is not None
    assert claim_cores(2, tmp_path, FOUR) is None
    last = claim_cores(1, tmp_path, FOUR)
    assert last is not None
    assert last.cores == (3,)


def test_cores_of_one_claim_lie_on_one_numa_node(tmp_path: Path) -> None:
    cores = [LogicalCore(n, n % 2, n) for n in range(6)]  # three on each
    taken = [claim_cores(2, tmp_path, cores) for _ in range(3)]
    assert [claim.cores if claim else None for claim in taken] == [(0, 2), (1, 3), None]


def test_two_threads_of_a_core_are_one_core(tmp_path: Path) -> None:
    cores = [LogicalCore(n, 0, n % 2) for n in range(4)]
    first, second = (claim_cores(1, tmp_path, cores) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.cores, second.cores) == ((0,), (1,))
    assert claim_cores(1, tmp_path, cores) is None


CLAIM = """
import sys
from pathlib import Path
from ray_asr.engine.cores import LogicalCore, claim_cores
claim = claim_cores(1, Path(sys.argv[1]), [LogicalCore(n, 0, n) for n in range(3)])
print(claim.cores if claim else None, flush=True)
sys.stdin.read()
"""


def test_processes_that_claim_at_once_share_no_core_and_leave_theirs_when_they_die(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        answers = [p.stdout.readline().strip() for p in processes if p.stdout is not None]
        assert sorted(answers) == ["(0,)", "(1,)", "(2,)", "None"]
        died = answers.index("(1,)")
        processes[died].kill()
        processes[died].wait()
        left = claim_cores(1, tmp_path, [LogicalCore(n, 0, n) for n in range(3)])
        assert left is not None
        assert left.cores == (1,)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


PIN = """
import os, sys, threading
from pathlib import Path
from ray_asr.engine.cores import pin_process
stop = threading.Event()
other = threading.Thread(target=stop.wait)
other.start()
mine = pin_process(1, Path(sys.argv[1]))
later = threading.Thread(target=stop.wait)
later.start()
for thread in sorted(os.listdir("/proc/self/task")):
    assert os.sched_getaffinity(int(thread)) == set(mine), (thread, mine)
assert len(mine) == 1
stop.set()
"""


def test_all_threads_of_a_process_are_pinned(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PIN, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_without_a_free_core_nothing_is_pinned_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = os.sched_getaffinity(0)
    assert pin_process(len(before) + 1, tmp_path) == ()
    assert os.sched_getaffinity(0) == before
    assert "it is not pinned" in caplog.text

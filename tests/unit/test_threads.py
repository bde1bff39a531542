"""What a process is told about its compute threads; each case in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ray_asr.engine.threads import thread_environment

REPORT = """
import json, os, sys
from ray_asr.engine.threads import keep_torch_threads, limit_threads
{before}
limit_threads({ncpu})
import torch
{after}
import pyarrow
print(json.dumps({{
    "omp": os.environ["OMP_NUM_THREADS"], "mkl": os.environ["MKL_NUM_THREADS"],
    "wait": os.environ["OMP_WAIT_POLICY"], "intra": torch.get_num_threads(),
    "inter": torch.get_num_interop_threads(), "arrow": pyarrow.cpu_count(),
}}))
"""


def reported(ncpu: int, before: str = "", after: str = "", **variables: str) -> dict[str, object]:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    run = subprocess.run(
        [sys.executable, "-c", REPORT.format(ncpu=ncpu, before=before, after=after)],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_environment_says_ncpu_to_every_library() -> None:
    environment = thread_environment(3)
    counts = {name: value for name, value in environment.items() if name.endswith("_NUM_THREADS")}
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(counts)
    assert {"NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"} <= set(counts)
    assert set(counts.values()) == {"3"}


def test_a_process_that_was_told_more_is_held_to_ncpu() -> None:
    # A model sets threads of its own while it is loaded: they are put back.
    meddling = "torch.set_num_threads(4); keep_torch_threads(2)"
    told = reported(2, after=meddling, OMP_NUM_THREADS="16", MKL_NUM_THREADS="1")
    assert told == {"omp": "2", "mkl": "1", "wait": "PASSIVE", "intra": 2, "inter": 1, "arrow": 2}


def test_a_torch_that_computed_before_is_held_too() -> None:
    # Once the threads between operations run, their number can no longer be changed.
    used = (
        "import torch; torch.set_num_threads(4); torch.mm(torch.rand(64, 64), torch.rand(64, 64)); "
        "torch.jit.wait(torch.jit.fork(torch.neg, torch.ones(1)))"
    )
    told = reported(1, before=used)
    assert (told["intra"], told["omp"], told["mkl"]) == (1, "1", "1")

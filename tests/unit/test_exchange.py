"""A folder that changes in one step: readers beside it, and kills in the middle of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from ray_asr.job.compact import compact
from ray_asr.job.exchange import obstacle
from ray_asr.job.verify import verify
from tests.outputs import half_as_many_mb, names, parts, write_inputs, write_output

IDS = {f"{n}.parquet": [f"{n}-{row}" for row in range(7)] for n in range(3)}
ROWS = sum(map(len, IDS.values()))
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["ray_asr.job.compact", "pyarrow.dataset"])  # once for all processes

pytestmark = pytest.mark.skipif(
    bool(obstacle(tempfile.gettempdir() + "/x")), reason="no exchange of folders here"
)


def read_on(folders: list[str], stop: Any, counts: Any) -> None:
    """Read like anybody, again and again, and tell of what was seen."""
    seen: Counter[str] = Counter()
    while not stop.is_set():
        for folder in folders:
            try:
                ids = ds.dataset(folder, format="parquet").to_table(columns=["utterance_id"])
            except FileNotFoundError:
                seen["not found"] += 1
            except pa.ArrowInvalid as error:
                # All that was listed had gone before it was looked at: there is no such column.
                seen["not found" if "utterance_id" in str(error) else repr(error)] += 1
            else:
                unique = len(set(ids["utterance_id"].to_pylist()))
                seen[f"{ids.num_rows} rows, {unique} ids"] += 1
    counts.put(dict(seen))


def test_a_reader_beside_it_sees_all_rows_once_or_is_told_that_a_file_is_gone(
    tmp_path: Path,
) -> None:
    source = write_inputs(tmp_path / "in", IDS)
    folders = []
    for number in range(2):
        write_output(source, tmp_path / f"out{number}")
        folders.append(str(tmp_path / f"out{number}"))
    stop, counts = FORKED.Event(), FORKED.Queue()
    reader = FORKED.Process(target=read_on, args=(folders, stop, counts))
    reader.start()
    swaps = 0
    draw = random.Random(1)
    while len(folders) > 0:
        folder = Path(draw.choice(folders))
        before = len(parts(folder))
        time.sleep(draw.uniform(0, 0.02))
        swaps += compact(str(folder), target_mb=half_as_many_mb(folder)).files_after < before
        if len(parts(folder)) == before:
            folders.remove(str(folder))
    stop.set()
    seen = Counter(counts.get(timeout=60))
    reader.join(60)
    assert reader.exitcode == 0
    assert swaps >= 4
    assert set(seen) <= {"not found", f"{ROWS} rows, {ROWS} ids"}, seen
    assert seen[f"{ROWS} rows, {ROWS} ids"] > swaps


EVENTS = ("os.", "open", "shutil.", "ctypes.", "tempfile.")


def compact_and_die(output: str, at: int, seconds: float) -> None:
    """Compact, and be killed at the so-manieth step of the system, or after so many seconds."""
    from ray_asr.job.compact import compact

    steps = 0

    def count(event: str, arguments: Any) -> None:
        nonlocal steps
        steps += event.startswith(EVENTS)
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    if seconds:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    compact(output)


def killed(output: Path, at: int = 0, seconds: float = 0.0) -> bool:
    process = FORKED.Process(target=compact_and_die, args=(str(output), at, seconds))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL, -signal.SIGALRM)
    return process.exitcode != 0


def every_instant(draw: random.Random, count: int) -> Iterator[tuple[int, float]]:
    for number in range(count):
        yield (draw.randrange(20, 90), 0.0) if number % 2 else (0, draw.uniform(0.001, 0.12))


def test_killed_at_any_instant_the_output_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    source, output = write_inputs(tmp_path / "in", IDS), tmp_path / "out"
    write_output(source, output)
    kills, outcomes = 0, Counter[str]()
    draw = random.Random(int(os.environ.get("RAY_ASR_SEED", "0")))
    count = int(os.environ.get("RAY_ASR_KILLS", "6"))
    files = len(parts(output))
    for number, (at, seconds) in enumerate(every_instant(draw, count)):
        here = tmp_path / f"run{number}" / "out"
        shutil.copytree(output, here)
        kills += killed(here, at, seconds)
        assert verify(str(here), str(source)).proven
        outcomes["old" if len(parts(here)) == files else "new"] += 1
        compact(str(here))
        assert len(parts(here)) == 1
        assert names(here.parent) == ["out"]
        assert verify(str(here), str(source)).proven
    assert kills >= count // 3
    assert set(outcomes) == {"old", "new"}

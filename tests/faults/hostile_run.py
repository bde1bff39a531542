"""Decodes hostile inputs in processes of their own, which may crash, hang or swell.

    python -m tests.faults.hostile_run --count 10000 --seed 5

Each input is one row of a table that goes through `decode_rows`, as in a reading task; a long row
is then decoded in pieces, as in an actor. A process that dies or does not answer in time is
replaced, and its input is named.
"""

from __future__ import annotations

import argparse
import faulthandler
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from tests.faults.hostile import OK, Case, case
from tests.faults.hostile_sources import write_long_opus

# A process that worked on one input for so many seconds of CPU hangs, and one that answers nobody
# for thirty times as long, however busy the machine is.
HANG_S = 60.0
_WALL_TIMES = 30
# Beside the encoded bytes: ten minutes of decoded audio, three times over, and what a decoder has.
MOST_MB = 400.0
MOST_TIMES_ENCODED = 6
_LIMIT_BYTES = 6 * 2**30  # a process that asks for more is refused: other work runs beside it
_PIECE_S = 300.0
_START_S = 280.0  # within which a process has started and has made its input


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input.

    Attributes:
        id: of the input.
        kind: of the input.
        code: "ok", an error code, "crashed" or "hung".
        fault: what is wrong with that, in words; "" where nothing is.
        seconds: of wall time, in its process.
        peak_mb: memory at its most, above what the process had before.
    """

    id: str
    kind: str
    code: str
    fault: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0


Make = Callable[[Any], Case]


def numbered(item: tuple[int, int]) -> Case:
    """The input of a seed and a number."""
    return case(*item)


def from_file(path: str, expected: str, max_duration_s: float | None = None) -> Case:
    """A recording in a file, and what must come of it."""
    name, data = Path(path).name, Path(path).read_bytes()
    kind = "long" if max_duration_s is None else "long, allowed"
    return Case(f"file {kind}: {name}", kind, data, name, frozenset((expected,)),
                max_duration_s=max_duration_s)  # fmt: skip


def _status_mb(field: str) -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def decoded(made: Case) -> tuple[str, float, str]:
    """Outcome, seconds of audio and message of one row through the job's own decoding."""
    import pyarrow as pa

    from ray_asr.config import InputConfig
    from ray_asr.corpus import rows
    from ray_asr.corpus.audio import decode_pieces, duration_ms
    from ray_asr.errors import RowError
    from ray_asr.schema import SAMPLE_RATE_HZ

    config = InputConfig()
    if made.max_duration_s is not None:
        config = InputConfig(max_duration_s=made.max_duration_s)
    duration_ms(made.data, path_hint=made.hint)
    batch = pa.record_batch(
        {
            "utterance_id": [made.id],
            "audio": pa.array([made.data], pa.large_binary()),
            "audio_path": [made.hint],
        }
    )
    tables = [table for table, _ in rows.decode_rows(batch, config, 60.0)]
    found = [row for table in tables for row in table.drop_columns(rows.WAVEFORM).to_pylist()]
    if [row[rows.ID] for row in found] != [made.id]:
        return "rows", 0.0, f"{len(found)} rows came of one."
    code, message = found[0][rows.ERROR_CODE], found[0][rows.ERROR_MESSAGE]
    if code:
        return code, 0.0, message
    if found[0][rows.ENCODED] is None:
        return OK, len(tables[0][rows.WAVEFORM][0].as_buffer()) / 4 / SAMPLE_RATE_HZ, ""
    samples = 0
    try:
        for piece in decode_pieces(
            found[0][rows.ENCODED],
            _PIECE_S,
            path_hint=made.hint,
            max_duration_s=config.max_duration_s,
        ):
            samples += len(piece)
    except RowError as error:
        return str(error.code), 0.0, error.message
    return OK, samples / SAMPLE_RATE_HZ, ""


def judged(made: Case, code: str, seconds: float, message: str, peak_mb: float) -> str:
    """What is wrong with an outcome; "" where nothing is."""
    if made.expected and code not in made.expected:
        return f"{code} ({message}) instead of {' or '.join(sorted(made.expected))}"
    if code != OK and not (message.endswith(".") and "\n" not in message):
        return f"no sentence: {message!r}"
    if code == OK and made.duration_ms is not None:
        least, most = made.duration_ms
        if not least <= 1000 * seconds <= most:
            return f"{1000 * seconds:.0f} ms instead of {least} to {most}"
    allowed_mb = MOST_MB + MOST_TIMES_ENCODED * len(made.data) / 2**20
    return f"{peak_mb:.0f} MB of memory, more than {allowed_mb:.0f}" if peak_mb > allowed_mb else ""


def _child(pipe: Connection, make: Make) -> None:
    """Decode what comes through the pipe until nothing does."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT_BYTES, _LIMIT_BYTES))
    decoded(case(0, 0))  # imports and tables that stay are not of the first input
    while (item := pipe.recv()) is not None:
        made = make(item)
        pipe.send(made.id)
        _forget_peak()
        before_mb, start = _status_mb("VmRSS"), time.monotonic()
        code, seconds, message = decoded(made)
        taken_s = time.monotonic() - start
        peak_mb = _status_mb("VmHWM") - before_mb
        fault = judged(made, code, seconds, message, peak_mb)
        pipe.send(Outcome(made.id, made.kind, code, fault, taken_s, max(0.0, peak_mb)))


class _Process:
    """One process that decodes, and what it has in hand."""

    def __init__(self, make: Make) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_child, args=(theirs, make), daemon=True)
        self.process.start()
        theirs.close()
        self.name = ""
        self.item: Any = None
        self.until = 0.0
        self.most_cpu_s = math.inf

    def give(self, item: Any) -> None:
        self.item, self.name = item, str(item)
        self.until, self.most_cpu_s = time.monotonic() + _START_S, math.inf
        self.pipe.send(item)

    def begins(self, name: str, hang_s: float) -> None:
        """Its input is made, and it decodes from now on."""
        self.name, self.until = name, time.monotonic() + _WALL_TIMES * hang_s
        self.most_cpu_s = self.cpu_s() + hang_s

    def hangs(self) -> bool:
        return time.monotonic() > self.until or self.cpu_s() > self.most_cpu_s

    def cpu_s(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:  # it has just ended
            return 0.0
        return times.user + times.system

    def end(self) -> int | None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


def run(
    items: Iterable[Any], make: Make = numbered, processes: int = 1, hang_s: float = HANG_S
) -> Iterator[Outcome]:
    """Decode the inputs that `make` makes of `items`, each in one of so many processes."""
    waiting = iter(items)
    pool = [_Process(make) for _ in range(processes)]
    try:
        for worker in pool:
            worker.item = next(waiting, None)
            if worker.item is not None:
                worker.give(worker.item)
        while busy := [worker for worker in pool if worker.item is not None]:
            ready = wait([worker.pipe for worker in busy], timeout=1.0)
            for worker in busy:
                outcome = _heard(worker, hang_s) if worker.pipe in ready else _overdue(worker)
                if outcome is None:
                    continue
                yield outcome
                if outcome.code in ("crashed", "hung"):
                    pool[pool.index(worker)] = worker = _Process(make)
                worker.item = next(waiting, None)
                if worker.item is not None:
                    worker.give(worker.item)
    finally:
        for worker in pool:
            worker.end()


def _heard(worker: _Process, hang_s: float) -> Outcome | None:
    try:
        said = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.process.exitcode
        worker.end()
        return Outcome(worker.name, _kind(worker.name), "crashed", f"exit code {code}")
    if isinstance(said, str):  # the input is made: its time begins
        worker.begins(said, hang_s)
        return None
    return said


def _overdue(worker: _Process) -> Outcome | None:
    if not worker.hangs():
        return None
    worker.end()
    return Outcome(worker.name, _kind(worker.name), "hung", "no answer in time")


def _kind(name: str) -> str:
    return name.split(" ", 1)[-1].split(":")[0]


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes by kind, and below it each that is wrong."""
    by_kind: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.kind].append(outcome)
        by_kind["all"].append(outcome)
    by_kind["all"] = by_kind.pop("all")
    lines = [f"{'kind':22}{'rows':>7}{'ok':>6}{'crash':>7}{'hung':>6}{'wrong':>7}{'most MB':>9}"
             f"{'slowest s':>11}  failed by code"]  # fmt: skip
    for kind, found in by_kind.items():
        codes = Counter(outcome.code for outcome in found)
        wrong = sum(bool(o.fault) and o.code not in ("crashed", "hung") for o in found)
        failed = ", ".join(
            f"{code.removeprefix('audio_')} {count}"
            for code, count in codes.most_common()
            if code not in (OK, "crashed", "hung")
        )
        lines.append(
            f"{kind:22}{len(found):7}{codes[OK]:6}{codes['crashed']:7}{codes['hung']:6}{wrong:7}"
            f"{max(o.peak_mb for o in found):9.0f}{max(o.seconds for o in found):11.1f}  {failed}"
        )
    lines += [f"WRONG {o.id}: {o.fault}" for o in by_kind["all"] if o.fault]
    return "\n".join(lines)


def main() -> int:
    """Run as the command line says; exit code 1 where anything crashed, hung or was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="how many inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=5, help="what the inputs are drawn from")
    parser.add_argument("--hours", type=float, default=0.0, help="of a long recording, made too")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    start, outcomes = time.monotonic(), list[Outcome]()
    items = ((asked.seed, index) for index in range(asked.first, asked.first + asked.count))
    for outcome in run(items, processes=asked.processes):
        outcomes.append(outcome)
        if outcome.fault:
            sys.stdout.write(f"WRONG {outcome.id}: {outcome.fault}\n")
        elif len(outcomes) % 1000 == 0:
            sys.stdout.write(f"{len(outcomes)} after {time.monotonic() - start:.0f} s\n")
        sys.stdout.flush()
    taken_s = time.monotonic() - start
    sys.stdout.write(f"{table(outcomes)}\n{len(outcomes)} rows of {asked.count} inputs in ")
    sys.stdout.write(f"{taken_s:.0f} s, {asked.processes} processes\n")
    is_wrong = len(outcomes) != asked.count or any(outcome.fault for outcome in outcomes)
    if asked.hours:
        of_hours = list(run_long(asked.hours))
        sys.stdout.write(f"{table(of_hours)}\n")
        is_wrong = is_wrong or any(outcome.fault for outcome in of_hours)
    return int(is_wrong)


def run_long(hours: float) -> Iterator[Outcome]:
    """A recording of hours under the limit as it is, and under one that lets it through."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{hours:g}h.opus"
        write_long_opus(path, hours)
        yield from run([str(path)], partial(from_file, expected="audio_too_long"))
        longer = partial(from_file, expected=OK, max_duration_s=3600 * (hours + 1))
        yield from run([str(path)], longer, hang_s=3600.0)


if __name__ == "__main__":
    sys.exit(main())

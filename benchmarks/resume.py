"""What it costs that nothing is lost: going on with a large job, and writing parts durably.

    python benchmarks/resume.py startup --rows 1000000 --files 1000
    python benchmarks/resume.py overhead --minutes 20 --repeat 3

`startup`: a job of which all units but one are done, from the command to its end. `overhead`: the
embedded models on the embedded speech, by turns with all that keeps rows safe (lease, record of the
run, parts written whole and synced, the listing before) and with none of it: parts are not even
written. Where other things run beside it, the difference is lost in noise; the time within what is
safe-keeping is printed too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.scaling import MODELS, speech
from ray_asr.config import Config, with_settings
from ray_asr.corpus.resume import claim_output
from ray_asr.corpus.storage import open_filesystem
from ray_asr.corpus.units import input_units
from ray_asr.job import pipeline
from ray_asr.job.bench_own import NullEngine
from ray_asr.job.continuation import settings_to_match
from ray_asr.job.parts import PartWriter
from ray_asr.job.pipeline import connect, transcribe_path

GROUPS_A_FILE = 10
UNIT_MB = 1e-4  # below any row group: each is a unit of its own


@click.group()
def main() -> None:
    """See the head of this file."""
    logging.basicConfig(level=logging.WARNING)


@main.command()
@click.option("--rows", default=1_000_000)
@click.option("--files", default=1000)
def startup(rows: int, files: int) -> None:
    """A job of which one unit is left."""
    config = with_settings(
        Config(), {**MODELS, "unit_mb": UNIT_MB, "autoscale": False, "max_failed_ratio": 1.0}
    )
    with tempfile.TemporaryDirectory(prefix="rs_") as name:
        folder = Path(name)
        per_file = rows // files
        audio = pa.array([b"0123456789"] * per_file, pa.binary())
        (folder / "in").mkdir()
        for number in range(files):
            ids = [f"{number}-{row}" for row in range(per_file)]
            pq.write_table(
                pa.table({"utterance_id": ids, "audio": audio}),
                folder / "in" / f"{number:06d}.parquet",
                row_group_size=max(1, per_file // GROUPS_A_FILE),
            )
        began = time.monotonic()
        _, units = input_units(str(folder / "in"), config)
        listed_s = time.monotonic() - began
        filesystem, output = open_filesystem(str(folder / "out"))
        claim_output(filesystem, output, settings_to_match(config))
        for number, unit in enumerate(units[:-1]):
            done = (
                folder / f"done-{number // 10_000}.parquet"
            )  # a file has a bounded number of links
            if number % 10_000 == 0:
                pq.write_table(pa.table({"utterance_id": ["x"]}), done)
            os.link(done, f"{output}/{unit.part_name}")
        connect("local", _temp_dir=f"{name}/ray")
        began = time.monotonic()
        summary = transcribe_path(str(folder / "in"), output, config, make_engine=NullEngine)
        wall_s = time.monotonic() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(
        f"{summary.rows_resumed} of {summary.rows_in} rows in {len(units)} units of {files} files "
        f"were done: {wall_s:.1f} s from the command to the end, {summary.wall_s:.1f} s of them in "
        f"the last unit; the input alone is listed in {listed_s:.1f} s; {peak_mb:.0f} MB in the "
        "driver at most"
    )


class Stopwatch:
    """Seconds within the calls that it wraps, those inside each other counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        if self._inside:
            yield
            return
        self._inside, began = True, time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began
            self._inside = False

    def around(self, function: Any) -> Any:
        def timed(*given: Any, **named: Any) -> Any:
            with self.running():
                return function(*given, **named)

        return timed


@contextlib.contextmanager
def replaced(owner: Any, **functions: Any) -> Iterator[None]:
    """Others in the place of some of a module's or a class's functions."""
    before = {name: getattr(owner, name) for name in functions}
    for name, function in functions.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(owner, name, function)


@contextlib.contextmanager
def without_safety() -> Iterator[None]:
    """No lease, no record of the run, nothing claimed, no part written."""

    @contextlib.contextmanager
    def nobody_asks(*_: Any) -> Iterator[Any]:
        class Free:
            def check(self) -> None: ...

        yield Free()

    class Nowhere:
        def __init__(self, _: Any, folder: str, *__: Any, **___: Any) -> None:
            self.folder = folder

        def begin(self) -> None: ...

        def written(self) -> str:
            return self.folder

        def end(self) -> None: ...

    def forget(writer: PartWriter, number: int, rows: pa.Table) -> None:
        writer.written += 1

    nothing = partial(lambda *_: None)
    with (
        replaced(
            pipeline, held=nobody_asks, Placement=Nowhere, begin_run=nothing, write_run=nothing,
            parts_done=lambda *_: frozenset(), finish_switch=nothing,
        ),
        replaced(PartWriter, _write=forget),
    ):  # fmt: skip
        yield


@contextlib.contextmanager
def timed_safety(watch: Stopwatch) -> Iterator[None]:
    """All of it as it is, with the time in it taken."""
    names = ("begin_run", "write_run", "parts_done", "finish_switch")
    functions = {name: watch.around(getattr(pipeline, name)) for name in names}
    with (
        replaced(pipeline, **functions),
        replaced(PartWriter, _write=watch.around(PartWriter._write)),
    ):
        yield


@main.command()
@click.option("--minutes", default=20.0)
@click.option("--repeat", default=3)
@click.option("--unit-mb", default=1.0, help="Small units make many parts.")
def overhead(minutes: float, repeat: int, unit_mb: float) -> None:
    """With and without what keeps rows safe, by turns."""
    config = with_settings(Config(), {**MODELS, "unit_mb": unit_mb, "autoscale": False})
    shares: list[float] = []
    walls: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory(prefix="ro_") as name:
        source = speech(Path(name) / "in", minutes / 60)
        _, units = input_units(source, config)
        connect("local", _temp_dir=f"{name}/ray")
        for number in range(repeat + 1):  # the first pair starts Ray's workers
            for kind in ("with", "without"):
                watch = Stopwatch()
                safety = timed_safety(watch) if kind == "with" else without_safety()
                began = time.monotonic()
                with safety:
                    transcribe_path(source, f"{name}/out-{number}-{kind}", config)
                wall_s = time.monotonic() - began
                if number:
                    walls[kind].append(wall_s)
                    click.echo(f"{kind:8} {wall_s:6.1f} s, {watch.seconds:5.2f} s safe-keeping")
                    if kind == "with":
                        shares.append(watch.seconds / wall_s)
    ratios = [a / b - 1 for a, b in zip(walls["with"], walls["without"], strict=True)]
    click.echo(
        f"{len(units)} parts; with against without: {100 * statistics.median(ratios):+.1f} % "
        f"({100 * min(ratios):+.1f} to {100 * max(ratios):+.1f}); time within safe-keeping "
        f"{100 * statistics.median(shares):.2f} % of the wall"
    )


if __name__ == "__main__":
    main()

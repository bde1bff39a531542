"""Scaling on one real machine: how soon a pool follows, a wrong start, a run against its forecast.

    python benchmarks/scaling.py reach            # 2 minutes
    python benchmarks/scaling.py start            # 20 minutes: 8 actors asked, 1, the best
    python benchmarks/scaling.py forecast         # 10 minutes: the tuner, a run, the tuner, a run

The whole job each time, on the embedded speech, many times over, with the embedded models, on a Ray
of its own. Where other things run beside it, only `reach` means something.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.control.signals import Decision, Signals
from ray_asr.demo import speech_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.errors import RayAsrError
from ray_asr.job import pipeline
from ray_asr.job.forecast import ForecastOptions, forecast
from ray_asr.job.pipeline import connect, transcribe_path
from ray_asr.job.steering import Steering
from ray_asr.job.summary import RunSummary
from ray_asr.job.tune import TuneOptions, run_tune

MODELS = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}
STEPS = (1, 4, 2, 3, 1)


def speech(folder: Path, hours: float) -> str:
    """The embedded recordings as Parquet, so many times that they last so long."""
    folder.mkdir(parents=True)
    lines = (speech_folder() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    names = [item["audio_filepath"] for item in items]
    audio = [(speech_folder() / name).read_bytes() for name in names]
    total_s = sum(float(item["duration"]) for item in items)
    for copy in range(max(1, round(3600 * hours / total_s))):
        ids = [f"{copy}-{name}" for name in names]
        table = pa.table({"utterance_id": ids, "audio": audio})
        pq.write_table(table, folder / f"part-{copy:04d}.parquet", row_group_size=32)
    return str(folder)


class ScriptEnded(RayAsrError):
    """Every step was made: the rest of the job is not waited for."""


class Script:
    """A policy that asks for one size after another, each for a while after it was reached."""

    def __init__(self, steps: tuple[int, ...], hold_s: float) -> None:
        self._left = list(steps)
        self._hold_s = hold_s
        self._before = 0
        self._asked = self._reached = 0.0
        self.steps: list[tuple[int, int, float, float]] = []  # from, to, when, when reached

    def decide(self, signals: Signals) -> Decision:
        now = time.time()
        if self._reached and now - self._reached > self._hold_s:
            self._before = self._left.pop(0)
            self._asked = self._reached = 0.0
        if not self._left:
            raise ScriptEnded("every step was made.")
        self._asked = self._asked or now
        if not self._reached and signals.running == self._left[0]:
            self._reached = now
            self.steps.append((self._before, self._left[0], self._asked, now))
        return Decision(self._left[0], "as the script says")


class Timed:
    """An engine that notes when its process was there and when it had loaded."""

    def __init__(self, folder: str, config: EngineConfig) -> None:
        self._file = Path(folder) / f"{os.getpid()}-{time.time_ns()}.json"
        self._made = time.time()
        self._engine = FunASREngine(config)

    def load(self) -> None:
        self._engine.load()
        self._file.write_text(json.dumps({"made": self._made, "loaded": time.time()}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@click.group()
def cli() -> None:
    """Scaling on one real machine."""
    logging.basicConfig(level=logging.WARNING)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")


@cli.command()
@click.option("--hours", default=8.0, show_default=True, help="Of audio; enough for all steps.")
@click.option("--hold-s", default=8.0, show_default=True, help="At each size.")
def reach(hours: float, hold_s: float) -> None:
    """How long a pool takes from being told a new size until it has it."""
    script = Script(STEPS, hold_s)
    made: list[Steering] = []

    class Scripted(Steering):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.control.make_policy = lambda: script
            self.control.period_s = 0.1
            made.append(self)

    pipeline.Steering = Scripted  # type: ignore[misc]
    config = with_settings(
        Config(),
        {**MODELS, "ncpu": 1, "min_actors": 1, "max_actors": max(STEPS), "num_actors": 1,
         "vary_batch": False},
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="reach-", ignore_cleanup_errors=True) as folder:
        loads = Path(folder) / "loads"
        loads.mkdir()
        source = speech(Path(folder) / "in", hours)
        connect("local", num_cpus=max(STEPS) + 1)
        try:
            transcribe_path(source, f"{folder}/out", config, make_engine=partial(Timed, str(loads)))
        except ScriptEnded:
            pass
        else:
            sys.exit("the audio was at its end before the script: give --hours.")
        noted = [json.loads(file.read_text()) for file in sorted(loads.iterdir())]
        samples = made[0].samples()
    click.echo(f"{os.cpu_count()} cores; load of the machine {os.getloadavg()[0]:.1f}")
    for before, after, asked, reached in script.steps:
        took_s = reached - asked
        if after > before:
            new = [one for one in noted if asked <= one["made"] <= reached]
            made_s, loaded_s = (
                max(one[what] for one in new) - asked for what in ("made", "loaded")
            )
            click.echo(
                f"{before} → {after}: {took_s:.1f} s: processes there after {made_s:.1f} s, "
                f"have loaded after {loaded_s:.1f} s; beside that {took_s - loaded_s:.1f} s"
            )
        else:
            click.echo(f"{before} → {after}: {took_s:.1f} s")
    assert samples is not None
    seen = [size for size in samples["running"].to_pylist() if size]
    sizes = [size for n, size in enumerate(seen) if n == 0 or seen[n - 1] != size]
    click.echo(f"samples.parquet, one a second: {' → '.join(map(str, sizes))} actors")
    ray.shutdown()


@cli.command()
@click.option("--hours", default=13.0, show_default=True, help="Of audio, in each run.")
@click.option("--actors", default="8,1", show_default=True, help="Asked for; then it scales.")
@click.option("--fixed", default="2", show_default=True, help="Sizes that do not change.")
@click.option("--repeat", default=1, show_default=True, help="Of all of them, in turn.")
def start(hours: float, actors: str, fixed: str, repeat: int) -> None:
    """What becomes of a wrong number of actors, against fixed ones."""
    asked = [(int(n), True) for n in actors.split(",")] + [
        (int(n), False) for n in fixed.split(",")
    ]
    with tempfile.TemporaryDirectory(prefix="start-", ignore_cleanup_errors=True) as folder:
        source = speech(Path(folder) / "in", hours)
        connect("local", num_cpus=max(n for n, _ in asked) + 1)
        for turn in range(repeat):
            for count, scales in asked:
                output = f"{folder}/out-{turn}-{count}-{scales}"
                numbers = {"ncpu": 1, "num_actors": count, "autoscale": scales, "precision": "fp32"}
                run = transcribe_path(source, output, with_settings(Config(), MODELS | numbers))
                said = "asked for, then as the policy says" if scales else "fixed"
                click.echo(f"{count} actors {said}: {_speeds(output, run)}")
    ray.shutdown()


def _speeds(output: str, run: RunSummary) -> str:
    rows = pq.read_table(f"{output}/_runs/{run.run_id}/samples.parquet").to_pylist()
    after = [(row["time_s"], row["audio_s"]) for row in rows if row["time_s"] >= 60]
    speed = (after[-1][1] - after[0][1]) / (after[-1][0] - after[0][0]) if len(after) > 1 else 0.0
    moments = json.loads(Path(f"{output}/_runs/{run.run_id}/scaling.json").read_text())
    sizes = ", ".join(f"{moment['target']} at {moment['time_s']:.0f} s" for moment in moments)
    return f"{speed:.0f}x after 60 s, {run.rtfx:.0f}x in all ({sizes})"


@cli.command(name="forecast")
@click.option("--hours", default=5.0, show_default=True, help="Of audio, in each run.")
@click.option("--sample-minutes", default=10.0, show_default=True, help="Of the tuner.")
@click.option("--budget-minutes", default=2.5, show_default=True, help="Of the tuner.")
@click.option("--repeat", default=2, show_default=True, help="Of tuner and run, in turn.")
def forecast_command(
    hours: float, sample_minutes: float, budget_minutes: float, repeat: int
) -> None:
    """A run against what `ray-asr simulate --run` says of it by the baseline before and after."""
    with tempfile.TemporaryDirectory(prefix="forecast-", ignore_cleanup_errors=True) as folder:
        source = speech(Path(folder) / "in", hours)
        connect("local")
        config = with_settings(Config(), {**MODELS, "precision": "fp32"})
        runs: list[str] = []
        baselines: list[str] = []
        for turn in range(repeat):
            baselines.append(f"{folder}/baseline-{turn}.json")
            options = TuneOptions(sample_minutes, budget_minutes, 1, (), baselines[-1])
            click.echo(run_tune(source, config, options).text)
            run = transcribe_path(source, f"{folder}/out-{turn}", config)
            runs.append(f"{folder}/out-{turn}/_runs/{run.run_id}")
            for number, baseline in enumerate(baselines):
                known = with_settings(Config(), {"baseline": baseline})
                found = forecast(None, known, ForecastOptions(run=runs[-1]))
                assert found.real is not None
                click.echo(
                    f"run {turn} took {found.real.wall_s:.1f} s; by baseline {number} "
                    f"{found.expected.makespan_s:.1f} s ({100 * (found.error or 0):+.1f} %), "
                    f"load of the machine {os.getloadavg()[0]:.1f}"
                )
    ray.shutdown()


if __name__ == "__main__":
    cli()

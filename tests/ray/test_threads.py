"""Actors that recognize on a real Ray compute in no more threads than they were granted."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.threads import thread_environment
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import speech_table, write_shard

pytestmark = pytest.mark.usefixtures("ray_local")

# A compute thread is one that had more than this share of what each core granted to its process
# brought it over an interval, however little a busy machine leaves to that. Ray's own threads, and
# one that waits for another at the end of an operation, have far less.
COMPUTES = 0.2
INTERVAL_S = 0.5
# What every process must have had, in seconds of CPU, for an interval to say anything.
SAYS_S = 0.2
INTERVALS = 5
MOST_S = 120.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def make_actor(engine_ncpu: int, environment: dict[str, str]) -> Any:
    """An actor with the embedded models; made here, so that its process gets the class whole."""

    @ray.remote(num_cpus=1, runtime_env={"env_vars": environment})
    class Recognizes:
        def __init__(self) -> None:
            from ray_asr.config import EngineConfig
            from ray_asr.engine.funasr_engine import FunASREngine
            from ray_asr.engine.threads import limit_threads

            limit_threads(engine_ncpu)
            config = EngineConfig(
                model="demo", vad_model="demo", punc_model="demo", ncpu=engine_ncpu
            )
            self.engine = FunASREngine(config)
            self.engine.load()

        def pid(self) -> int:
            return os.getpid()

        def work(self, enough: str) -> int:
            """All three steps, over and over, as a worker does them, until there is such a file."""
            noise = np.random.default_rng(0)
            waveforms = [noise.normal(0, 0.1, 16_000 * 8).astype(np.float32) for _ in range(16)]
            calls = 0
            while not os.path.exists(enough):
                self.engine.detect_speech(waveforms)
                for heard in self.engine.recognize_all([waveforms[:8], waveforms[8:]]):
                    heard()
                self.engine.punctuate(["the train at platform two is late this morning"] * 8)
                calls += 1
            return calls

        def multiply(self, enough: str) -> None:
            """Operations large enough for all of torch's threads."""
            import torch

            matrix = torch.rand(1500, 1500)
            while not os.path.exists(enough):
                matrix @ matrix

    return Recognizes.remote()


def cpu_ticks(pid: int) -> Counter[int]:
    """User and system time of each thread so far."""
    ticks: Counter[int] = Counter()
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    return ticks


def compute_threads(
    actors: list[Any], ncpu: int, method: str, enough: Path
) -> list[tuple[int, ...]]:
    """For each interval in which all work, how many threads of each actor computed.

    Args:
        actors: of `make_actor`.
        ncpu: cores granted to each.
        method: what they do meanwhile.
        enough: a file that ends it.
    """
    pids = ray.get([actor.pid.remote() for actor in actors])
    working = [getattr(actor, method).remote(str(enough)) for actor in actors]
    time.sleep(1.0)  # the first call of all begins its threads
    counts: list[tuple[int, ...]] = []
    before = [cpu_ticks(pid) for pid in pids]
    ends = time.monotonic() + MOST_S
    while len(counts) < INTERVALS and time.monotonic() < ends:
        if ray.wait(working, num_returns=1, timeout=INTERVAL_S)[0]:
            break  # it has failed
        after = [cpu_ticks(pid) for pid in pids]
        had = [a - b for b, a in zip(before, after, strict=True)]
        if all(of_one.total() * TICK_S >= SAYS_S for of_one in had):
            counts.append(
                tuple(
                    sum(ticks > COMPUTES * of_one.total() / ncpu for ticks in of_one.values())
                    for of_one in had
                )
            )
            before = after
    enough.touch()
    ray.get(working)
    return counts


def ended(actors: list[Any]) -> None:
    for actor in actors:
        ray.kill(actor)


def test_actors_of_one_core_compute_in_one_thread_each(tmp_path: Path) -> None:
    # One of them was started with an environment that says more.
    actors = [make_actor(1, thread_environment(1)), make_actor(1, thread_environment(4))]
    try:
        for method in ("work", "multiply"):
            counts = compute_threads(actors, 1, method, tmp_path / method)
            assert counts == [(1, 1)] * INTERVALS
    finally:
        ended(actors)


def test_an_actor_of_two_cores_computes_in_two_threads_and_no_more(tmp_path: Path) -> None:
    actors = [make_actor(2, thread_environment(2))]
    try:
        recognizing = compute_threads(actors, 2, "work", tmp_path / "work")
        assert len(recognizing) == INTERVALS
        assert all(1 <= threads <= 2 for (threads,) in recognizing)
        # What is granted is used where an operation is large enough, and this measurement sees it.
        multiplying = compute_threads(actors, 2, "multiply", tmp_path / "multiply")
        assert multiplying == [(2,)] * INTERVALS
    finally:
        ended(actors)


def writing_its_cores(folder: str) -> Callable[[EngineConfig], FunASREngine]:
    """Makes engines that say on which cores they were loaded; here, so that actors get it whole."""

    class Says(FunASREngine):
        def load(self) -> None:
            super().load()
            cores = " ".join(str(core) for core in sorted(os.sched_getaffinity(0)))
            Path(folder, str(os.getpid())).write_text(cores, encoding="utf-8")
            until = time.monotonic() + 120
            while len(os.listdir(folder)) < 2 and time.monotonic() < until:
                time.sleep(0.1)  # or one of them does all the work before the other is there

    return Says


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two actors want two cores")
def test_actors_of_a_job_that_pins_share_no_core(
    tmp_path: Path, embedded_speech: list[dict[str, str]]
) -> None:
    source = write_shard(speech_table(embedded_speech[:6]), tmp_path / "in" / "a.parquet")
    said = tmp_path / "said"
    said.mkdir()
    models = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}
    pinned = {"ncpu": 1, "num_actors": 2, "autoscale": False, "pin_cores": True}
    config = with_settings(Config(), {**models, **pinned})
    summary = transcribe_path(
        str(source), str(tmp_path / "out"), config, make_engine=writing_its_cores(str(said))
    )
    assert summary.rows_out == 6
    # With physical cores of two threads an actor has both of them.
    cores = [set(file.read_text(encoding="utf-8").split()) for file in said.iterdir()]
    assert len(cores) == 2
    assert not cores[0] & cores[1]
    assert all(len(of_one) < len(os.sched_getaffinity(0)) for of_one in cores)

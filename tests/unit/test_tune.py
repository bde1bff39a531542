"""What the tuner tries, how it halves, what it measures on, and how it shows what it found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import Baseline, Entry, Hardware, Models, Sample
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.tune import TuneOptions, config_of
from ray_asr.job.tune_candidates import (
    Candidate,
    CandidateFailedError,
    Run,
    Search,
    Space,
    Trial,
    first_candidates,
    neighbours,
    overhead_s,
)
from ray_asr.job.tune_sample import draw_samples
from ray_asr.job.tune_table import check_line, tune_blocks
from ray_asr.text_tables import as_text
from tests.fakes import tone, wav_bytes, write_input

DEFAULT = Candidate(1, 8, 30.0, "fp32", "fused")


def space_of(cores: int = 8, precisions: tuple[str, ...] = ()) -> Space:
    def most_actors(ncpu: int, stages: str) -> int:
        return (cores - 2 * (stages == "split")) // ncpu

    return Space(most_actors, (30.0, 60.0), precisions, ("fused", "split"))


# --- which


def test_the_first_candidates_are_few_and_differ_in_one_thing() -> None:
    found = first_candidates(DEFAULT, space_of(precisions=("fp32", "int8")))
    assert found[0] == DEFAULT
    assert len(found) == len(set(found)) <= 10
    for one in found[1:]:
        differs = [
            (one.ncpu, one.actors) != (DEFAULT.ncpu, DEFAULT.actors),
            one.batch_size_s != DEFAULT.batch_size_s,
            one.precision != DEFAULT.precision,
        ]
        assert sum(differs) == 1 or one.stages != DEFAULT.stages
    assert Candidate(2, 4, 30.0, "fp32", "fused") in found
    assert Candidate(1, 8, 30.0, "int8", "fused") in found


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 64))
def test_whatever_is_tried_fits(cores: int, ncpu: int, actors: int) -> None:
    space = space_of(cores, ("int8",))
    default = Candidate(ncpu, actors, 30.0, "fp32", "fused")
    assert all(space.holds(one) for one in first_candidates(default, space)[1:])
    around = neighbours(default, space)
    assert all(space.holds(one) for one in around)
    assert default not in around


# --- how fast


def test_what_a_run_takes_beside_its_audio_is_told_from_samples_of_two_lengths() -> None:
    samples, beside_s = [180.0, 360.0], 1.5
    trials = [
        Trial(
            replace(DEFAULT, actors=actors),
            {n: [Run(s / (beside_s + s / (10 * actors)))] for n, s in enumerate(samples)},
        )
        for actors in (1, 2, 4)
    ]
    out = Trial(replace(DEFAULT, actors=8), {0: [Run(5.0)]})
    broken = Trial(replace(DEFAULT, actors=9), {0: [Run(5.0)], 1: [Run(5.0)]}, error="died")
    assert overhead_s([*trials, out, broken], samples) == pytest.approx(beside_s)
    assert overhead_s([out, broken], samples) == 0.0


def search_of(
    speed: Callable[[Candidate], float],
    space: Space,
    *,
    runs: int = 10_000,
    noise: float = 0.0,
    rungs: int = 2,
) -> tuple[Search, list[tuple[Candidate, int]]]:
    """A search over candidates with a known speed; `runs` is the time that it has."""
    done: list[tuple[Candidate, int]] = []
    draw = random.Random(1)

    def measure(candidate: Candidate, rung: int) -> Run:
        done.append((candidate, rung))
        return Run(speed(candidate) * draw.uniform(1 - noise, 1 + noise))

    return Search(space, measure, rungs, 3, lambda: len(done) < runs), done


def fastest(search: Search, rung: int = 1) -> Candidate:
    return max(search.trials.values(), key=lambda trial: trial.speed(rung)).candidate


def knee_of(knee: int) -> Callable[[Candidate], float]:
    """Actors help up to a knee and cost behind it; int8 doubles; large batches help a little."""

    def speed(one: Candidate) -> float:
        base = min(one.actors, knee) - 0.3 * max(0, one.actors - knee) + 0.2 * (one.ncpu - 1)
        factor = (2.0 if one.precision == "int8" else 1.0) * (1.1 if one.batch_size_s > 30 else 1)
        return 10 * max(base, 0.1) * factor * (0.9 if one.stages == "split" else 1.0)

    return speed


def test_it_finds_what_several_changes_make_together() -> None:
    search, done = search_of(knee_of(5), space_of(8, ("int8",)), noise=0.02)
    search.run(DEFAULT)
    best = fastest(search)
    assert (best.precision, best.batch_size_s, best.stages) == ("int8", 60.0, "fused")
    assert best.actors in (4, 5, 6)
    grid = 8 * 4 * 2 * 2 * 2
    assert len({candidate for candidate, _ in done}) < grid / 8


def test_half_of_the_candidates_reach_the_longer_sample_and_the_default_always() -> None:
    space = Space(lambda ncpu, stages: 8 // ncpu, (30.0,), (), ("fused",))
    search, done = search_of(lambda one: 1.0 / one.actors + one.ncpu, space)
    search.run(DEFAULT)
    short = {candidate for candidate, rung in done if rung == 0}
    first_long = [candidate for candidate, rung in done if rung == 1][: 3 * len(short)]
    assert DEFAULT in first_long
    assert search.trials[DEFAULT].rung == 1
    assert sum(search.trials[one].rung == 0 for one in short) >= len(short) // 2 - 1


def test_repetitions_go_in_turn() -> None:
    space = Space(lambda ncpu, stages: 2 // ncpu, (30.0,), (), ("fused",))
    default = Candidate(1, 2, 30.0, "fp32", "fused")
    search, done = search_of(lambda one: 10.0 * one.actors, space)
    search.run(default)
    long = [candidate for candidate, rung in done if rung == 1]
    turn = len(set(long[:2]))
    assert turn == 2
    assert long[:2] == long[2:4] == long[4:6]


def test_a_candidate_that_fails_is_kept_with_its_reason_and_not_run_again() -> None:
    space, calls = space_of(), 0

    def measure(candidate: Candidate, rung: int) -> Run:
        nonlocal calls
        if candidate.batch_size_s == 60.0:
            calls += 1
            raise CandidateFailedError("out of memory")
        return Run(10.0 * candidate.actors)

    search = Search(space, measure, 2, 3, lambda: True)
    trials = search.run(DEFAULT)
    failed = [trial for trial in trials if trial.error]
    assert failed
    assert all(trial.candidate.batch_size_s == 60.0 for trial in failed)
    assert {trial.error for trial in failed} == {"out of memory"}
    assert calls == len(failed)
    assert fastest(search) == DEFAULT


def test_a_default_that_fails_leaves_the_others() -> None:
    def measure(candidate: Candidate, rung: int) -> Run:
        if candidate.actors == 8:
            raise CandidateFailedError("an actor died")
        return Run(10.0)

    search = Search(space_of(), measure, 2, 3, lambda: True)
    trials = search.run(DEFAULT)
    assert search.trials[DEFAULT].error
    assert any(trial.speed(1) > 0 for trial in trials)


@pytest.mark.parametrize("runs", [0, 1, 5, 12])
def test_no_run_begins_when_the_time_is_over(runs: int) -> None:
    search, done = search_of(knee_of(4), space_of(), runs=runs)
    trials = search.run(DEFAULT)
    assert len(done) == runs
    assert trials[0].candidate == DEFAULT


# --- on what


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    cells = [wav_bytes(tone(1.0 + 0.1 * n)) for n in range(20)]
    for shard in range(3):
        write_input(tmp_path / "in" / f"s{shard}.parquet", cells, row_group_size=5)
    return tmp_path / "in"


def sample_ids(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.parquet"))
    return [name for file in files for name in pq.read_table(file)["utterance_id"].to_pylist()]


def test_a_sample_is_as_long_as_asked_and_from_every_file(shards: Path, tmp_path: Path) -> None:
    short, long = draw_samples(str(shards), Config(), [12.0, 30.0], tmp_path / "out")
    assert 12.0 <= short.audio_s < 15.0
    assert 30.0 <= long.audio_s < 33.0
    names = sample_ids(long.folder)
    assert len(names) == long.utterances == len(set(names))
    assert {name.split("-")[0] for name in names} == {"s0", "s1", "s2"}
    assert set(sample_ids(short.folder)) <= set(names)


def test_a_seed_gives_the_same_rows_and_another_others(shards: Path, tmp_path: Path) -> None:
    drawn = [
        draw_samples(str(shards), Config(), [20.0], tmp_path / str(n), seed)[0]
        for n, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (sample_ids(one.folder) for one in drawn)
    assert first == again != other


def test_a_short_input_is_taken_again(tmp_path: Path) -> None:
    source = write_input(tmp_path / "a.parquet", [wav_bytes(tone(1.0)), wav_bytes(tone(2.0))])
    (drawn,) = draw_samples(str(source), Config(), [10.0], tmp_path / "out")
    assert drawn.audio_s >= 10.0
    assert drawn.utterances >= 6


def test_bad_rows_are_not_measured_with(tmp_path: Path) -> None:
    cells = [b"no audio", wav_bytes(tone(1.0)), None]
    source = write_input(tmp_path / "a.parquet", cells)
    (drawn,) = draw_samples(str(source), Config(), [3.0], tmp_path / "out")
    assert set(sample_ids(drawn.folder)) == {"a-1"}


def test_an_input_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    source = write_input(tmp_path / "a.parquet", [b"no audio", b"nor this"])
    with pytest.raises(DataError, match="no row that the tuner could measure with"):
        draw_samples(str(source), Config(), [3.0], tmp_path / "out")


# --- settings, and what is shown


def test_a_candidate_is_measured_as_it_stands() -> None:
    mine = with_settings(Config(), {"max_actors": 3, "baseline": "b.json", "id_column": "name"})
    config = config_of(mine, Candidate(2, 4, 60.0, "int8", "split"))
    assert (config.engine.ncpu, config.job.num_actors, config.job.stages) == (2, 4, "split")
    assert (config.padded_s, config.engine.precision) == (60.0, "int8")
    assert not config.control.autoscale
    assert not config.control.vary_batch
    assert (config.control.baseline, config.control.max_actors) == ("", 0)
    assert config.input.id_column == "name"


@pytest.mark.parametrize(
    "wrong", [{"sample_minutes": 0}, {"budget_minutes": -1}, {"repeat": 0}, {"tolerance": 1.0}]
)
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TuneOptions(**wrong)  # type: ignore[arg-type]


def test_the_table_marks_the_best_and_compares_with_the_default() -> None:
    plain = Entry(1, 2, 30.0, "fp32", "fused", True, 20.0, 19.0, 21.0, 3, 360.0, 91.4)
    fast = Entry(1, 2, 60.0, "int8", "fused", False, 50.0, 49.0, 52.0, 3, 360.0, 97.0, 55.0, 4.2)
    out = Entry(2, 1, 30.0, "fp32", "fused", False, 90.0, 90.0, 90.0, 1, 180.0, 60.0)
    dead = Entry(1, 2, 99.0, "fp32", "fused", error="out of memory")
    blocks = tune_blocks(
        Baseline(
            "2026-11-23 10:00 UTC",
            Hardware("A CPU", 1, 2, 7.7),
            Models("demo", "abc"),
            {},
            Sample(360.0, 40),
            (plain, fast, out, dead),
        )
    )
    lines = as_text(blocks).splitlines()
    assert lines[2].split()[:2] == ["actors", "ncpu"]
    assert lines[3].split() == (
        ["2", "1", "60", "int8", "fused", "97", "55", "4.2", "50.0", "49.0-52.0", "2.50", "best"]
    )
    assert lines[4].split()[5:] == ["91", "null", "20.0", "19.0-21.0", "1.00", "default"]
    assert lines[5].endswith("out on 180 s")
    assert lines[6].endswith("out of memory")


def test_a_check_says_how_much_slower() -> None:
    best = Entry(1, 2, 30.0, "fp32", "fused", False, 20.0)
    assert "-20 %): slower than allowed (10 %)" in check_line(best, 16.0, 0.1)
    assert "-5 %): within the tolerance" in check_line(best, 19.0, 0.1)

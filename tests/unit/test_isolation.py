"""Rows that end their process: each of them is given up, and no other row is harmed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.attempts import Attempts, MemoryStore
from ray_asr.corpus.chunks import fold
from ray_asr.corpus.rows import ROW, UNIT
from ray_asr.errors import EngineFatalError, RayAsrError
from ray_asr.job.isolation import DEATHS_ALONE, TIMEOUTS_ALONE, Isolation
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import Waveform
from tests.deaths import NEVER_S, Death, Mortal, at_last
from tests.fakes import PROVENANCE, FakeEngine, decoded_rows, level_of, text_of, tone
from tests.unit.test_long_recording import encoded, minutes, rows_of

PROPERTY = settings(max_examples=40, deadline=None, database=None)


class Deadly(FakeEngine):
    """Ends its process on some levels, and never ends on others."""

    def __init__(self, store: Mortal, kills: set[int], hangs: set[int], step: str) -> None:
        super().__init__()
        self._store, self._kills, self._hangs, self._step = store, kills, hangs, step

    def _meet(self, step: str, level: int) -> None:
        if step == self._step and level in self._hangs:
            self._store.die(after_s=2 * NEVER_S)
        if step == self._step and level in self._kills:
            self._store.die()

    def _detect(self, waveform: Waveform):  # type: ignore[no-untyped-def]
        self._meet("detect", level_of(waveform))
        return super()._detect(waveform)

    def _heard(self, waveform: Waveform):  # type: ignore[no-untyped-def]
        self._meet("recognize", level_of(waveform))
        return super()._heard(waveform)

    def punctuate(self, texts):  # type: ignore[no-untyped-def]
        for text in texts:
            self._meet("punctuate", int(text.split()[-1]))
        return super().punctuate(texts)


def chunk_of(count: int) -> pa.Table:
    cells = {f"id {n}": tone(0.05 + 0.01 * (n % 3), 0.1 + 0.02 * n) for n in range(count)}
    return decoded_rows(
        cells, note=[f"n{n}" for n in range(count)], **{UNIT: [7] * count, ROW: range(count)}
    )


def level(row: int) -> int:
    return level_of(tone(0.05 + 0.01 * (row % 3), 0.1 + 0.02 * row))


def fused(make_engine: Callable[[], FakeEngine], isolation: Isolation, chunk: pa.Table) -> pa.Table:
    worker = TranscribeWorker(make_engine, 60.0, "en", PROVENANCE, isolation=isolation)
    (table,) = worker(fold(chunk))
    return table


def expected(chunk: pa.Table, verdicts: dict[int, str]) -> list[dict[str, Any]]:
    """The rows of a worker that meets no bad one, and in their places those that are given up."""
    rows = fused(FakeEngine, Isolation(), chunk).to_pylist()
    for number, code in verdicts.items():
        rows[number] |= {"status": "failed", "error_code": code, "text": "", "segments": []}
    return rows


def without_messages(table: pa.Table) -> list[dict[str, Any]]:
    rows = table.to_pylist()
    for row in rows:
        assert bool(row["error_message"]) == (row["status"] == "failed")
        row["error_message"] = ""
    return rows


@PROPERTY
@given(st.integers(1, 12), st.data())
def test_any_rows_that_kill_or_never_end_are_given_up_and_all_others_done(
    count: int, data: st.DataObject
) -> None:
    numbers = st.sets(st.integers(0, count - 1))
    kills = data.draw(numbers)
    hangs = data.draw(numbers) - kills
    store, chunk = Mortal(), chunk_of(count)
    engine = partial(Deadly, store, set(map(level, kills)), set(map(level, hangs)), "recognize")
    table = at_last(store, lambda: fused(engine, store.isolation(NEVER_S), chunk))
    verdicts = dict.fromkeys(kills, "worker_died") | dict.fromkeys(hangs, "row_timeout")
    assert without_messages(table) == expected(chunk, verdicts)
    alone = DEATHS_ALONE * len(kills) + TIMEOUTS_ALONE * len(hangs)
    assert store.deaths == (1 + alone if verdicts else 0)


@pytest.mark.parametrize("step", ["detect", "recognize", "punctuate"])
@pytest.mark.parametrize(("kills", "hangs"), [({1}, set()), (set(), {2}), ({0, 3}, {2})])
def test_each_pool_of_split_stages_gives_up_its_own(
    step: str, kills: set[int], hangs: set[int]
) -> None:
    chunk = chunk_of(5)
    table = fold(chunk)
    deaths = 0
    for stage, more in (
        (DetectStage, ()), (RecognizeStage, ()), (PunctuateStage, ("en", PROVENANCE)),
    ):  # fmt: skip
        store = Mortal()
        levels = (set(map(level, of)) for of in (kills, hangs))
        engine = partial(Deadly, store, *levels, step)

        def attempt(table=table, stage=stage, more=more, store=store, engine=engine):  # type: ignore[no-untyped-def]
            (out,) = stage(engine, 60.0, Limits(), *more, store.isolation(NEVER_S))(table)
            return out

        table = at_last(store, attempt)
        deaths += store.deaths
    verdicts = dict.fromkeys(kills, "worker_died") | dict.fromkeys(hangs, "row_timeout")
    assert without_messages(table) == expected(chunk, verdicts)
    assert deaths == 1 + DEATHS_ALONE * len(kills) + TIMEOUTS_ALONE * len(hangs)


def test_what_dies_from_outside_costs_no_row_anything() -> None:
    """Once in the chunk, and once in each row while that is alone."""
    store, chunk = Mortal(), chunk_of(4)
    struck: set[str] = set()

    class Struck(FakeEngine):
        def recognize(self, waveforms):  # type: ignore[no-untyped-def]
            name = "all" if len(waveforms) > 1 else text_of(waveforms[0])
            if name not in struck:
                struck.add(name)
                store.die()
            return super().recognize(waveforms)

    table = at_last(store, lambda: fused(Struck, store.isolation(), chunk))
    assert table.to_pylist() == expected(chunk, {})
    assert store.deaths == 5
    assert store.records == {}


def test_a_chunk_whose_machine_is_gone_is_done_again_as_a_whole() -> None:
    store, chunk = Mortal(), chunk_of(4)
    store.alive = lambda: ()  # type: ignore[method-assign]
    engines: list[FakeEngine] = []

    def engine() -> FakeEngine:
        engines.append(Deadly(store, {level(2)} if not engines else set(), set(), "recognize"))
        return engines[-1]

    table = at_last(store, lambda: fused(engine, store.isolation(), chunk))
    assert table.to_pylist() == expected(chunk, {})
    assert [len(batch) for batch in engines[-1].batches_s] == [4]


def test_what_was_given_up_is_not_tried_when_the_chunk_is_done_once_more() -> None:
    store, chunk = Mortal(), chunk_of(6)
    engine = partial(Deadly, store, {level(2)}, {level(4)}, "recognize")
    first = at_last(store, lambda: fused(engine, store.isolation(NEVER_S), chunk))
    deaths = store.deaths
    assert fused(engine, store.isolation(NEVER_S), chunk).equals(first)
    assert store.deaths == deaths


def test_the_driver_hears_once_of_the_chunk_and_once_of_the_row() -> None:
    store, chunk = Mortal(), chunk_of(6)
    engine = partial(Deadly, store, {level(2)}, set(), "recognize")
    at_last(store, lambda: fused(engine, store.isolation(), chunk))
    assert store.told == [
        "a process died in its work on up to 6 row(s): they are done one at a time.",
        'row "id 2" is given up: worker_died.',
    ]


def test_a_chunk_that_dies_more_often_than_rows_can_be_the_cause_ends_the_job() -> None:
    store = Mortal()

    def attempt() -> None:
        store.isolation().begin("chunk", 1)
        store.die()

    with pytest.raises(RayAsrError, match=r"processes died in work on the same 1 row"):
        at_last(store, attempt)
    assert store.deaths > 1 + DEATHS_ALONE


def test_a_crash_after_hours_of_pieces_is_a_crash_and_not_time_that_was_up() -> None:
    store, rows = Mortal(), rows_of(long=encoded(minutes(11.0)))

    class Slow(FakeEngine):
        pieces = 0

        def detect_speech(self, waveforms):  # type: ignore[no-untyped-def]
            store.now_s += 0.9 * NEVER_S
            self.pieces += 1
            if self.pieces == 3:
                store.die()
            return super().detect_speech(waveforms)

    table = at_last(store, lambda: fused(Slow, store.isolation(NEVER_S), rows))
    assert table["error_code"].to_pylist() == ["worker_died"]
    assert store.deaths == 1 + DEATHS_ALONE


def test_models_whose_loading_kills_end_the_job_and_say_so() -> None:
    store = Mortal()

    class Unloadable(FakeEngine):
        def load(self) -> None:
            store.die()

    with pytest.raises(EngineFatalError, match="while they loaded the models"):
        at_last(store, lambda: fused(Unloadable, store.isolation(), chunk_of(1)))
    assert 3 <= store.deaths <= 8


def test_a_process_is_renewed_between_tasks_when_it_has_done_its_share() -> None:
    class Tasks(MemoryStore):
        now = "first"

        def task(self) -> str:
            return self.now

    def leave(_: int) -> None:
        raise Death

    store = Tasks()
    isolation = Isolation(Attempts(store), recycle_rows=5, leave=leave)
    work = partial(fused, FakeEngine, isolation)
    for _ in range(3):
        assert work(chunk_of(3)).num_rows == 3
    assert store.renewals == 0
    store.now = "second"
    with pytest.raises(Death):
        work(chunk_of(3))
    assert (store.renewals, store.records) == (1, {})

"""Decoded rows in runs and chunks: every row once, within the seconds and batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.corpus.chunks import fold, in_chunks, unfold
from ray_asr.corpus.rows import (
    ENCODED,
    ROW,
    TRAVELLING,
    UNIT,
    WAVEFORM,
    decode_rows,
    numbered,
)
from ray_asr.job.batching import group_by_padded_seconds
from ray_asr.schema import SAMPLE_RATE_HZ
from tests.fakes import tone, wav_bytes
from tests.tables import INPUT, batch, many_types

PROPERTY = settings(max_examples=30, deadline=None, database=None)
TENTH = wav_bytes(tone(0.1))


@pytest.mark.parametrize("chunk_s", [0.001, 0.1, 0.25, 0.3, 1e9])
def test_decoded_runs_hold_every_row_in_order_within_the_seconds(chunk_s: float) -> None:
    audio = [TENTH, b"", TENTH, TENTH, b"x", wav_bytes(tone(0.5)), TENTH, b""]
    runs = list(decode_rows(batch(audio, n=list(range(8))), INPUT, chunk_s))
    assert [n for run, _ in runs for n in run["n"].to_pylist()] == list(range(8))
    for run, seconds in runs:
        lengths = [len(w) / 4 / SAMPLE_RATE_HZ for w in run[WAVEFORM].to_pylist() if w]
        assert seconds == pytest.approx(sum(lengths))
        assert seconds <= chunk_s + 1e-9 or len(lengths) == 1


def test_a_batch_without_rows_gives_no_runs() -> None:
    assert list(decode_rows(batch([TENTH]).slice(0, 0), INPUT, 60.0)) == []


RUNS = st.lists(
    st.tuples(st.integers(1, 5), st.floats(0, 30), st.sampled_from(["a", "b"])), max_size=15
)


def runs_of(shapes: list[tuple[int, float, str]]) -> list[tuple[pa.Table, float]]:
    """Runs of so many rows and seconds; the third part is the name of a column of their file."""
    first, runs = 0, []
    for count, seconds, name in shapes:
        numbers = list(range(first, first + count))
        runs.append((pa.table({"n": numbers, name: [str(n) for n in numbers]}), seconds))
        first += count
    return runs


@PROPERTY
@given(RUNS, st.floats(0.1, 100))
def test_chunks_hold_every_row_once_in_order(
    shapes: list[tuple[int, float, str]], chunk_s: float
) -> None:
    runs = runs_of(shapes)
    chunks = list(in_chunks(runs, chunk_s))
    assert all(chunk.num_rows == 1 for chunk in chunks)
    rows = [unfold(chunk) for chunk in chunks]
    assert [n for t in rows for n in t["n"].to_pylist()] == list(range(sum(s[0] for s in shapes)))
    for table in rows:  # rows of one file's columns, whole runs of them, within the seconds
        numbers = set(table["n"].to_pylist())
        inside = [(r, s) for r, s in runs if numbers & set(r["n"].to_pylist())]
        assert sum(r.num_rows for r, _ in inside) == table.num_rows
        assert sum(s for _, s in inside) <= chunk_s + 1e-6 or len(inside) == 1
        assert {tuple(r.column_names) for r, _ in inside} == {tuple(table.column_names)}


@PROPERTY
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_folding_and_unfolding_gives_the_rows_back(lengths: list[int]) -> None:
    total = sum(lengths)
    whole = pa.table({"n": pa.array(range(total), pa.int64()), **many_types(total)})
    edges = np.cumsum([0, *lengths]).tolist()
    pieces = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    folded = fold(pa.concat_tables(pieces))
    assert folded.num_rows == 1
    assert unfold(folded).equals(whole)
    assert unfold(pa.concat_tables([fold(piece) for piece in pieces])).equals(whole)


def test_a_sliced_chunk_unfolds_to_its_own_rows_alone() -> None:
    chunks = pa.concat_tables([fold(pa.table({"n": [n, n + 1]})) for n in (0, 2, 4)])
    assert unfold(chunks.combine_chunks().slice(1, 1))["n"].to_pylist() == [2, 3]


def test_rows_of_a_unit_are_numbered_through_its_runs() -> None:
    runs = list(numbered(runs_of([(2, 1.0, "a"), (3, 2.0, "a"), (1, 0.5, "b")]), 4))
    assert [seconds for _, seconds in runs] == [1.0, 2.0, 0.5]
    assert [n for run, _ in runs for n in run[ROW].to_pylist()] == list(range(6))
    assert {n for run, _ in runs for n in run[UNIT].to_pylist()} == {4}
    assert all(run.schema.field(ROW).type == pa.int64() for run, _ in runs)


# --- chunks of like length


def rows_of(tenths: list[int]) -> list[tuple[pa.Table, float]]:
    rows = pa.table(
        {
            **{name: pa.nulls(len(tenths), pa.string()) for name in TRAVELLING},
            WAVEFORM: pa.array([bytes(4 * 1600 * n) for n in tenths], pa.large_binary()),
            ENCODED: pa.nulls(len(tenths), pa.large_binary()),
            "note": list(range(len(tenths))),
        }
    )
    return [(rows.slice(i, 1), n / 10) for i, n in enumerate(tenths)]


def notes_of(chunks: Iterable[pa.Table]) -> list[list[int]]:
    return [unfold(chunk)["note"].to_pylist() for chunk in chunks]


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 4))
def test_sorted_chunks_hold_every_row_once_and_stay_within_their_batches(
    tenths: list[int], sorted_chunks: int, batches: int
) -> None:
    sorted_s = sorted_chunks * batches * 5.0
    chunks = notes_of(in_chunks(rows_of(tenths), 5.0, batches, sorted_s=sorted_s))
    assert chunks == notes_of(in_chunks(rows_of(tenths), 5.0, batches, sorted_s=sorted_s))
    assert all(chunks)
    notes = [note for chunk in chunks for note in chunk]
    assert sorted(notes) == list(range(len(tenths)))
    if sorted_chunks == 1:
        assert notes == list(range(len(tenths)))
    for chunk in chunks:
        mine = [tenths[note] for note in chunk]
        if sorted_chunks == 1:
            assert sum(mine) <= 50 * batches or len(mine) == 1
        else:
            assert mine in (sorted(mine), sorted(mine, reverse=True))
            groups = group_by_padded_seconds([tenth / 10 for tenth in mine], 5.0)
            assert len(groups) <= batches


def test_the_first_chunk_is_there_before_much_was_read() -> None:
    read: list[int] = []

    def counted() -> Iterator[tuple[pa.Table, float]]:
        for row, seconds in rows_of([10] * 1000):
            read.append(1)
            yield row, seconds

    next(in_chunks(counted(), 10.0, 4, sorted_s=320.0))
    assert len(read) <= 41  # four batches and the row that is one too many
    more = in_chunks(counted(), 10.0, 4, sorted_s=320.0)
    assert sum(unfold(chunk).num_rows for chunk in more) == 1000


def test_chunks_grow_at_the_start_and_end_small_so_that_all_who_work_end_together() -> None:
    sizes = [
        len(chunk) for chunk in notes_of(in_chunks(rows_of([10] * 1000), 10.0, 4, sorted_s=320))
    ]
    assert sizes == [10] * 4 + [20] * 4 + [40] * 19 + [30, 20] + [10] * 4 + [5] * 6


def test_what_fills_no_chunk_waits_for_the_next_window() -> None:
    tenths = np.random.default_rng(0).integers(20, 100, 900).tolist()
    chunks = notes_of(in_chunks(rows_of(tenths), 60.0, 4, sorted_s=960.0, is_last=False))
    batches = [
        len(group_by_padded_seconds([tenths[note] / 10 for note in chunk], 60.0))
        for chunk in chunks
    ]
    assert batches[:4] == [1, 1, 2, 2]  # the first 120 and 240 s
    assert set(batches[4:-1]) == {4}


@PROPERTY
@given(st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(1, 3))
def test_no_row_waits_for_longer_than_the_next_window(tenths: list[int], batches: int) -> None:
    sorted_s = 2 * batches * 5.0
    arrived: list[float] = []

    def read() -> Iterator[tuple[pa.Table, float]]:
        for row, seconds in rows_of(tenths):
            arrived.append(seconds + (arrived[-1] if arrived else 0.0))
            yield row, seconds

    for chunk in in_chunks(read(), 5.0, batches, sorted_s=sorted_s):
        for note in unfold(chunk)["note"].to_pylist():
            # Two windows, what is held back of a third, and the row that is one too many.
            assert arrived[-1] - arrived[note] <= 2.25 * sorted_s + 4.0 + 1e-6


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.integers(1, 40), min_size=3, max_size=120), st.integers(1, 4))
def test_at_the_end_no_chunk_holds_more_than_a_quarter_of_what_is_left(
    tenths: list[int], batches: int
) -> None:
    single = rows_of(tenths)
    rest = pa.concat_tables([row for row, _ in single[2:]])
    # A window each: the third is the last, and its chunks might be as large as any.
    runs = [(single[0][0], 1e9), (single[1][0], 1e9), (rest, 1e9)]
    chunks = notes_of(in_chunks(runs, 5.0, batches, sorted_s=100.0))[2:]
    left = sum(tenths[2:])
    for chunk in chunks:
        mine = [tenths[note] for note in chunk]
        is_smallest = len(mine) == 1 or mine[0] * len(mine) <= 25
        assert 4 * sum(mine) <= left or is_smallest
        left -= sum(mine)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("is_last", [True, False])
def test_in_the_middle_of_a_job_chunks_are_of_one_size(is_first: bool, is_last: bool) -> None:
    found = notes_of(
        in_chunks(rows_of([10] * 1000), 10.0, 4, sorted_s=320, is_first=is_first, is_last=is_last)
    )
    assert sorted(note for chunk in found for note in chunk) == list(range(1000))
    sizes = [len(chunk) for chunk in found]
    assert (min(sizes[:4]) < 40) == is_first
    assert (min(sizes[-4:-1]) < 40) == is_last
    assert is_first or is_last or sizes == [40] * 25


def test_the_first_chunks_are_of_a_minute_at_most_whatever_a_batch_holds() -> None:
    found = in_chunks(rows_of([100] * 400), 120.0, 2, sorted_s=960.0, is_last=False)
    sizes = [10 * len(chunk) for chunk in notes_of(found)]
    assert sizes[:6] == [60, 60, 120, 120, 240, 240]
    assert set(sizes[6:-1]) == {240}


def test_few_rows_are_cut_small_too() -> None:
    assert notes_of(in_chunks(rows_of([10]), 10.0, 4, sorted_s=320.0)) == [[0]]
    few = notes_of(in_chunks(rows_of([10] * 12), 10.0, 4, sorted_s=320.0))
    assert [len(chunk) for chunk in few] == [5, 5, 2]


def test_long_rows_come_first_each_in_a_chunk_of_its_own_and_failed_ones_keep_their_nulls() -> None:
    runs = rows_of([10, 0, 20, 0, 0])
    rows = pa.concat_tables([run for run, _ in runs])
    rows = rows.set_column(
        rows.schema.get_field_index(WAVEFORM), WAVEFORM,
        pa.array([bytes(64_000), None, bytes(128_000), None, None], pa.large_binary()),
    ).set_column(
        rows.schema.get_field_index(ENCODED), ENCODED,
        pa.array([None, b"long", None, None, b"longer"], pa.large_binary()),
    )  # fmt: skip
    for name, column in many_types(5).items():
        rows = rows.append_column(name, column)
    chunks = [unfold(c) for c in in_chunks([(rows, 3.0)], 10.0, 4, sorted_s=320.0)]
    assert [chunk["note"].to_pylist() for chunk in chunks] == [[1], [4], [2, 0], [3]]
    for chunk in chunks:
        assert chunk.equals(rows.take(chunk["note"]))


def test_chunks_of_files_with_other_columns_share_a_block() -> None:
    """As Ray joins them: what one of them does not have is null there."""
    one = pa.table({"id": ["a", "b"], "text": pa.array([None, None], pa.string())})
    other = pa.table({"id": ["c"], "take": [7]})
    block = pa.concat_tables([fold(one), fold(other)], promote_options="default")
    assert unfold(block.slice(0, 1)).equals(one)
    assert unfold(block.slice(1, 1)).equals(other)
    both = unfold(block).to_pydict()
    assert both == {"id": ["a", "b", "c"], "text": [None] * 3, "take": [None, None, 7]}

"""Runs of decoded rows → chunks: what an actor is given at once, folded to one row of lists.

Owns the order of rows, where they are cut into chunks, and how a chunk is folded. Must not know how
rows are decoded, models or Ray. Chunks hang on the rows alone: a task that is done again gives the
same.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_asr.corpus.rows import ENCODED, WAVEFORM
from ray_asr.schema import SAMPLE_RATE_HZ

# Somebody waits for the first window: four batches, or where these are long, two shorter ones.
_FIRST_BATCHES, _LEAST_FIRST_BATCHES, _FIRST_S = 4, 2, 120.0
# A window is cut where so much of one is left at least, so that the last is not a handful of rows
# behind large chunks, with which those who share the work would not end together.
_HELD_BACK = 0.25
# Of what is left at the end a chunk holds one part in so many, until it is as small as it may be:
# a quarter of a batch, but no less than a moment's work; half a batch at the most. A model takes as
# long over a few seconds as over many, and to end together is worth no more than that.
_CHUNKS_LEFT = 4
_LEAST_S = 30.0
_FLOAT32_BYTES = 4


def in_chunks(
    runs: Iterable[tuple[pa.Table, float]],
    batch_s: float,
    batches: int = 1,
    *,
    sorted_s: float = 0.0,
    is_first: bool = True,
    is_last: bool = True,
) -> Iterator[pa.Table]:
    """Join runs of rows to chunks, and fold them.

    Rows of another schema (a unit of another file) begin a new chunk.

    Args:
        runs: rows and their seconds.
        batch_s: seconds of a batch of the model; padded ones (count x longest) where rows are
            sorted.
        batches: how many a chunk holds; sorted rows fill one after the other.
        sorted_s: over so many seconds rows are sorted by length before they are cut into chunks, so
            that those of like length share one; over fewer at the start. Where it is less than two
            chunks, rows stay in order, and a run that is longer than a chunk is one.
        is_first: actors wait for these rows: the first sorted chunks hold one batch, of a minute at
            the most; from window to window batches double until they are whole, and then chunks.
        is_last: nothing comes behind these rows: what is sorted last ends in chunks of ever fewer
            batches, and then of parts of one, so that those who share the work end together.
    """
    chunk_s = batches * batch_s
    if sorted_s < 2 * chunk_s:
        for rows, _ in _windows(runs, chunk_s, chunk_s):
            yield fold(rows)
        return
    most, of_s, first_s = batches, batch_s, sorted_s
    if is_first:
        most, of_s = 1, min(batch_s, _FIRST_S / _LEAST_FIRST_BATCHES)
        first_s = min(_FIRST_BATCHES * of_s, _FIRST_S, sorted_s)
    over: pa.Table | None = None
    rising = False
    for rows, is_end in _windows(runs, first_s, sorted_s, _HELD_BACK):
        if over is not None and over.schema == rows.schema:
            rows, over = pa.concat_tables([over, rows]), None
        elif over is not None:
            yield fold(over)
        over = yield from _sorted_chunks(
            rows, of_s, most, rising=rising and not is_end, is_end=is_end, is_last=is_last
        )
        # What is left of one window comes first in the next, so that no row is left for ever.
        rising = not rising
        if of_s < batch_s:
            of_s = min(2 * of_s, batch_s)
        else:
            most = min(2 * most, batches)


def _windows(
    runs: Iterable[tuple[pa.Table, float]], first_s: float, most_s: float, held_back: float = 0.0
) -> Iterator[tuple[pa.Table, bool]]:
    """Runs of one schema, up to `first_s` together, then to twice as much; whether it is the last.

    One run at least, however long it is. Behind each but the first window, and those of another
    schema, there is more: `held_back` of a window.
    """
    pending: deque[tuple[pa.Table, float]] = deque()
    window_s, kept_s = first_s, 0.0
    for run, run_s in runs:
        while pending:
            is_other = run.schema != pending[0][0].schema
            together_s = sum(seconds for _, seconds in pending) + run_s
            if not is_other and together_s <= window_s + kept_s:
                break
            yield _taken(pending, float("inf") if is_other else window_s), False
            window_s = min(2 * window_s, most_s)
            kept_s = held_back * window_s
        pending.append((run, run_s))
    if pending:
        yield _taken(pending, float("inf")), True


def _taken(pending: deque[tuple[pa.Table, float]], most_s: float) -> pa.Table:
    """The first of the pending runs, up to `most_s` together, one at least; they are gone there."""
    taken: list[pa.Table] = []
    seconds = 0.0
    while pending and (not taken or seconds + pending[0][1] <= most_s):
        run, run_s = pending.popleft()
        taken.append(run)
        seconds += run_s
    return pa.concat_tables(taken)


def _sorted_chunks(
    rows: pa.Table, batch_s: float, batches: int, *, rising: bool, is_end: bool, is_last: bool
) -> Generator[pa.Table, None, pa.Table | None]:
    """Rows by falling or rising length, folded; a long one, which is not decoded, first and alone.

    Args:
        rows: of one window.
        batch_s: padded seconds of a batch.
        batches: how many a chunk holds.
        rising: whether the shortest come first.
        is_end: whether this window is the last. What does not fill a chunk is left over elsewhere.
        is_last: whether nothing comes behind the last window.

    Returns:
        What is left over, for the next window.
    """
    sizes = pc.fill_null(pc.call_function("binary_length", [rows[WAVEFORM]]), 0).to_numpy()
    durations_s = sizes / _FLOAT32_BYTES / SAMPLE_RATE_HZ
    is_long = rows[ENCODED].is_valid().to_numpy()
    keys = np.where(is_long, -np.inf, durations_s if rising else -durations_s)
    order = np.argsort(keys, kind="stable")
    long = int(is_long.sum())
    ends, is_full = _chunk_ends(
        durations_s[order[long:]].tolist(), batch_s, batches, is_end and is_last
    )
    left = order[:0]
    if not is_end and not is_full and len(ends) > 1:
        left = order[long + ends[-2] :]
        ends.pop()
    # Audio is gathered from where it was decoded, and so copied once; all else is small.
    audio = {name: _each(rows[name]) for name in (WAVEFORM, ENCODED)}
    beside = rows.drop_columns(list(audio)).combine_chunks()

    def chosen(numbers: NDArray[np.int64]) -> pa.Table:
        columns = dict(zip(beside.column_names, beside.take(numbers).columns, strict=True))
        for name, values in audio.items():
            columns[name] = pa.chunked_array([values[number] for number in numbers])
        return pa.table({name: columns[name] for name in rows.column_names})

    edges = [*range(long + 1), *(long + end for end in ends)]
    for start, end in itertools.pairwise(edges):
        yield fold(chosen(order[start:end]))
    return chosen(left) if len(left) else None


def _chunk_ends(
    durations_s: Sequence[float], batch_s: float, batches: int, is_last: bool
) -> tuple[list[int], bool]:
    """Behind which of falling or rising `durations_s` a chunk ends; whether the last is full."""
    ends: list[int] = []
    left_s = sum(durations_s)
    least_s = max(batch_s / 4, min(batch_s / 2, _LEAST_S))
    full, count, longest_s = batches, 0, 0.0  # batches of this chunk, and the one being filled
    for position, duration_s in enumerate(durations_s):
        longest_s = max(longest_s, duration_s)
        if not count or longest_s * (count + 1) > batch_s:
            full, count, longest_s = full + 1, 0, duration_s
            if full > batches:
                if position:
                    ends.append(position)
                full = 1
                share = left_s / _CHUNKS_LEFT / batch_s  # in batches
                if is_last:
                    batches = max(1, min(batches, int(share)))
                if is_last and share < 1:
                    batch_s = max(least_s, batch_s / 2)
        count += 1
        left_s -= duration_s
    if durations_s:
        ends.append(len(durations_s))
    return ends, full == batches and longest_s * (count + 1) > batch_s


def fold(rows: pa.Table) -> pa.Table:
    """A chunk as one row of lists: Ray schedules rows, and a chunk is what is scheduled."""
    count = rows.num_rows
    offsets = pa.array([0, count], pa.int64())
    return pa.table(
        {
            name: pa.LargeListArray.from_arrays(offsets, _whole(column))
            for name, column in zip(rows.column_names, rows.columns, strict=True)
        }
    )


def unfold(chunk: pa.Table) -> pa.Table:
    """The rows of a folded chunk (or of several).

    Where Ray put chunks of several files into one block, a column that one of them does not have is
    null there: no list of as many nulls as it has rows. It has none of it.
    """
    if chunk.num_rows > 1 and any(column.null_count for column in chunk.columns):
        each = [unfold(chunk.slice(number, 1)) for number in range(chunk.num_rows)]
        return pa.concat_tables(each, promote_options="default")
    return pa.table(
        {
            name: _whole(column).flatten()
            for name, column in zip(chunk.column_names, chunk.columns, strict=True)
            if not column.null_count
        }
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:  # `combine_chunks` would copy it
        return column.chunk(0)
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _each(column: pa.ChunkedArray) -> list[pa.Array]:
    """Arrays of one row each, where they are."""
    return [part.slice(at, 1) for part in column.chunks for at in range(len(part))]

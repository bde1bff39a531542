"""What the rows of an output come to: counts, durations, failures, and a few rows to look at.

Owns one pass over narrow columns in bounded memory, and the drawing of the rows that are shown.
Must not know how they are shown, Ray or the engine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_asr.results.columns import ParquetColumns
from ray_asr.results.histograms import Histogram, by_factors
from ray_asr.schema import STATUS_FAILED, STATUS_OK

_ROWS_AT_ONCE = 65_536
# Of names that others chose (languages, codes of another version) there may be any number.
_MOST_NAMES = 100
_EXAMPLES = 3
_CODES_WITH_EXAMPLES = 20
_SHORTEST_S, _LONGEST_S = 0.05, 12 * 3600.0
_NARROW = ("status", "duration_ms", "language", "error_code")
_WIDE = ("utterance_id", "text", "reference_text", "segments", "error_message")


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row that is shown.

    Attributes:
        file: the part's path, and `number` the row's place in it.
        status: `ok`, or `failed` where it is an example of a failure.
        values: its columns `utterance_id`, `text`, `reference_text`, `segments`, `error_message`,
            as far as there are such.
    """

    file: str
    number: int
    status: str = ""
    language: str = ""
    duration_ms: int = 0
    error_code: str = ""
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def text(self, name: str) -> str:
        """One of `values` as text, "" where there is none."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a recording for a player.

    Attributes:
        address: the sound itself, as a `data:` address.
        start_s: where it begins in the recording, in seconds.
        length_s: how long it is, in seconds.
        is_whole: whether that is all of the recording.
    """

    address: str
    start_s: float
    length_s: float
    is_whole: bool


Clips = Callable[[Sequence[ShownRow], float | None], Mapping[tuple[str, int], Clip]]


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What the rows of an output come to.

    Attributes:
        rows: that were looked at; `is_all` says whether these are all that there are.
        by_status: of these, and `by_code` and `by_language` likewise.
        audio_s: of all of them, in seconds.
        durations: of recordings, in seconds.
        samples: transcripts drawn at random, by file and place.
        failures: for an error code a few rows that failed with it.
    """

    rows: int
    is_all: bool
    by_status: dict[str, int]
    by_code: dict[str, int]
    by_language: dict[str, int]
    audio_s: float
    durations: Histogram
    samples: tuple[ShownRow, ...]
    failures: dict[str, tuple[ShownRow, ...]]


class _Draw:
    """Some rows of many, each as likely as any other: those with the lowest random keys."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[float, ShownRow]] = []

    def offer(self, keys: np.ndarray, places: np.ndarray, row_at: Any) -> None:
        """Take rows at `places` of a batch, whose random keys are `keys`, as far as they win."""
        if len(self._kept) == self._size:
            below = keys < self._kept[-1][0]
            keys, places = keys[below], places[below]
        for best in np.argsort(keys, kind="stable")[: self._size]:
            self._kept.append((float(keys[best]), row_at(int(places[best]))))
        self._kept = sorted(self._kept, key=lambda pair: pair[0])[: self._size]

    def rows(self) -> list[ShownRow]:
        return sorted((row for _, row in self._kept), key=lambda row: (row.file, row.number))


def read_rows(
    columns: ParquetColumns, samples: int = 8, until: float | None = None, seed: int = 0
) -> RowFacts:
    """Read the narrow columns of all rows, then the texts of those that are shown.

    Args:
        columns: of the output.
        samples: how many transcripts are drawn.
        until: by the monotonic clock, when to stop; what was read until then is given.
        seed: of the draw: the same output gives the same rows.
    """
    draw, failures = _Draw(samples), dict[str, _Draw]()
    random = np.random.default_rng(seed)
    by_status, by_code, by_language = Counter[str](), Counter[str](), Counter[str]()
    durations = by_factors(_SHORTEST_S, _LONGEST_S)
    rows, audio_ms, is_all = 0, 0, True
    for file, first, batch in columns.arrow_batches(_NARROW, _ROWS_AT_ONCE):
        if until is not None and time.monotonic() > until:
            is_all = False
            break
        table = pa.Table.from_batches([batch])
        status, code = _texts(table, "status"), _texts(table, "error_code")
        language = _texts(table, "language")
        duration_ms = _numbers(table, "duration_ms")
        rows += table.num_rows
        audio_ms += int(duration_ms.sum())
        durations.add(duration_ms[duration_ms > 0] / 1000)
        for counter, column in ((by_status, status), (by_language, language)):
            _count(counter, column)
        keys = random.random(table.num_rows)

        def row_at(
            place: int,
            file: str = file,
            first: int = first,
            status: pa.ChunkedArray = status,
            language: pa.ChunkedArray = language,
            code: pa.ChunkedArray = code,
            duration_ms: np.ndarray = duration_ms,
        ) -> ShownRow:
            return ShownRow(
                file, first + place, status[place].as_py(), language[place].as_py(),
                int(duration_ms[place]), code[place].as_py(),
            )  # fmt: skip

        good = np.flatnonzero(_is(status, STATUS_OK))
        draw.offer(keys[good], good, row_at)
        bad = np.flatnonzero(_is(status, STATUS_FAILED))
        if len(bad):
            codes = code.take(pa.array(bad))
            _count(by_code, codes)
            for name in codes.unique().to_pylist():
                if name in failures or len(failures) < _CODES_WITH_EXAMPLES:
                    these = bad[_is(codes, name)]
                    of_code = failures.setdefault(name, _Draw(_EXAMPLES))
                    of_code.offer(keys[these], these, row_at)
    drawn = [*draw.rows(), *(row for one in failures.values() for row in one.rows())]
    full = _with_texts(columns, drawn)
    return RowFacts(
        rows=rows,
        is_all=is_all,
        by_status=dict(by_status),
        by_code=dict(by_code.most_common()),
        by_language=dict(by_language.most_common()),
        audio_s=audio_ms / 1000,
        durations=durations,
        samples=tuple(full[row.file, row.number] for row in draw.rows()),
        failures={
            name: tuple(full[row.file, row.number] for row in one.rows())
            for name, one in failures.items()
        },
    )


def _with_texts(
    columns: ParquetColumns, rows: Iterable[ShownRow]
) -> dict[tuple[str, int], ShownRow]:
    by_file: dict[str, list[ShownRow]] = {}
    for row in rows:
        by_file.setdefault(row.file, []).append(row)
    full: dict[tuple[str, int], ShownRow] = {}
    for file, of_file in by_file.items():
        found = columns.rows_at(file, [row.number for row in of_file], _WIDE)
        for row in of_file:
            full[file, row.number] = replace(row, values=found.get(row.number, {}))
    return full


def _texts(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of text without nulls; of "" where there is none."""
    if name not in table.column_names:
        return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])
    return pc.fill_null(table.column(name).cast(pa.string()), "")


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    return pc.fill_null(table.column(name).cast(pa.int64()), 0).to_numpy()


def _is(column: pa.ChunkedArray, value: str) -> np.ndarray:
    return pc.call_function("equal", [column, pa.scalar(value, pa.string())]).to_numpy()


def _count(counter: Counter[str], column: pa.ChunkedArray) -> None:
    """Add the values of `column`, those beyond the first hundred names as one."""
    for pair in column.value_counts().to_pylist():
        name = pair["values"]
        if name not in counter and len(counter) >= _MOST_NAMES:
            name = "(others)"
        counter[name] += pair["counts"]

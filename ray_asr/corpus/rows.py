"""Rows of the input → decoded rows, in runs of a bounded number of seconds.

Owns the columns that travel between reading and recognizing, and how a bad row is marked on the
way. Must not know models, Ray, or what becomes of runs. A row that cannot be decoded keeps its
place and carries its error; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import InputConfig
from ray_asr.corpus.audio import decode_pieces
from ray_asr.corpus.row_files import read_row_file
from ray_asr.corpus.units import Unit
from ray_asr.corpus.watch import Begun, Unwatched
from ray_asr.errors import DataError, ErrorCode, RowError
from ray_asr.schema import SAMPLE_RATE_HZ, TRANSCRIPT_SCHEMA, Waveform

ID = "utterance_id"
# Float32 samples at 16 kHz as bytes; null where the row has failed or is long.
WAVEFORM = "_waveform"
# What a long row still is: its encoded bytes and its recording's name. It is decoded in pieces
# where it is recognized; whole, it would be hundreds of megabytes in every process on its way.
ENCODED = "_encoded"
ENCODED_NAME = "_encoded_name"
ERROR_CODE = "_error_code"
ERROR_MESSAGE = "_error_message"
UNIT = "_unit"  # number of the unit in the driver's list
ROW = "_row"  # number of the row in its unit
TRAVELLING = (ID, WAVEFORM, ENCODED, ENCODED_NAME, ERROR_CODE, ERROR_MESSAGE)
LONG_S = 600.0  # seconds; a recording above this stays encoded
# Where `pack` says what the bytes were read from: raw G.722 is known by its suffix alone.
_PATH_HINT = "audio_path"

# Pass-through columns that the output has with another meaning keep their values under this name.
_RENAMED = "input_"
READ_AT_ONCE = 64  # rows


def read_unit(filesystem: pafs.FileSystem, unit: Unit) -> Iterator[pa.RecordBatch]:
    """The rows of a unit in order, a few at a time; of one with chosen rows these alone."""
    with filesystem.open_input_file(unit.path) as source:
        file = pq.ParquetFile(source)
        if unit.chosen:
            yield from _chosen_rows(file, unit)
            return
        start, stop = unit.rows
        position = 0
        for batch in file.iter_batches(batch_size=READ_AT_ONCE, row_groups=range(*unit.row_groups)):
            first, last = max(start - position, 0), min(stop - position, batch.num_rows)
            if first < last:
                yield batch.slice(first, last - first)
            position += batch.num_rows
            if position >= stop:
                return


def _chosen_rows(file: pq.ParquetFile, unit: Unit) -> Iterator[pa.RecordBatch]:
    """The chosen rows; row groups without any are not read."""
    wanted = np.asarray(unit.chosen, np.int64) + unit.rows[0]
    position = 0
    for group in range(*unit.row_groups):
        end = position + file.metadata.row_group(group).num_rows
        in_group = wanted[(wanted >= position) & (wanted < end)]
        if len(in_group):
            for batch in file.iter_batches(batch_size=READ_AT_ONCE, row_groups=[group]):
                here = in_group - position
                here = here[(here >= 0) & (here < batch.num_rows)]
                if len(here):
                    yield batch.take(pa.array(here))
                position += batch.num_rows
                if position > in_group[-1]:
                    break
        position = end


def _bytes_and_path(value: Any) -> tuple[Any, str]:
    """An audio cell of any of the three kinds as (bytes or None, path or "")."""
    if isinstance(value, pa.StructScalar):
        fields = dict(value.items())
        data, path = fields.get("bytes"), fields.get("path")
        return (
            data.as_buffer() if data is not None and data.is_valid else None,
            str(path.as_py()) if path is not None and path.is_valid else "",
        )
    if isinstance(value, (pa.StringScalar, pa.LargeStringScalar)):
        return None, str(value.as_py())
    return value.as_buffer(), ""


@dataclass(frozen=True, slots=True)
class _Cell:
    """One row's audio on its way: decoded, or encoded and long, or failed."""

    waveform: Waveform | None = None
    encoded: bytes | None = None
    name: str = ""
    code: str = ""
    message: str = ""

    @property
    def seconds(self) -> float:
        return 0.0 if self.waveform is None else len(self.waveform) / SAMPLE_RATE_HZ


def _decode_cell(value: Any, path_hint: str, config: InputConfig) -> _Cell:
    if not value.is_valid:
        raise RowError(ErrorCode.AUDIO_MISSING, "the audio cell is null.")
    data, path = _bytes_and_path(value)
    if data is None:
        if not path:
            raise RowError(ErrorCode.AUDIO_MISSING, "the audio cell has neither bytes nor a path.")
        data = read_row_file(path)
    name = path or path_hint
    pieces = decode_pieces(data, LONG_S, path_hint=name, max_duration_s=config.max_duration_s)
    first = next(pieces)
    if len(first) < LONG_S * SAMPLE_RATE_HZ:
        return _Cell(waveform=first)
    return _Cell(encoded=memoryview(data).tobytes(), name=name)


def _uncopied(data: Waveform | bytes | None) -> pa.Array:
    """One row's bytes where they are: they are copied once, into their place in a chunk."""
    if data is None:
        return pa.nulls(1, pa.large_binary())
    values = pa.py_buffer(data)
    offsets = pa.py_buffer(np.array([0, values.size], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, values])


def passed_through_names(names: Sequence[str], config: InputConfig) -> dict[str, str]:
    """Which columns go to the output as they are, by names that the output leaves free.

    Args:
        names: of the input's columns.
        config: which of them have the ids and the audio.
    """
    ours = {*TRANSCRIPT_SCHEMA.names, *TRAVELLING, UNIT, ROW}
    kept: dict[str, str] = {}
    for name in names:
        if name in (config.audio_column, config.id_column, "duration_ms"):
            continue
        free = name
        while free in ours or (free != name and free in names):
            free = f"{_RENAMED}{free}"
        kept[free] = name
    return kept


def _passed_through(batch: pa.RecordBatch, config: InputConfig) -> dict[str, pa.Array]:
    names = passed_through_names(batch.schema.names, config)
    return {free: batch.column(name) for free, name in names.items()}


def text_ids(batch: pa.RecordBatch, config: InputConfig) -> pa.Array:
    """The ids of input rows as text; null where they are no text.

    Raises:
        DataError: the id column is of a type that does not turn into text.
    """
    column = batch.column(config.id_column)
    try:
        ids = pc.cast(column, pa.string(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f'the id column "{config.id_column}" is {column.type}, which does not turn into text; '
            "name a column of strings or integers with --id-column."
        ) from error
    try:
        ids.validate(full=True)
    except pa.ArrowInvalid:
        return pa.array([_text(value) for value in ids], pa.string())
    return ids


def _text(value: pa.StringScalar) -> str | None:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return None


def decode_rows(
    batch: pa.RecordBatch,
    config: InputConfig,
    chunk_s: float,
    begin: Callable[[int], Begun] = lambda start: Unwatched(),
    safely: Callable[[Callable[[], _Cell]], _Cell] = lambda step: step(),
) -> Iterator[tuple[pa.Table, float]]:
    """The rows of `batch` decoded, in runs of at most `chunk_s` seconds (or of one row).

    Args:
        batch: rows of the input contract.
        config: how they are read.
        chunk_s: seconds of a run.
        begin: begins the work on the run that starts with this row; it ends before the run is
            given out, since nobody knows when the next one is asked for.
        safely: calls a row's decoding, and makes a `RowError` of whatever it raises.

    Yields:
        Tables that together hold every row once, in order, each with its seconds of audio.
    """
    passed, ids = _passed_through(batch, config), text_ids(batch, config)
    hints = batch.column(_PATH_HINT) if _PATH_HINT in batch.schema.names else None
    audio_index = batch.schema.get_field_index(config.audio_column)
    cells: list[_Cell] = []
    start, seconds = 0, 0.0

    def run(stop: int) -> pa.Table:
        columns = {
            ID: pc.fill_null(ids.slice(start, stop - start), ""),
            WAVEFORM: pa.chunked_array([_uncopied(cell.waveform) for cell in cells]),
            ENCODED: pa.chunked_array([_uncopied(cell.encoded) for cell in cells]),
            ENCODED_NAME: pa.array([cell.name for cell in cells], pa.string()),
            ERROR_CODE: pa.array([cell.code for cell in cells], pa.string()),
            ERROR_MESSAGE: pa.array([cell.message for cell in cells], pa.string()),
        }
        kept = {name: column.slice(start, stop - start) for name, column in passed.items()}
        return pa.table({**columns, **kept})

    def cell_of(row: int, value: Any) -> _Cell:
        if not ids[row].is_valid:
            raise RowError(
                ErrorCode.ID_MISSING, f'the id in "{config.id_column}" is null or not UTF-8.'
            )
        hint = "" if hints is None else str(hints[row].as_py() or "")
        return _decode_cell(value, hint, config)

    def label_of(row: int) -> str:
        return f'row "{ids[row]}"'

    begun: Begun | None = None
    try:
        for row, value in enumerate(batch.column(audio_index)):
            if begun is None:
                begun = begin(row)
                begun.allow()
            decoding = partial(safely, partial(cell_of, row, value))
            try:
                cell = begun.one(str(row), partial(label_of, row), 0.0, decoding)
            except RowError as error:
                cell = _Cell(code=str(error.code), message=error.message)
            # A long row stands alone: no other row waits for it.
            row_s = chunk_s if cell.encoded is not None else cell.seconds
            if cells and seconds + row_s > chunk_s:
                begun.end()
                begun = None
                yield run(row), seconds
                cells = []
                start, seconds = row, 0.0
            cells.append(cell)
            seconds += row_s
    finally:
        if begun is not None:
            begun.end()
    if cells:
        yield run(batch.num_rows), seconds


def numbered(
    runs: Iterable[tuple[pa.Table, float]], unit_number: int, chosen: Sequence[int] = ()
) -> Iterator[tuple[pa.Table, float]]:
    """Rows of one unit with the unit's number and their own, by which they find their part.

    Args:
        runs: the rows, in order.
        unit_number: the unit's.
        chosen: the numbers of the rows; those from 0 on where it is empty.
    """
    first = 0
    for run, seconds in runs:
        count = run.num_rows
        numbers = chosen[first : first + count] if chosen else range(first, first + count)
        run = run.append_column(UNIT, pa.array([unit_number] * count, pa.int64()))
        yield run.append_column(ROW, pa.array(numbers, pa.int64())), seconds
        first += count

"""The rows of an output that are to be exported, few at a time.

Owns which rows those are, and their columns over files that differ. Must not know formats.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ray_asr.errors import ConfigError, DataError
from ray_asr.results.columns import OpenFilesystem, ParquetColumns
from ray_asr.results.export_audio import AudioPaths
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK

ALL = "all"
STATUSES = (STATUS_OK, STATUS_NO_SPEECH, STATUS_FAILED, ALL)

_ID = "utterance_id"
_TEXT_COLUMN = "give the folder that `ray-asr transcribe` wrote its part files to"
# A batch is about so large in its file; unpacked it is some times that.
_BATCH_BYTES = 2**21
_MOST_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an output.

    Attributes:
        segments: those that have a text; the whole recording where none has one.
        audio: where the recording lies; "" where that is not known.
    """

    utterance_id: str
    text: str
    segments: list[dict[str, Any]]
    duration_ms: int
    language: str
    audio: str = ""


@dataclass(slots=True)
class Footers:
    """What the files of an output have.

    Attributes:
        names: of all columns, in the order in which they come first.
        schemas: the different ones.
        rows: of all files.
    """

    names: list[str] = field(default_factory=list)
    schemas: list[pa.Schema] = field(default_factory=list)
    rows: int = 0

    def add(self, schema: pa.Schema, rows: int) -> None:
        """Take a file."""
        self.rows += rows
        if schema not in self.schemas:
            self.schemas.append(schema)
            self.names += [name for name in schema.names if name not in self.names]

    def schema(self) -> pa.Schema:
        """The columns of all files together.

        Raises:
            DataError: a column has types that cannot be one.
        """
        try:
            return pa.unify_schemas(self.schemas, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"the output has a column of types that cannot be one ({error}); export it as "
                "jsonl, which takes any."
            ) from error


class ExportRows(ParquetColumns):
    """Rows of an output by status and id.

    Args:
        output: folder of part files, a path or an address.
        statuses: of the rows to export; `ALL` for any.
        ids: of the rows to export; all where it is empty.
        open_filesystem: gives the filesystem of `output`, and the path inside it.

    Attributes:
        taken: rows that were given out.
        left_out: rows that were not, by their status.
        progress: told how many rows were given out, and which share of the files was read.

    Raises:
        DataError: it is no output, or cannot be read.
        ConfigError: there is no such status.
    """

    def __init__(
        self,
        output: str,
        statuses: Sequence[str],
        ids: Sequence[str],
        open_filesystem: OpenFilesystem,
    ) -> None:
        unknown = [status for status in statuses if status not in STATUSES]
        if unknown or not statuses:
            raise ConfigError(
                f"status is {unknown[0] if unknown else 'empty'}: use {', '.join(STATUSES)}."
            )
        super().__init__(output, "output", open_filesystem)
        self.require("text", _TEXT_COLUMN)
        self.require(_ID, _TEXT_COLUMN)
        self._statuses = None if ALL in statuses else pa.array(statuses, pa.string())
        self._ids = pa.array(ids, pa.string()) if ids else None
        self.progress: Callable[[int, float], None] = lambda rows, share: None
        self.taken = 0
        self.left_out: Counter[str] = Counter()

    def has(self, column: str) -> bool:
        """Whether a file has a column; only where the first one lacks it are others looked at."""
        return any(column in self._schema(fragment).names for fragment in self._fragments)

    @functools.cached_property
    def footers(self) -> Footers:
        """What the footers of all files say, each of which is read for it."""
        # Not by the fragments, which would keep them all.
        found = Footers()
        for fragment in self._fragments:
            try:
                with fragment.filesystem.open_input_file(fragment.path) as source:
                    file = pq.ParquetFile(source)
                    found.add(file.schema_arrow.remove_metadata(), file.metadata.num_rows)
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(fragment, error) from error
        return found

    def batches_taken(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The chosen rows, some at a time, with those of `columns` that their file has."""
        needed = None if columns is None else {*columns, _ID, "status"}
        for number, fragment in enumerate(self._fragments):
            try:
                with fragment.filesystem.open_input_file(fragment.path) as source:
                    file = pq.ParquetFile(source, page_checksum_verification=True)
                    rows = _rows_at_once(file)
                    names = file.schema_arrow.names
                    read = [name for name in names if needed is None or name in needed]
                    for batch in file.iter_batches(rows, columns=read, use_threads=False):
                        chosen = self._chosen(batch)
                        self.taken += chosen.num_rows
                        if chosen.num_rows:
                            yield chosen
                        self.progress(self.taken, number / len(self._fragments))
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(fragment, error) from error

    def rows(
        self, audio: AudioPaths | None = None, *, has_segments: bool = True
    ) -> Iterator[list[Row]]:
        """The chosen rows as such, some at a time, with their segments or without."""
        columns = ["text", "duration_ms", "language", *(["segments"] if has_segments else [])]
        for batch in self.batches_taken([*columns, *(audio.columns if audio else ())]):
            yield [
                Row(
                    str(values[_ID]),
                    values.get("text") or "",
                    _spoken(values),
                    values.get("duration_ms") or 0,
                    values.get("language") or "",
                    audio.of(values) if audio else "",
                )
                for values in batch.to_pylist()
            ]

    def _chosen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._ids is not None:
            ids = pc.cast(batch.column(_ID), pa.string())
            batch = batch.filter(_is_in(ids, self._ids))
        if self._statuses is None or "status" not in batch.schema.names:
            return batch
        status = pc.fill_null(pc.cast(batch.column("status"), pa.string()), STATUS_OK)
        is_taken = _is_in(status, self._statuses)
        self.left_out.update(status.filter(pc.call_function("invert", [is_taken])).to_pylist())
        return batch.filter(is_taken)


def _rows_at_once(file: pq.ParquetFile) -> int:
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    heaviest = max((g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0)
    return min(max(int(_BATCH_BYTES / max(heaviest, 1.0)), 1), _MOST_ROWS_AT_ONCE)


def _spoken(values: dict[str, Any]) -> list[dict[str, Any]]:
    segments = [
        segment
        for segment in values.get("segments") or ()
        if segment and (segment.get("text") or "").strip()
    ]
    text, duration_ms = values.get("text") or "", values.get("duration_ms") or 0
    if segments or not text.strip():
        return segments
    return [{"start_ms": 0, "end_ms": duration_ms, "text": text, "words": [], "speaker": ""}]


def _is_in(values: pa.Array, wanted: pa.Array) -> pa.Array:
    return pc.call_function("is_in", [values], pc.SetLookupOptions(wanted))

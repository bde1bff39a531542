"""Where the recording of each exported row lies.

Owns the column of an output that says so, and looking it up in the job's input. Must not know
formats, or read audio.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ray_asr.errors import DataError
from ray_asr.results.columns import OpenFilesystem, ParquetColumns
from ray_asr.results.disk_table import DiskTable

AUDIO_PATH = "audio_path"  # where `ray-asr pack` says what a row was read from

_ID = "utterance_id"
_GIVE_AUDIO = (
    "name the column with --audio-column, or the job's input, where the paths stand, with --input"
)
_ROWS_AT_ONCE = 1024
_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]*://")


class AudioPaths:
    """Where the recording of each row lies.

    Args:
        output: what is exported, a path or an address.
        has_column: whether it has a column; its own is taken where it has `column`.
        column: the name of that column; of the input it may also be one of {bytes, path}.
        source: the job's input, where paths are looked up by id; "" for none.
        root: a folder or an address that relative paths start from; "" leaves them as they are.
        open_filesystem: gives the filesystem of `source`, and the path inside it.

    Attributes:
        is_known: whether there are paths at all.
        columns: of the output that are needed to know them.

    Raises:
        DataError: the input cannot be read, or has no such column.
    """

    def __init__(
        self,
        output: str,
        has_column: Callable[[str], bool],
        column: str,
        source: str,
        root: str,
        open_filesystem: OpenFilesystem,
    ) -> None:
        self._root = root.rstrip("/") if root != "/" else root
        self._column = column or AUDIO_PATH
        self._table: DiskTable | None = None
        self.columns: tuple[str, ...] = ()
        if source:
            job = _JobInput.of(output, open_filesystem)
            self._table = _looked_up(_Input(source, open_filesystem).paths(job, column))
        elif has_column(self._column):
            self.columns = (self._column,)
        elif column:
            raise DataError(f"the output has no column {column!r}; {_GIVE_AUDIO}.")
        self.is_known = bool(source or self.columns)

    def need(self, form: str) -> None:
        """Raise DataError where there are none: the format is nothing without them."""
        if not self.is_known:
            raise DataError(
                f"a {form} export names the recordings, and the output does not say where they "
                f"lie; {_GIVE_AUDIO}."
            )

    def of(self, values: Mapping[str, Any]) -> str:
        """Where a row's recording lies; "" where that is not known."""
        if self._table is not None:
            path = self._table.get(str(values[_ID])) or ""
        else:
            path = (values.get(self._column) or "") if self.columns else ""
        path = str(path)
        if not path or not self._root or _ABSOLUTE.match(path):
            return path
        return f"{self._root}/{path.removeprefix('./')}"

    def close(self) -> None:
        """Let go of the paths that were looked up."""
        if self._table is not None:
            self._table.close()


def _looked_up(paths: Iterator[tuple[str, str]]) -> DiskTable:
    table = DiskTable()
    with ExitStack() as on_error:
        on_error.callback(table.close)
        for id_, path in paths:
            table.add(id_, path)
        on_error.pop_all()
    return table


@dataclass(frozen=True, slots=True)
class _JobInput:
    """Which columns of the input had the ids and the audio."""

    id_column: str = _ID
    audio_column: str = "audio"

    @classmethod
    def of(cls, output: str, open_filesystem: OpenFilesystem) -> _JobInput:
        """As the output's `_job.json` says; the usual ones where there is none."""
        try:
            filesystem, folder = open_filesystem(output)
            with filesystem.open_input_stream(f"{folder}/_job.json") as source:
                record = json.loads(source.read())
            names = record["input.id_column"], record["input.audio_column"]
        except (OSError, ValueError, TypeError, KeyError):
            return cls()
        return cls(*map(str, names))


class _Input(ParquetColumns):
    """The input of a job, of which the ids and the paths are read, and no audio."""

    def __init__(self, source: str, open_filesystem: OpenFilesystem) -> None:
        super().__init__(source, "input", open_filesystem)

    def paths(self, job: _JobInput, column: str) -> Iterator[tuple[str, str]]:
        """Id and path of each row that has both.

        Raises:
            DataError: no file has such columns.
        """
        self.require(job.id_column, "give the input that the output was made of")
        is_found = False
        for fragment in self._fragments:
            leaf = self._leaf(fragment, job, column)
            if not leaf or job.id_column not in self._schema(fragment).names:
                continue
            is_found = True
            top, _, below = leaf.partition(".")
            try:
                with fragment.filesystem.open_input_file(fragment.path) as source:
                    for batch in pq.ParquetFile(source).iter_batches(
                        _ROWS_AT_ONCE, columns=[job.id_column, leaf], use_threads=False
                    ):
                        paths = batch.column(top)
                        paths = paths.field(below) if below else paths
                        ids = batch.column(job.id_column)
                        for id_, path in zip(ids.to_pylist(), paths.to_pylist(), strict=True):
                            if id_ is not None and path:
                                yield str(id_), str(path)
            except (pa.ArrowException, OSError) as error:
                raise self._unreadable(fragment, error) from error
        if not is_found:
            raise DataError(
                f"{self._name} has no column that says where recordings lie; name it with "
                "--audio-column."
            )

    def _leaf(self, fragment: Any, job: _JobInput, column: str) -> str:
        """The first column that has paths, in Parquet's words; "" for none."""
        schema = self._schema(fragment)
        for name in [column] if column else [AUDIO_PATH, job.audio_column]:
            kind = schema.field(name).type if name in schema.names else pa.null()
            if pa.types.is_string(kind) or pa.types.is_large_string(kind):
                return name
            if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
                return f"{name}.path"
        return ""

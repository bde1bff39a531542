"""A Parquet file with the errors of each row.

Owns its columns and that it is written row group by row group. Must not know how rows are counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from os.path import abspath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ray_asr.errors import ConfigError, DataError, RayAsrError
from ray_asr.redaction import redacted
from ray_asr.results.score_rows import Row

NewFile = Callable[[str], AbstractContextManager[pa.NativeFile]]

_GROUP_ROWS = 2**16
_COUNTS = (
    "hits", "substitutions", "deletions", "insertions", "character_hits",
    "character_substitutions", "character_deletions", "character_insertions",
)  # fmt: skip
_FIELDS: list[pa.Field] = [
    pa.field("utterance_id", pa.string()),
    pa.field("status", pa.string()),
    pa.field("wer", pa.float64()),
    pa.field("cer", pa.float64()),
    *(pa.field(name, pa.int64()) for name in _COUNTS),
    pa.field("exact", pa.bool_()),
]


class Details:
    """Takes rows and their counts.

    Args:
        writer: of the file.
        by: the columns whose values stand beside the counts.
        schema: of the file.
    """

    def __init__(self, writer: pq.ParquetWriter, by: Sequence[int], schema: pa.Schema) -> None:
        self._writer, self._by, self._schema = writer, by, schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, rows: Sequence[Row], counts: np.ndarray, exact: Sequence[bool]) -> None:
        """Write rows with their counts `(rows, 8)`."""
        columns: list[pa.Array] = [
            pa.array([row.utterance_id for row in rows], pa.string()),
            pa.array([row.status for row in rows], pa.string()),
            _rates(counts[:, :4]),
            _rates(counts[:, 4:]),
            *(pa.array(counts[:, at], pa.int64()) for at in range(counts.shape[1])),
            pa.array(exact, pa.bool_()),
            *(pa.array([row.values[at] for row in rows], pa.string()) for at in self._by),
        ]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._rows:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows = [], 0


def _rates(counts: np.ndarray) -> pa.Array:
    """Errors for each unit of the reference, null where it has none."""
    errors, units = counts[:, 1:].sum(axis=1), counts[:, :3].sum(axis=1)
    return pa.array(errors / np.maximum(units, 1), pa.float64(), mask=units == 0)


@contextlib.contextmanager
def details_file(
    where: str | None, output: str, by: Sequence[str], new_file: NewFile | None
) -> Iterator[Details | None]:
    """A file for details, which is there once all of them are; None where it is not wanted.

    A column of `by` that has the name of one of ours stands as `input_<name>`.

    Raises:
        ConfigError: it would lie among the parts of the output.
        DataError: it cannot be written.
    """
    if where is None:
        yield None
        return
    if new_file is None:
        raise ConfigError("details are written by ray_asr.score: call that")
    _outside(where, output)
    ours = {field.name for field in _FIELDS}
    wanted = [at for at, name in enumerate(by) if name not in ("utterance_id", "status")]
    names = [f"input_{by[at]}" if by[at] in ours else by[at] for at in wanted]
    schema = pa.schema([*_FIELDS, *(pa.field(name, pa.string()) for name in names)])
    try:
        with (
            new_file(where) as sink,
            pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            details = Details(writer, wanted, schema)
            yield details
            details.flush()
    except RayAsrError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = redacted(str(error))
        raise DataError(
            f"details cannot be written to {redacted(where)} ({reason}); name a file in a folder "
            "that is there"
        ) from None


def _outside(where: str, output: str) -> None:
    folder, file = (place if "://" in place else abspath(place) for place in (output, where))
    inside = file.removeprefix(folder.rstrip("/") + "/")
    if inside != file and not any(name.startswith(("_", ".")) for name in inside.split("/")):
        raise ConfigError(
            f"details {redacted(where)} would be read as a part of the output: name a file outside "
            "of it, or one that begins with _"
        )

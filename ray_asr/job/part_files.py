"""Part files in bounded memory: their rows a batch at a time, and files written a group at a time.

Owns how Parquet parts are read and written. Must not know what is done with the rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.corpus.storage import whole_file, write_whole
from ray_asr.job.utterance import PRECISION

# A batch is about so large in its file; unpacked it is some times that.
_BATCH_BYTES = 2**22
_MOST_ROWS_AT_ONCE = 16_384
_COMPRESSION = "zstd"
# What a reader likes to decode in one go, unpacked; a writer holds one of them.
_ROW_GROUP_BYTES = 2**25


def open_part(source: pa.NativeFile) -> pq.ParquetFile:
    """A part to read, its pages held against their checksums."""
    return pq.ParquetFile(source, page_checksum_verification=True)


def batches_of(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """The rows of a part in order, few at a time where they are large."""
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    heaviest = max((g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=1.0)
    rows = min(max(int(_BATCH_BYTES / max(heaviest, 1.0)), 1), _MOST_ROWS_AT_ONCE)
    yield from file.iter_batches(rows, use_threads=False)


class Rows:
    """Rows of a stream of batches, taken in any numbers.

    Args:
        batches: the stream.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, most: int) -> pa.RecordBatch:
        """The next rows: one at least, `most` at most.

        Raises:
            StopIteration: there are none.
        """
        batch = self._left
        while batch is None or not batch.num_rows:
            batch = next(self._batches)
        self._left = batch.slice(most)
        return batch.slice(0, most)

    def all_of(self, count: int) -> Iterator[pa.RecordBatch]:
        """The next `count` rows, some at a time.

        Raises:
            pa.ArrowInvalid: there are not so many.
        """
        while count:
            try:
                rows = self.take(count)
            except StopIteration:
                raise pa.ArrowInvalid(f"it ends {count} rows early") from None
            count -= rows.num_rows
            yield rows


def write_part(filesystem: pafs.FileSystem, path: str, rows: pa.Table) -> None:
    """Write a part that is in memory, of which a reader sees all or nothing."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression=_COMPRESSION, write_page_checksum=True)
    write_whole(filesystem, path, sink.getvalue())


@contextlib.contextmanager
def new_part(
    filesystem: pafs.FileSystem, path: str, schema: pa.Schema
) -> Iterator[pq.ParquetWriter]:
    """A part to write, of which a reader sees all or nothing."""
    with (
        whole_file(filesystem, path) as sink,
        pq.ParquetWriter(
            sink, schema, compression=_COMPRESSION, write_page_checksum=True
        ) as writer,
    ):
        yield writer


def write_in_groups(writer: pq.ParquetWriter, batches: Iterable[pa.RecordBatch]) -> None:
    """Write rows in row groups of a size that suits a reader, small ones together."""
    waiting: list[pa.RecordBatch] = []
    size = 0

    def write() -> None:
        table = pa.Table.from_batches(waiting).unify_dictionaries()
        writer.write_table(table, row_group_size=table.num_rows)

    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _ROW_GROUP_BYTES:
            write()
            waiting, size = [], 0
    if waiting:
        write()


def with_metadata(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The first schema, with what all of them say of how their rows were computed.

    Where that was in several precisions, all of them are named.
    """
    found = [schema.metadata or {} for schema in schemas]
    metadata = {key: value for of_one in found for key, value in of_one.items()}
    precisions = {
        one
        for of_one in found
        for one in of_one.get(PRECISION.encode(), b"").decode().split(", ")
        if one
    }
    if precisions:
        metadata[PRECISION.encode()] = ", ".join(sorted(precisions)).encode()
    return schemas[0].with_metadata(metadata)

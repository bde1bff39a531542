"""Columns of a folder of Parquet files, a batch at a time.

Owns finding the files (local or on an object store) and reading named columns of them, files
without a column giving nulls. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.errors import DataError
from ray_asr.redaction import redacted

# Read to have one of them: texts may be long.
_ROWS_AROUND_ONE = 64
_FILES_AT_ONCE = 8

OpenFilesystem = Callable[[str], tuple[pafs.FileSystem, str]]


def by_pyarrow(where: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a path or of an address that pyarrow knows, and the path inside it."""
    if "://" in where:
        return pafs.FileSystem.from_uri(where)
    return pafs.LocalFileSystem(), where


class ParquetColumns:
    """The Parquet files of a folder and its subfolders, or one file.

    Files and folders whose names start with `_` or `.` are left out, as all readers of such folders
    do.

    Args:
        where: a path or an address.
        what: what it is called in messages.
        open_filesystem: gives the filesystem of `where`, and the path inside it.

    Raises:
        DataError: if there are no files.
    """

    def __init__(self, where: str, what: str, open_filesystem: OpenFilesystem = by_pyarrow) -> None:
        self._name = f"{what} {redacted(where)}"
        try:
            filesystem, path = open_filesystem(where)
            path = filesystem.normalize_path(path)
            info = filesystem.get_file_info(path)
            files = [path]
            if info.type == pafs.FileType.Directory:
                files = _visible(filesystem, path)
        except (pa.ArrowException, OSError) as error:
            reason = redacted(str(error))
            raise DataError(f"cannot read {self._name}: {reason}; check the path") from None
        if info.type == pafs.FileType.NotFound:
            raise DataError(f"{self._name} does not exist; check the path")
        if not files:
            raise DataError(
                f"{self._name} holds no .parquet files; give the folder that they were written to"
            )
        parquet = ds.ParquetFileFormat()
        self._fragments = [parquet.make_fragment(file, filesystem) for file in files]

    def require(self, column: str, next_step: str) -> None:
        """Raise DataError that ends with `next_step` unless a file has `column`.

        Only where the first file lacks it are the others looked at.
        """
        seen: dict[str, None] = {}
        for fragment in self._fragments:
            seen.update(dict.fromkeys(self._schema(fragment).names))
            if column in seen:
                return
        raise DataError(
            f"{self._name} has no column {column!r}, only {', '.join(seen)}; {next_step}"
        )

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[list[tuple[Any, ...]]]:
        """At most `rows` rows at a time as tuples in the order of `columns`."""
        for fragment in self._fragments:
            present = [c for c in dict.fromkeys(columns) if c in self._schema(fragment).names]
            try:
                for batch in fragment.to_batches(columns=present, batch_size=rows):
                    values = {name: batch.column(name).to_pylist() for name in present}
                    nulls = [None] * batch.num_rows
                    yield list(zip(*(values.get(c, nulls) for c in columns), strict=True))
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise self._unreadable(fragment, error) from error

    def arrow_batches(
        self, columns: Sequence[str], rows: int
    ) -> Iterator[tuple[str, int, pa.RecordBatch]]:
        """At most `rows` rows at a time as Arrow: the file, the batch's first row in it, the batch.

        It has those of `columns` that the file has, in their order. Narrow ones are meant: some
        files of as many rows are held at once.
        """

        def batches(fragment: Any) -> Iterator[pa.RecordBatch]:
            present = [c for c in dict.fromkeys(columns) if c in self._schema(fragment).names]
            return fragment.to_batches(columns=present, batch_size=rows)

        def of_small(fragment: Any) -> list[pa.RecordBatch] | None:
            return list(batches(fragment)) if fragment.metadata.num_rows <= rows else None

        # A store takes its time for each file, however small: several are asked for at once.
        with ThreadPoolExecutor(_FILES_AT_ONCE) as readers:
            waiting: deque[Future[list[pa.RecordBatch] | None]] = deque()
            left = iter(self._fragments)
            try:
                for fragment in self._fragments:
                    more = itertools.islice(left, 2 * _FILES_AT_ONCE - len(waiting))
                    waiting.extend(readers.submit(of_small, one) for one in more)
                    first = 0
                    try:
                        for batch in waiting.popleft().result() or batches(fragment):
                            yield fragment.path, first, batch
                            first += batch.num_rows
                    except (pa.ArrowException, OSError) as error:
                        raise self._unreadable(fragment, error) from error
            finally:
                for one in waiting:
                    one.cancel()

    def rows_at(
        self, file: str, numbers: Sequence[int], columns: Sequence[str]
    ) -> dict[int, dict[str, Any]]:
        """Single rows of a file by their number in it, of row groups that have one of them alone.

        Args:
            file: its path, as `arrow_batches` gives it.
            numbers: of the rows, in any order.
            columns: those of them that the file has are read.
        """
        fragment = next(one for one in self._fragments if one.path == file)
        found: dict[int, dict[str, Any]] = {}
        try:
            with fragment.filesystem.open_input_file(file) as source:
                parquet = pq.ParquetFile(source)
                names = parquet.schema_arrow.names
                present = [c for c in dict.fromkeys(columns) if c in names]
                first = 0
                for group in range(parquet.metadata.num_row_groups):
                    end = first + parquet.metadata.row_group(group).num_rows
                    wanted = sorted({n for n in numbers if first <= n < end})
                    at = first
                    for batch in parquet.iter_batches(
                        _ROWS_AROUND_ONE, row_groups=[group] if wanted else [], columns=present
                    ):
                        here = [n for n in wanted if at <= n < at + batch.num_rows]
                        for number in here:
                            found[number] = {
                                name: _value(batch.column(name)[number - at]) for name in present
                            }
                        at += batch.num_rows
                        if at > wanted[-1]:
                            break
                    first = end
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(fragment, error) from error
        return found

    def _schema(self, fragment: Any) -> pa.Schema:
        try:
            return fragment.physical_schema
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(fragment, error) from error

    def _unreadable(self, fragment: Any, error: Exception) -> DataError:
        return DataError(
            f"{self._name}: {fragment.path} cannot be read ({error}); remove it and run the job "
            "again to have it written anew"
        )


def _value(scalar: pa.Scalar) -> Any:
    """A value; of text that is none, as a file of others may have it, what can be read of it."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        as_text = isinstance(scalar, (pa.StringScalar, pa.LargeStringScalar))
        return scalar.as_buffer().to_pybytes().decode(errors="replace") if as_text else None


def _visible(filesystem: pafs.FileSystem, folder: str) -> list[str]:
    """The .parquet files under `folder` in the order of their names."""
    root = len(folder.rstrip("/"))
    return sorted(
        file.path
        for file in filesystem.get_file_info(pafs.FileSelector(folder, recursive=True))
        if file.type == pafs.FileType.File
        and file.path.endswith(".parquet")
        and not any(name.startswith(("_", ".")) for name in file.path[root:].split("/"))
    )

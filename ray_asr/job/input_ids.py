"""The ids of an input, unit by unit, and which of them stand twice.

Owns reading the id column and the memory of ids, 8 bytes each. Must not know outputs.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import InputConfig
from ray_asr.corpus.rows import passed_through_names, text_ids
from ray_asr.corpus.units import Unit
from ray_asr.errors import DataError
from ray_asr.job.part_files import Rows

_ROWS_AT_ONCE = 65_536


class InputIds:
    """The ids of units, each file's row groups opened once for all slices of them.

    Args:
        filesystem: where the input is.
        config: which column they are in.
    """

    def __init__(self, filesystem: pafs.FileSystem, config: InputConfig) -> None:
        self._filesystem = filesystem
        self._config = config
        self._source: pa.NativeFile | None = None
        self._key: tuple[str, tuple[int, int]] | None = None
        self._rows = Rows(iter(()))
        self._position = 0
        # Of the file that was asked for last: the columns that its rows bring to the output, and
        # its row that is the first of the unit's row groups.
        self.passed_through: dict[str, pa.DataType] = {}
        self.first_row = 0

    def of(self, unit: Unit) -> Iterator[pa.Array]:
        """The unit's ids as the job writes them, in order; null where the input has none.

        Raises:
            DataError: the file cannot be read any more.
        """
        try:
            self._go_to(unit)
            for batch in self._rows.all_of(unit.rows[1] - unit.rows[0]):
                self._position += batch.num_rows
                yield text_ids(batch, self._config)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"the input {unit.path} cannot be read ({error}); repair it, or name the input "
                "that the output was made of."
            ) from error

    def _go_to(self, unit: Unit) -> None:
        key = unit.path, unit.row_groups
        if key != self._key or unit.rows[0] < self._position:
            self.close()
            self._source = self._filesystem.open_input_file(unit.path)
            file = pq.ParquetFile(self._source)
            batches = file.iter_batches(
                _ROWS_AT_ONCE, range(*unit.row_groups), [self._config.id_column], use_threads=False
            )
            self._rows, self._key, self._position = Rows(batches), key, 0
            names = passed_through_names(file.schema_arrow.names, self._config)
            self.passed_through = {
                free: file.schema_arrow.field(name).type for free, name in names.items()
            }
            before = range(unit.row_groups[0])
            self.first_row = sum(file.metadata.row_group(group).num_rows for group in before)
        for batch in self._rows.all_of(unit.rows[0] - self._position):
            self._position += batch.num_rows

    def close(self) -> None:
        """Let go of the file that is open."""
        if self._source is not None:
            self._source.close()
        self._source, self._key = None, None


def of_one_pass(units: Sequence[Unit]) -> list[list[Unit]]:
    """Neighbouring units whose ids are read in one pass over the same row groups."""
    groups = itertools.groupby(units, key=lambda unit: (unit.path, unit.row_groups))
    return [list(group) for _, group in groups]


class SeenIds:
    """Finds ids that stand twice by 64-bit hashes of them, in 8 bytes an id.

    Args:
        count: how many ids there may be.
    """

    def __init__(self, count: int) -> None:
        self._hashes = np.empty(count, np.int64)
        self._used = 0
        self._lock = threading.Lock()

    def add(self, ids: pa.Array) -> None:
        """Remember ids; a null is none. From any thread."""
        new = _hashed([text for text in ids.to_pylist() if text is not None])
        with self._lock:
            self._hashes[self._used : self._used + len(new)] = new
            self._used += len(new)

    def repeated(self, most: int) -> tuple[int, npt.NDArray[np.int64]]:
        """How many ids repeat an earlier one, and the hashes of at most so many of them."""
        seen = self._hashes[: self._used]
        seen.sort()
        again = seen[1:][seen[1:] == seen[:-1]]
        return len(again), np.unique(again)[:most]


def where_they_stand(
    inputs: InputIds, units: Sequence[Unit], hashes: npt.NDArray[np.int64]
) -> Iterator[tuple[str, str, int]]:
    """The ids among those of `units` that have one of these hashes: id, file, row of the file."""
    for unit in units:
        row = unit.rows[0]
        for ids in inputs.of(unit):
            texts = ["" if text is None else text for text in ids.to_pylist()]
            for index in np.flatnonzero(np.isin(_hashed(texts), hashes)).tolist():
                if ids[index].is_valid:
                    yield texts[index], unit.path, inputs.first_row + row + index
            row += len(ids)


def _hashed(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    # Python's own, keyed anew in each process: nobody can make ids that collide.
    return np.fromiter(map(hash, texts), np.int64, len(texts))

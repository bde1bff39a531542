"""Input files → units of work and the names of their part files.

A unit is a run of row groups of one Parquet file, or a slice of one row group where that alone is
larger. Owns how input is cut and named. Must not know models or Ray.
"""

from __future__ import annotations

import hashlib
import itertools
import posixpath
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import Config
from ray_asr.corpus.storage import open_filesystem
from ray_asr.errors import DataError, StorageError
from ray_asr.redaction import redacted

MIB = 2**20
# What a row is taken to weigh where audio stands in other files and only its path in the table.
_BYTES_BEHIND_A_PATH = MIB // 4
_BYTES_OF_A_PATH = 512
_FOOTER_READERS = 16


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that are read together and end as one part file.

    Attributes:
        path: the input file, in its filesystem's own form.
        size: its bytes, and `modified_ns` its modification time, when it was listed.
        row_groups: first and one past the last row group.
        rows: first and one past the last row, counted from the first row of `row_groups`.
        audio_bytes: encoded audio in these rows, as far as the footer tells.
        chosen: the rows to be read, counted from the first of `rows`, rising; all where empty. The
            part's name does not hang on them: it is the same part.
        columns: the same for units of the same columns, of the same types.
    """

    path: str
    size: int
    modified_ns: int
    row_groups: tuple[int, int]
    rows: tuple[int, int]
    audio_bytes: int
    chosen: tuple[int, ...] = ()
    columns: str = ""

    @property
    def num_rows(self) -> int:
        """How many rows are read of the unit."""
        return len(self.chosen) or self.rows[1] - self.rows[0]

    @property
    def part_name(self) -> str:
        """The name of the part file: a pure function of the unit."""
        identity = f"{self.path}\0{self.size}\0{self.modified_ns}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        groups = f"{self.row_groups[0]:05d}-{self.row_groups[1]:05d}"
        return f"part-{digest}-{groups}-{self.rows[0]:07d}-{self.rows[1]:07d}.parquet"


def list_input(filesystem: pafs.FileSystem, path: str) -> list[pafs.FileInfo]:
    """The Parquet files at `path`, a file or a folder, by name.

    What starts with "_" or "." below the folder is left out, as every reader of datasets does.

    Raises:
        DataError: there is nothing, or no Parquet file.
    """
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise DataError(f"the input {redacted(path)} does not exist; check the path.")
    if info.type == pafs.FileType.File:
        return [info]
    below = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    files = [
        file
        for file in below
        if file.type == pafs.FileType.File
        and file.extension == "parquet"
        and not any(
            part.startswith(("_", ".")) for part in posixpath.relpath(file.path, path).split("/")
        )
    ]
    if not files:
        raise DataError(
            f"the input {redacted(path)} holds no .parquet file; make shards with `ray-asr pack` "
            "first."
        )
    return sorted(files, key=lambda file: file.path)


def _footer(filesystem: pafs.FileSystem, file: pafs.FileInfo) -> pq.FileMetaData:
    try:
        with filesystem.open_input_file(file.path) as source:
            return pq.read_metadata(source)
    except StorageError:  # says itself what is wrong, which is not the file
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{redacted(file.path)} is not a readable Parquet file ({error}); remove or repair it."
        ) from error


def check_columns(where: str, schema: pa.Schema, id_column: str, audio_column: str) -> None:
    """Refuse rows that have no id or no audio as the job can read them.

    Raises:
        DataError: a column is missing, or audio is of a type that holds none.
    """
    for column in (id_column, audio_column):
        if column not in schema.names:
            raise DataError(
                f'{where} has no column "{column}"; it has {", ".join(schema.names)}: name '
                "yours with --id-column and --audio-column."
            )
    kind = schema.field(audio_column).type
    if not (_is_bytes(kind) or _is_text(kind) or _is_struct(kind)):
        raise DataError(
            f'{where} has {kind} in the column "{audio_column}", which is not audio: name a column '
            "of bytes, of {bytes, path}, or of paths with --audio-column."
        )


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and bool({"bytes", "path"} & {f.name for f in kind})


def _audio_bytes(footer: pq.FileMetaData, group: int, audio_column: str, kind: pa.DataType) -> int:
    columns = footer.row_group(group)
    behind_paths = columns.num_rows * _BYTES_BEHIND_A_PATH
    if _is_text(kind):
        return behind_paths
    stored = sum(
        chunk.total_compressed_size
        for chunk in (columns.column(i) for i in range(columns.num_columns))
        if chunk.path_in_schema == audio_column
        or chunk.path_in_schema.startswith(f"{audio_column}.")
    )
    # A {bytes, path} whose bytes are null is a few bytes a row: the audio is behind the paths.
    only_paths = _is_struct(kind) and stored < columns.num_rows * _BYTES_OF_A_PATH
    return behind_paths if only_paths else stored


def cut_file(
    file: pafs.FileInfo, groups: Sequence[tuple[int, int]], unit_bytes: float
) -> list[Unit]:
    """Cut one file into units.

    Args:
        file: the file; its path, size and modification time become part of each unit's name.
        groups: rows and audio bytes of each row group.
        unit_bytes: what one unit should not exceed, unless a single row does.

    Returns:
        Units that together hold every row exactly once, in order; row groups without rows have
        none.
    """
    units: list[Unit] = []

    def add(first: int, last: int, start: int, stop: int, audio_bytes: int) -> None:
        if stop > start:
            modified_ns = file.mtime_ns or 0
            size = file.size or 0
            units.append(
                Unit(file.path, size, modified_ns, (first, last), (start, stop), audio_bytes)
            )

    first, rows, weight = 0, 0, 0
    for index, (group_rows, group_bytes) in enumerate(groups):
        if weight + group_bytes > unit_bytes:
            add(first, index, 0, rows, weight)
            first, rows, weight = index, 0, 0
        if group_bytes > unit_bytes and group_rows > 1:
            per_slice = max(1, int(unit_bytes * group_rows // group_bytes))
            edges = [*range(0, group_rows, per_slice), group_rows]
            for start, stop in itertools.pairwise(edges):
                add(index, index + 1, start, stop, group_bytes * (stop - start) // group_rows)
            first, rows, weight = index + 1, 0, 0
        else:
            rows, weight = rows + group_rows, weight + group_bytes
    add(first, len(groups), 0, rows, weight)
    return units


def list_units(
    filesystem: pafs.FileSystem, path: str, *, id_column: str, audio_column: str, unit_mb: float
) -> list[Unit]:
    """The units of every Parquet file at `path`, in the order of the files.

    Reads one footer a file, several at a time, and no data.

    Raises:
        DataError: nothing to read, an unreadable file, a missing column, or no rows at all.
    """

    def units_of(file: pafs.FileInfo) -> list[Unit]:
        footer = _footer(filesystem, file)
        schema = footer.schema.to_arrow_schema()
        check_columns(redacted(file.path), schema, id_column, audio_column)
        kind = schema.field(audio_column).type
        groups = [
            (footer.row_group(i).num_rows, _audio_bytes(footer, i, audio_column, kind))
            for i in range(footer.num_row_groups)
        ]
        columns = schema.remove_metadata().to_string(truncate_metadata=False)
        digest = hashlib.sha256(columns.encode()).hexdigest()[:8]
        return [replace(unit, columns=digest) for unit in cut_file(file, groups, unit_mb * MIB)]

    files = list_input(filesystem, path)
    with ThreadPoolExecutor(_FOOTER_READERS) as readers:
        units = [unit for of_file in readers.map(units_of, files) for unit in of_file]
    if not units:
        raise DataError(f"the input {redacted(path)} has no rows; there is nothing to transcribe.")
    return units


def input_units(source: str, config: Config) -> tuple[pafs.FileSystem, list[Unit]]:
    """Where `source` is, and its units as the job cuts them.

    Raises:
        DataError: it cannot be opened, or what `list_units` raises.
    """
    filesystem, path = open_filesystem(source)
    units = list_units(
        filesystem,
        path,
        id_column=config.input.id_column,
        audio_column=config.input.audio_column,
        unit_mb=config.job.unit_mb,
    )
    return filesystem, units


def bundle(units: Iterable[Unit], unit_mb: float) -> list[list[Unit]]:
    """Neighbouring units that one task reads: small files together, up to `unit_mb` MiB.

    Files of other columns are none of them: Ray joins what a task gives out, and would give each
    row the columns of all, of types that may not go together.
    """
    bundles: list[list[Unit]] = []
    weight = 0
    for unit in units:
        is_alike = bool(bundles) and bundles[-1][-1].columns == unit.columns
        if is_alike and weight + unit.audio_bytes <= unit_mb * MIB:
            bundles[-1].append(unit)
            weight += unit.audio_bytes
        else:
            bundles.append([unit])
            weight = unit.audio_bytes
    return bundles

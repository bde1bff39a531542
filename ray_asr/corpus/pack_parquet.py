"""Parquet with audio → the same rows with our columns, in bounded pieces.

Owns which columns of a foreign table mean what. Must not know Ray or how shards are written.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.corpus.audio import duration_ms
from ray_asr.corpus.manifests import COLUMNS
from ray_asr.corpus.pack_shards import OWN_FIELDS
from ray_asr.corpus.row_files import read_regular
from ray_asr.corpus.rows import read_unit
from ray_asr.corpus.units import MIB, Unit, cut_file, list_input
from ray_asr.errors import DataError, RowError, StorageError
from ray_asr.redaction import redacted

ID_COLUMNS = ("utterance_id", "id", "key")
TEXT_COLUMNS = ("reference_text", "text", "sentence", "transcription", "target")
_PIECE_BYTES = 64 * MIB


@dataclass(frozen=True, slots=True)
class Piece:
    """A unit of a source file and the number in that file of its first row."""

    unit: Unit
    first_row: int


@dataclass(frozen=True, slots=True)
class Tables:
    """Parquet files of one schema.

    Attributes:
        root: the folder that derived ids start from.
        id_column: "" where ids are the paths in the audio column or `<file>/<row>`.
        text_column: "" where there is no reference text.
        schema: of the shards: our columns, then the source's others with their own types.
    """

    filesystem: pafs.FileSystem
    root: str
    pieces: tuple[Piece, ...]
    id_column: str
    text_column: str
    schema: pa.Schema


def read_tables(filesystem: pafs.FileSystem, path: str) -> Tables:
    """Look at the footers of the Parquet files at `path`, a file or a folder.

    Raises:
        DataError: no Parquet, no audio column, or files of different schemas.
    """
    files = list_input(filesystem, path)
    is_file = len(files) == 1 and files[0].path == path
    pieces: list[Piece] = []
    schema: pa.Schema | None = None
    for file in files:
        try:
            with filesystem.open_input_file(file.path) as source:
                footer = pq.read_metadata(source)
        except StorageError:
            raise
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{file.path} is not a readable Parquet file; remove or repair it."
            ) from error
        here = footer.schema.to_arrow_schema().remove_metadata()
        if schema is not None and not here.equals(schema):
            raise DataError(f"{file.path} has other columns than {files[0].path}; pack them apart.")
        schema = here
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        starts = [sum(g.num_rows for g in groups[:i]) for i in range(len(groups))]
        sizes = [(g.num_rows, g.total_byte_size) for g in groups]
        for unit in cut_file(file, sizes, _PIECE_BYTES):
            pieces.append(Piece(unit, starts[unit.row_groups[0]] + unit.rows[0]))
    if schema is None or not pieces:
        raise DataError(f"{path} has no rows; there is nothing to pack.")
    if "audio" not in schema.names or not _holds_audio(schema.field("audio").type):
        raise DataError(
            f'{path} has no column "audio" of bytes or of {{bytes, path}}; it has '
            f"{', '.join(schema.names)}: rename yours."
        )
    id_column = next((name for name in ID_COLUMNS if name in schema.names), "")
    text_column = next((name for name in TEXT_COLUMNS if name in schema.names), "")
    taken = {*COLUMNS, id_column, text_column}
    others = [item for item in schema if item.name not in taken]
    root = posixpath.dirname(path) if is_file else path
    fields = pa.schema([*OWN_FIELDS, *others])
    return Tables(filesystem, root, tuple(pieces), id_column, text_column, fields)


def _holds_audio(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _id(tables: Tables, row: dict[str, Any], path: str, place: str) -> str | None:
    if not tables.id_column:
        return redacted(path) or place
    return None if row[tables.id_column] is None else str(row[tables.id_column])


def list_ids(tables: Tables) -> Iterator[tuple[str, str]]:
    """Every id that is not null, with the file and row that has it; reads no audio."""
    for piece in tables.pieces:
        columns = [tables.id_column] if tables.id_column else ["audio.path"]
        with tables.filesystem.open_input_file(piece.unit.path) as source:
            file = pq.ParquetFile(source)
            groups = list(range(*piece.unit.row_groups))
            table = file.read_row_groups(groups, columns=columns)
        rows = table.slice(piece.unit.rows[0], piece.unit.num_rows).to_pylist()
        if not rows:  # no path beside the bytes
            rows = [{} for _ in range(piece.unit.num_rows)]
        for number, row in enumerate(rows, start=piece.first_row):
            place = _place(tables, piece, number)
            path = (row.get("audio") or {}).get("path") or "" if not tables.id_column else ""
            found = _id(tables, row, path, place)
            if found is not None:
                yield found, f"{piece.unit.path} row {number}"


def _place(tables: Tables, piece: Piece, number: int) -> str:
    return f"{posixpath.relpath(piece.unit.path, tables.root)}/{number:08d}"


def read_pieces(
    tables: Tables, pieces: Sequence[Piece], unreadable: list[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    """The rows of these pieces in order, with our columns.

    A row without bytes but with a path is read from there, from the table's folder on; one with
    neither keeps a null, which `transcribe` reports as a failed row.
    """
    for piece in pieces:
        number = piece.first_row
        for batch in read_unit(tables.filesystem, piece.unit):
            for row in batch.to_pylist():
                audio, path = row["audio"], ""
                if isinstance(audio, dict):
                    path = audio.get("path") or row.get("audio_path") or ""
                    audio = audio["bytes"]
                else:
                    path = row.get("audio_path") or ""
                utterance_id = _id(tables, row, path, _place(tables, piece, number))
                number += 1
                if audio is None and path:
                    try:
                        where = posixpath.join(posixpath.dirname(piece.unit.path), path)
                        audio = read_regular(tables.filesystem, where)
                    except (OSError, ValueError, RowError) as error:
                        why = getattr(error, "strerror", "") or error
                        reason = f"{redacted(path)} cannot be read: {why}"
                        unreadable.append((utterance_id or "", reason))
                        continue
                yield _row(tables, row, utterance_id, audio, path)


def _row(
    tables: Tables, row: dict[str, Any], utterance_id: str | None, audio: bytes | None, path: str
) -> dict[str, Any]:
    length = None if audio is None else duration_ms(audio, path_hint=path)
    text = row.get(tables.text_column) if tables.text_column else None
    return {
        **row,
        "utterance_id": utterance_id,
        "audio": audio,
        "duration_ms": row.get("duration_ms") if length is None else length,
        "reference_text": None if text is None else str(text),
        "audio_path": redacted(path),
    }

"""Rows → one Parquet shard with row groups of bounded size, written whole.

Owns how work is split by bytes and what a shard looks like. Must not know Ray, or where rows come
from beyond files and their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.corpus.audio import duration_ms
from ray_asr.corpus.manifests import Recording
from ray_asr.corpus.storage import read_whole, whole_file
from ray_asr.errors import StorageError
from ray_asr.redaction import redacted

OWN_FIELDS = (
    pa.field("utterance_id", pa.string()),
    pa.field("audio", pa.binary()),
    pa.field("duration_ms", pa.int64()),
    pa.field("reference_text", pa.string()),
    pa.field("audio_path", pa.string()),
)
LARGEST_AUDIO_BYTES = 2**31 - 2**20  # offsets of Arrow's binary type are 32 bits

_ROW_BYTES = 256  # what a row weighs beside its audio, so that empty files are bounded too
_READERS = 8

Item = TypeVar("Item")


@dataclass(slots=True)
class ShardReport:
    """What became of one shard: rows, encoded bytes, known milliseconds, and what was left out."""

    rows: int = 0
    audio_bytes: int = 0
    audio_ms: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def split_by_bytes(
    items: Iterable[Item], size_of: Callable[[Item], int], most_bytes: float
) -> list[list[Item]]:
    """Neighbours together up to `most_bytes`; an item larger than that stands alone."""
    groups: list[list[Item]] = []
    weight = 0.0
    for item in items:
        size = size_of(item) + _ROW_BYTES
        if groups and weight + size <= most_bytes:
            groups[-1].append(item)
            weight += size
        else:
            groups.append([item])
            weight = size
    return groups


def write_shard(
    filesystem: pafs.FileSystem,
    path: str,
    schema: pa.Schema,
    rows: Iterable[Mapping[str, Any]],
    row_group_bytes: float,
) -> ShardReport:
    """Write `rows` in order, under a temporary name until they are all there.

    Row groups end before their audio passes `row_group_bytes`; a larger row has one of its own.
    Audio is neither compressed nor given a dictionary or statistics, which would only cost.
    """
    report = ShardReport()
    others = _columns_but_audio(schema)
    options: dict[str, Any] = {
        "compression": {"audio": "NONE", **dict.fromkeys(others, "ZSTD")},
        "use_dictionary": others,
        "write_statistics": others,
    }
    with (
        whole_file(filesystem, path) as sink,
        pq.ParquetWriter(sink, schema, **options) as writer,
    ):
        for group in _row_groups(rows, row_group_bytes, report):
            writer.write_table(pa.Table.from_pylist(group, schema), len(group))
    return report


def _row_groups(
    rows: Iterable[Mapping[str, Any]], row_group_bytes: float, report: ShardReport
) -> Iterator[list[Mapping[str, Any]]]:
    pending: list[Mapping[str, Any]] = []
    weight = 0
    for row in rows:
        audio_bytes = len(row["audio"] or b"")
        if pending and weight + audio_bytes + _ROW_BYTES > row_group_bytes:
            yield pending
            pending, weight = [], 0
        pending.append(row)
        weight += audio_bytes + _ROW_BYTES
        report.rows += 1
        report.audio_bytes += audio_bytes
        report.audio_ms += row["duration_ms"] or 0
    if pending:
        yield pending


def _columns_but_audio(schema: pa.Schema) -> list[str]:
    """Parquet's own column paths, of which a nested field has several."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    footer = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    paths = [footer.column(i).path for i in range(len(footer.names))]
    return [path for path in paths if path != "audio"]


def read_recordings(
    filesystems: Sequence[pafs.FileSystem],
    recordings: Sequence[Recording],
    row_group_bytes: float,
    unreadable: list[tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    """The rows of these recordings in order, files read several at a time.

    Args:
        filesystems: what `Recording.store` counts.
        recordings: what to read.
        row_group_bytes: about how much is held in memory at once.
        unreadable: gets id and reason of what could not be read; such a recording has no row.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        for window in split_by_bytes(recordings, lambda r: r.size, row_group_bytes):
            for row in readers.map(lambda r: _read(filesystems[r.store], r), window):
                if isinstance(row, tuple):
                    unreadable.append(row)
                else:
                    yield row


def _read(filesystem: pafs.FileSystem, recording: Recording) -> dict[str, Any] | tuple[str, str]:
    if recording.size > LARGEST_AUDIO_BYTES:
        return recording.utterance_id, f"{redacted(recording.path)} is larger than 2 GiB"
    path, text = recording.path, recording.reference_text
    try:
        audio = read_whole(filesystem, path)
        if recording.text_path:
            path = recording.text_path
            text = read_whole(filesystem, path).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return recording.utterance_id, f"{redacted(path)} is not UTF-8 text"
    except StorageError as error:
        return recording.utterance_id, str(error).rstrip(".")
    except OSError as error:
        return recording.utterance_id, f"{path} cannot be read: {error.strerror or error}"
    length = duration_ms(audio, path_hint=recording.path)
    return {
        "utterance_id": recording.utterance_id,
        "audio": audio,
        "duration_ms": recording.claimed_ms if length is None else length,
        "reference_text": text,
        "audio_path": recording.audio_path,
        **recording.extras,
    }

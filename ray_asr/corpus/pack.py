"""Folders, manifests and tables of recordings → Parquet shards, on Ray.

Owns the `pack` verb: what kind of source it is, the split of the work, the tasks, the report. Must
not know recognition. The driver lists and splits; one task reads the files of a shard and writes
it, so paths must mean the same on every node.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import ray
import ray.exceptions

from ray_asr.blocks import Block, Cell, Facts
from ray_asr.corpus.manifests import (
    AUDIO_SUFFIXES,
    Recordings,
    check_unique,
    list_folder,
    read_jsonl,
    read_kaldi,
)
from ray_asr.corpus.pack_parquet import list_ids, read_pieces, read_tables
from ray_asr.corpus.pack_shards import (
    OWN_FIELDS,
    ShardReport,
    read_recordings,
    split_by_bytes,
    write_shard,
)
from ray_asr.corpus.storage import open_filesystem, whole_name, write_whole
from ray_asr.corpus.units import MIB
from ray_asr.errors import ConfigError, DataError
from ray_asr.live import Live
from ray_asr.redaction import redacted
from ray_asr.shown import Shown

REPORT_FOLDER = "_pack"
UNREADABLE_FILE = "unreadable.jsonl"
_SHOWN = 10

logger = logging.getLogger(__name__)

# What a task runs to get its rows; it gets the list that what it cannot read goes to.
ReadRows = Callable[[list[tuple[str, str]]], Iterator[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class PackSummary(Shown):
    """What was packed.

    Attributes:
        rows: of all shards; `audio_bytes` is their encoded audio.
        audio_s: seconds of audio as far as headers say.
        unreadable: id and reason of everything left out, also in `_pack/unreadable.jsonl`.
    """

    destination: str
    rows: int
    shards: int
    audio_bytes: int
    audio_s: float
    unreadable: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    def blocks(self) -> list[Block]:
        """The summary in a few facts, with the first of what was left out."""
        left_out = len(self.unreadable)
        facts: list[tuple[str, Cell]] = [
            ("rows", f"{self.rows}"),
            ("shards", f"{self.shards} in {self.destination}"),
            ("audio", f"{self.audio_s / 3600:.3f} h, {self.audio_bytes / MIB:.1f} MiB"),
            ("unreadable", (f"{left_out}", "warning") if left_out else "0"),
        ]
        facts += [("", f"{name}: {reason}") for name, reason in self.unreadable[:_SHOWN]]
        if left_out > _SHOWN:
            where = f"{self.destination}/{REPORT_FOLDER}/{UNREADABLE_FILE}"
            facts.append(("", f"… and {left_out - _SHOWN} more in {where}"))
        return [Facts(facts)]


def pack(
    source: str,
    destination: str,
    *,
    shard_mb: float = 512.0,
    row_group_mb: float = 32.0,
    num_tasks: int | None = None,
    connect: Callable[[], object] | None = None,
) -> PackSummary:
    """Pack recordings into Parquet shards, on the Ray that this process is connected to.

    Args:
        source: a folder of audio, a Kaldi directory or `wav.scp`, a JSONL manifest, or Parquet (a
            file or a folder) with an `audio` column; a local path or a URI.
        destination: a folder that is empty or not there yet.
        shard_mb: encoded audio in one shard, in MiB.
        row_group_mb: encoded audio in one row group, in MiB.
        num_tasks: shards written at a time; None: one for each CPU of the cluster.
        connect: connects to Ray, once source and destination are known to be good.

    Raises:
        DataError: the source cannot be packed or the destination is not empty; nothing is written.
        ConfigError: a size or count that cannot work, or no connection to Ray.
    """
    if not 0 < row_group_mb < 2048:
        raise ConfigError(f"row_group_mb is {row_group_mb}: use a size above 0 and below 2048 MiB.")
    if shard_mb <= 0:
        raise ConfigError(f"shard_mb is {shard_mb}: use a size above 0 MiB.")
    if num_tasks is not None and num_tasks < 1:
        raise ConfigError(f"num_tasks is {num_tasks}: use at least 1.")
    where, folder = open_filesystem(destination)
    shown = redacted(destination)
    folder = folder.rstrip("/")
    _check_empty(where, folder)
    schema, readers, missing = _split(source, shard_mb * MIB, row_group_mb * MIB)
    if connect is not None:
        connect()
    if not ray.is_initialized():
        raise ConfigError("pack runs on Ray, which is not connected: call ray.init() first.")
    try:
        where.create_dir(folder, recursive=True)
    except OSError as error:
        raise DataError(
            f"the destination {folder} cannot be made ({error}); name a folder that can be written."
        ) from error
    paths = [f"{folder}/shard-{i:05d}-of-{len(readers):05d}.parquet" for i in range(len(readers))]
    is_done = False
    try:
        reports = _run(where, paths, schema, readers, row_group_mb * MIB, num_tasks)
        unreadable = missing + [pair for report in reports for pair in report.unreadable]
        rows = sum(report.rows for report in reports)
        if not rows:
            raise DataError(
                f"none of the {len(unreadable)} recordings of {redacted(source)} can be read; the "
                f"first: {unreadable[0][1]}."
            )
        _write_unreadable(where, folder, unreadable)
        is_done = True
    finally:
        if not is_done:  # so that the same command can be given again
            _remove(where, folder, paths)
    return PackSummary(
        destination=shown,
        rows=rows,
        shards=len(paths),
        audio_bytes=sum(report.audio_bytes for report in reports),
        audio_s=sum(report.audio_ms for report in reports) / 1000,
        unreadable=tuple(unreadable),
    )


def _check_empty(filesystem: pafs.FileSystem, folder: str) -> None:
    info = filesystem.get_file_info(folder)
    if info.type == pafs.FileType.File:
        raise DataError(f"the destination {folder} is a file; name a folder.")
    if info.type == pafs.FileType.Directory:
        inside = sorted(f.base_name for f in filesystem.get_file_info(pafs.FileSelector(folder)))
        if inside:
            raise DataError(
                f"the destination {folder} already holds {inside[0]}, and pack overwrites nothing; "
                "name an empty or a new folder."
            )


def _split(
    source: str, shard_bytes: float, row_group_bytes: float
) -> tuple[pa.Schema, list[ReadRows], list[tuple[str, str]]]:
    """The schema of the shards, what reads the rows of each, and what is known to be missing."""
    filesystem, path = open_filesystem(source)
    source, path = redacted(source), path.rstrip("/")
    recordings = _recordings(filesystem, path)
    if recordings is None:
        tables = read_tables(filesystem, path)
        check_unique(list_ids(tables))
        groups = split_by_bytes(tables.pieces, lambda p: p.unit.audio_bytes, shard_bytes)
        return (
            tables.schema,
            [lambda left, group=group: read_pieces(tables, group, left) for group in groups],
            [],
        )
    if not recordings.found:
        if recordings.missing:
            raise DataError(
                f"none of the {len(recordings.missing)} recordings that {source} names is there; "
                f"the first: {recordings.missing[0][1]}."
            )
        raise DataError(
            f"{source} has no recordings; name a folder with {' '.join(AUDIO_SUFFIXES)} files, a "
            "wav.scp, a .jsonl manifest, or Parquet."
        )
    stores = recordings.filesystems
    shards = split_by_bytes(recordings.found, lambda r: r.size, shard_bytes)
    extras = [pa.field(name, pa.string()) for name in recordings.found[0].extras]
    return (
        pa.schema([*OWN_FIELDS, *extras]),
        [
            lambda left, shard=shard: read_recordings(stores, shard, row_group_bytes, left)
            for shard in shards
        ],
        recordings.missing,
    )


def _recordings(filesystem: pafs.FileSystem, path: str) -> Recordings | None:
    """The recordings that a source names; None where it is Parquet."""
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise DataError(f"the source {redacted(path)} does not exist; check the path.")
    if info.type == pafs.FileType.File:
        if info.extension == "parquet":
            return None
        if info.extension == "scp":
            return read_kaldi(filesystem, path)
        if info.extension in ("jsonl", "json"):
            return read_jsonl(filesystem, path)
        raise DataError(
            f"{redacted(path)} is no source that pack knows; name a folder, a wav.scp, a .jsonl "
            "manifest, or a .parquet file."
        )
    if filesystem.get_file_info(f"{path}/wav.scp").type == pafs.FileType.File:
        return read_kaldi(filesystem, f"{path}/wav.scp")
    recordings = list_folder(filesystem, path)
    if recordings.found:
        return recordings
    below = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return None if any(file.extension == "parquet" for file in below) else recordings


@ray.remote(num_cpus=1)
def _pack_shard(
    filesystem: pafs.FileSystem,
    path: str,
    schema: pa.Schema,
    read_rows: ReadRows,
    row_group_bytes: float,
) -> ShardReport:
    unreadable: list[tuple[str, str]] = []
    report = write_shard(filesystem, path, schema, read_rows(unreadable), row_group_bytes)
    report.unreadable = unreadable
    return report


def _run(
    filesystem: pafs.FileSystem,
    paths: list[str],
    schema: pa.Schema,
    readers: list[ReadRows],
    row_group_bytes: float,
    num_tasks: int | None,
) -> list[ShardReport]:
    """One task a shard, at most `num_tasks` at a time; the reports in the order of the shards."""
    most = num_tasks or max(1, int(ray.cluster_resources().get("CPU", 1)))
    reports: dict[int, ShardReport] = {}
    running: dict[Any, int] = {}
    waiting = iter(range(len(paths)))
    try:
        with Live(logger) as live:
            while len(reports) < len(paths):
                while len(running) < most and (index := next(waiting, None)) is not None:
                    task = _pack_shard.remote(
                        filesystem, paths[index], schema, readers[index], row_group_bytes
                    )
                    running[task] = index
                (done, *_), _ = ray.wait(list(running))
                reports[running.pop(done)] = ray.get(done)
                if live.due(is_last=len(reports) == len(paths)):
                    words = f"{len(reports)}/{len(paths)} shards are packed"
                    live.say(words, len(reports) / len(paths))
    except ray.exceptions.RayTaskError as error:
        reason = redacted(str(error.cause)).rstrip(".")
        raise DataError(f"a shard could not be packed: {reason}.") from error
    finally:
        for task in running:
            ray.cancel(task)
        if running:  # none may write once its shard has been removed
            ray.wait(list(running), num_returns=len(running))
    return [reports[index] for index in range(len(paths))]


def _write_unreadable(
    filesystem: pafs.FileSystem, folder: str, unreadable: list[tuple[str, str]]
) -> None:
    if not unreadable:
        return
    filesystem.create_dir(f"{folder}/{REPORT_FOLDER}", recursive=True)
    lines = (
        json.dumps({"utterance_id": i, "reason": r}, ensure_ascii=False) for i, r in unreadable
    )
    text = "".join(f"{line}\n" for line in lines)
    write_whole(filesystem, f"{folder}/{REPORT_FOLDER}/{UNREADABLE_FILE}", text.encode())


def _remove(filesystem: pafs.FileSystem, folder: str, paths: list[str]) -> None:
    """Take away what an unfinished run has written, and nothing else."""
    ours = {path.rpartition("/")[2] for path in paths}
    for info in filesystem.get_file_info(pafs.FileSelector(folder)):
        if whole_name(info.base_name) in ours:
            filesystem.delete_file(info.path)

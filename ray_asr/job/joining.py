"""Which part files are joined, and how several become one.

Owns the plan and the writing of joined files, in memory that is bounded whatever their size. Must
not know where they are put and what becomes of the old ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.compacted import JOINED, Parts, joined_files
from ray_asr.corpus.resume import is_part
from ray_asr.errors import DataError
from ray_asr.job.many_files import for_each
from ray_asr.job.part_files import batches_of, new_part, open_part, with_metadata, write_in_groups

_FOOTER_READERS = 16
_WRITERS = 4
# A file of this share of the target is left alone: were it joined with each few small ones that
# come after, its rows would be written again and again.
_LARGE_ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file of transcripts that is there.

    Attributes:
        name: its name in the output folder.
        size: in bytes.
        rows: how many it has.
        schema: of its columns.
        parts: the parts that it holds, with their rows: itself, unless it is a joined one.
    """

    name: str
    size: int
    rows: int
    schema: pa.Schema
    parts: Parts


@dataclass(slots=True)
class Joint:
    """Part files that become one under a new name; one file alone only takes the name.

    Attributes:
        name: of the file to be.
        files: in the order of their rows.
    """

    name: str
    files: list[PartFile] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def parts(self) -> Parts:
        """What the file to be holds."""
        return tuple(part for file in self.files for part in file.parts)


def part_files(filesystem: pafs.FileSystem, folder: str) -> list[PartFile]:
    """The part files of an output, by name.

    Raises:
        DataError: one of them cannot be read, or is not what the output's record says.
    """
    listing = filesystem.get_file_info(pafs.FileSelector(folder))
    files = sorted(
        (file for file in listing if file.is_file and is_part(file.base_name)),
        key=lambda file: file.base_name,
    )
    joined = joined_files(filesystem, folder, [file.base_name for file in files])

    def looked_at(file: pafs.FileInfo) -> PartFile:
        name = file.base_name
        try:
            with filesystem.open_input_file(file.path) as source:
                part = open_part(source)
                rows, schema = part.metadata.num_rows, part.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(file.path, error) from error
        parts = joined.get(name, ((name, rows),))
        if sum(count for _, count in parts) != rows:
            raise DataError(
                f"{file.path} has {rows} rows and not those that were joined in it; `ray-asr "
                "verify` says what is wrong with the output."
            )
        return PartFile(name, file.size, rows, schema, parts)

    with ThreadPoolExecutor(_FOOTER_READERS) as readers:
        return list(readers.map(looked_at, files))


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read ({error}); delete it and run the same transcribe command again to "
        "have its rows written anew."
    )


def planned(files: Sequence[PartFile], target_bytes: float) -> list[Joint]:
    """Which files become one, in their order; files of different columns never do.

    Every file gets a name that no file of the output ever had: who lists the folder while it
    changes then finds the files of the one moment or of the other, and never some of both.

    Args:
        files: all part files of an output.
        target_bytes: what a joined file should not exceed.
    """
    generation = uuid.uuid4().hex[:12]
    joints: list[Joint] = []
    open_joints: list[Joint] = []
    for file in files:
        alone = Joint(f"{JOINED}{generation}-{len(joints):06d}.parquet", [file])
        if file.size >= _LARGE_ENOUGH * target_bytes:
            joints.append(alone)
            continue
        like = next((j for j in open_joints if j.files[0].schema.equals(file.schema)), None)
        if like is not None and like.size + file.size <= target_bytes:
            like.files.append(file)
            continue
        open_joints = [joint for joint in open_joints if joint is not like] + [alone]
        joints.append(alone)
    return joints


def write_joint(
    source: pafs.FileSystem, folder: str, joint: Joint, target: pafs.FileSystem, path: str
) -> None:
    """Write the rows of all files of `joint`, in their order, to one file at `path`."""

    def rows() -> Iterator[pa.RecordBatch]:
        for file in joint.files:
            yield from _rows_of(source, f"{folder}/{file.name}")

    schema = with_metadata([file.schema for file in joint.files])
    with new_part(target, path, schema) as writer:
        write_in_groups(writer, rows())


def _rows_of(source: pafs.FileSystem, path: str) -> Iterator[pa.RecordBatch]:
    try:
        with source.open_input_file(path) as opened:
            yield from batches_of(open_part(opened))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def write_all(joints: Sequence[Joint], write: Callable[[Joint], None]) -> None:
    """Write several at a time, and say now and then how far that is."""
    for_each(joints, write, _WRITERS, "%d of %d files are written.")


def record_of(joints: Sequence[Joint]) -> Mapping[str, Parts]:
    """What `_compacted.json` is to say."""
    return {joint.name: joint.parts for joint in joints}

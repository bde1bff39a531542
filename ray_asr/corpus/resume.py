"""What an output folder holds: which run it belongs to, which parts are done.

Owns `_job.json` and the listing of parts. Must not know models or Ray. The parts are the record of
what is done; `_job.json` only says what a later run must match.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from ray_asr.corpus.compacted import Place, parts_of
from ray_asr.corpus.storage import WRITING, write_whole
from ray_asr.errors import DataError
from ray_asr.schema import SCHEMA_VERSION

JOB_FILE = "_job.json"


def parts_done(
    filesystem: pafs.FileSystem, path: str, settings: Mapping[str, Any] | None
) -> frozenset[str]:
    """What an equal run left at `path`; changes nothing.

    Args:
        filesystem: where `path` is.
        path: the output folder, which need not be there.
        settings: what an earlier run on this folder must have had too; None where the run begins
            anew, so that nothing that an earlier one did is of use.

    Returns:
        The names of the parts that are done.

    Raises:
        DataError: the folder belongs to something else; the sentence says what differs.
    """
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        return frozenset()
    if info.type == pafs.FileType.File:
        raise DataError(f"the output {path} is a file; name a folder.")
    names = {file.base_name for file in filesystem.get_file_info(pafs.FileSelector(path))}
    if JOB_FILE in names:
        if settings is None:
            return frozenset()
        _check_same(filesystem, path, job_record(settings))
        return frozenset(parts_of(filesystem, path, frozenset(filter(is_part, names))))
    foreign = sorted(name for name in names if not name.startswith((".", "_")))
    if foreign:
        raise DataError(
            f"the output {path} already holds {foreign[0]} and no {JOB_FILE}, so it is not an "
            "output of ray_asr; name another folder."
        )
    return frozenset()


def claim_output(
    filesystem: pafs.FileSystem, path: str, settings: Mapping[str, Any]
) -> frozenset[str]:
    """Make `path` this run's output, or go on with what an equal run left there.

    Returns and raises what `parts_done` does, and DataError where the folder cannot be made.
    """
    done = parts_done(filesystem, path, settings)
    try:
        filesystem.create_dir(path, recursive=True)
        if filesystem.get_file_info(f"{path}/{JOB_FILE}").type == pafs.FileType.NotFound:
            record = json.dumps(job_record(settings), indent=2, sort_keys=True, ensure_ascii=False)
            write_whole(filesystem, f"{path}/{JOB_FILE}", record.encode())
    except OSError as error:
        raise DataError(
            f"the output {path} cannot be made ({error}); name a folder that can be written."
        ) from error
    return done


def release_output(filesystem: pafs.FileSystem, path: str) -> None:
    """Give back an output without parts, so that a run of other settings may have it.

    For a run that failed before it wrote any: what it had wrong is what the next one changes.
    """
    with contextlib.suppress(OSError):  # why the run failed is what a user should hear
        names = {file.base_name for file in filesystem.get_file_info(pafs.FileSelector(path))}
        if JOB_FILE in names and not any(map(is_part, names)):
            filesystem.delete_file(f"{path}/{JOB_FILE}")


def sweep_unfinished(filesystem: pafs.FileSystem, path: str) -> None:
    """Delete the files at `path` that a run was writing when it died.

    For the holder of the output's lease alone: nobody else writes parts then.
    """
    for file in filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True)):
        if file.base_name.startswith(WRITING):
            filesystem.delete_file(file.path)


def is_part(name: str) -> bool:
    """Whether a file of this name in an output holds transcripts."""
    return name.startswith("part-") and name.endswith(".parquet")


def part_places(filesystem: pafs.FileSystem, path: str) -> dict[str, Place]:
    """Where each part of an output stands, by the part's name.

    Raises:
        DataError: there are joined files, and what they hold is not known.
    """
    listing = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    names = {file.base_name for file in listing}
    return parts_of(filesystem, path, frozenset(filter(is_part, names)))


def job_record(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What `_job.json` says of a run of these settings."""
    return {"schema_version": SCHEMA_VERSION, **settings}


def recorded_job(filesystem: pafs.FileSystem, path: str) -> dict[str, Any]:
    """What `_job.json` at `path` says of the runs that made the output.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    try:
        with filesystem.open_input_stream(f"{path}/{JOB_FILE}") as source:
            text = source.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{path} holds no {JOB_FILE}, so it is not an output of ray_asr; name the folder that "
            "`ray-asr transcribe` wrote to."
        ) from error
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{path}/{JOB_FILE} cannot be read; name another output folder.")
    return found


def _check_same(filesystem: pafs.FileSystem, path: str, wanted: Mapping[str, Any]) -> None:
    found = recorded_job(filesystem, path)
    normal = json.loads(json.dumps(wanted))
    different = [
        f"{key} was {found.get(key)!r}, now {normal.get(key)!r}"
        for key in sorted({*found, *normal})
        if found.get(key) != normal.get(key)
    ]
    if (version := found.get("schema_version")) != SCHEMA_VERSION:
        raise DataError(
            f"the output {path} has the columns of another ray_asr (schema version {version!r}, "
            f"here {SCHEMA_VERSION}): go on with that one, name another output folder, or begin "
            "anew here with --restart."
        )
    if different:
        raise DataError(
            f"the output {path} was made with other settings ({'; '.join(different)}): use those "
            "again to go on, name another output folder, or begin anew here with --restart."
        )

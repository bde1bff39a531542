"""What an output folder holds: which run it belongs to, which parts are done.

Owns `_job.json` and the listing of parts. Must not know models or Ray. The parts are the record
of what is done; `_job.json` only says what a later run must match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from ray_asr.errors import DataError
from ray_asr.schema import SCHEMA_VERSION

JOB_FILE = "_job.json"
_OBJECT_STORES = ("s3", "gcs", "abfs")  # a PUT is whole or not there; renaming is a copy


def write_whole(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none of it."""
    if filesystem.type_name in _OBJECT_STORES:
        with filesystem.open_output_stream(path) as sink:
            sink.write(data)
        return
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/_writing.{name}"
    with filesystem.open_output_stream(temporary) as sink:
        sink.write(data)
    filesystem.move(temporary, path)


def claim_output(
    filesystem: pafs.FileSystem, path: str, settings: Mapping[str, Any]
) -> frozenset[str]:
    """Make `path` this run's output, or go on with what an equal run left there.

    Args:
        filesystem: where `path` is.
        path: the output folder; made where it is missing.
        settings: what an earlier run on this folder must have had too.

    Returns:
        The names of the parts that are done.

    Raises:
        DataError: the folder belongs to something else; the sentence says what differs.
    """
    wanted = {"schema_version": SCHEMA_VERSION, **settings}
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.File:
        raise DataError(f"the output {path} is a file; name a folder.")
    filesystem.create_dir(path, recursive=True)
    listed = filesystem.get_file_info(pafs.FileSelector(path))
    names = {file.base_name for file in listed}
    if JOB_FILE in names:
        _check_same(filesystem, path, wanted)
        return frozenset(n for n in names if n.startswith("part-") and n.endswith(".parquet"))
    foreign = sorted(name for name in names if not name.startswith((".", "_")))
    if foreign:
        raise DataError(
            f"the output {path} already holds {foreign[0]} and no {JOB_FILE}, so it is not an "
            "output of ray_asr; name another folder."
        )
    record = json.dumps(wanted, indent=2, sort_keys=True, ensure_ascii=False)
    write_whole(filesystem, f"{path}/{JOB_FILE}", record.encode())
    return frozenset()


def _check_same(filesystem: pafs.FileSystem, path: str, wanted: Mapping[str, Any]) -> None:
    with filesystem.open_input_stream(f"{path}/{JOB_FILE}") as source:
        text = source.read()
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}/{JOB_FILE} cannot be read; name another output folder.") from error
    normal = json.loads(json.dumps(wanted))
    different = [
        f"{key} was {found.get(key)!r}, now {normal.get(key)!r}"
        for key in sorted({*found, *normal})
        if found.get(key) != normal.get(key)
    ]
    if different:
        raise DataError(
            f"the output {path} was made with other settings ({'; '.join(different)}): use those "
            "again to go on, or name another output folder."
        )

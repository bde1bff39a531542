"""A run that begins anew on an output that another one filled, and when it takes its place.

Owns the folder `_restart` in which the new run's first parts wait, the switch from the old parts to
the new ones, and its record `_switch.json`, by which a switch that was cut short is ended. Must not
know what is in a part. Until the first new part is whole, the old run is as it was; from the switch
on, a reader sees rows of the new one alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.fs as pafs

from ray_asr.corpus.compacted import COMPACTED_FILE
from ray_asr.corpus.resume import (
    JOB_FILE,
    claim_output,
    is_part,
    job_record,
    release_output,
    sweep_unfinished,
)
from ray_asr.corpus.storage import write_whole

WAITING_FOLDER = "_restart"
SWITCH_FILE = "_switch.json"


class Placement:
    """Where a run's parts go, for the holder of the output's lease.

    Args:
        filesystem: where the output is.
        folder: the output folder.
        settings: what a later run on the output must have too.
        restart: whether the run begins anew, whatever is there.

    Attributes:
        folder: where the next part goes.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        settings: Mapping[str, Any],
        *,
        restart: bool = False,
    ) -> None:
        self._filesystem = filesystem
        self._output = folder
        self._settings = settings
        self._waits = restart
        self._is_empty = True
        self.folder = _waiting(folder) if restart else folder

    def begin(self) -> None:
        """Make the output this run's, or, where it begins anew, a place beside what is there.

        Raises:
            DataError: the output is another one's, or cannot be made.
        """
        sweep_unfinished(self._filesystem, self._output)
        _delete_folder(self._filesystem, _waiting(self._output))
        if self._waits:
            self._filesystem.create_dir(self.folder, recursive=True)
        else:
            claim_output(self._filesystem, self._output, self._settings)

    def written(self) -> str:
        """A part is whole; with the first one, a run that begins anew takes the old one's place.

        Returns:
            Where the next part goes.
        """
        self._is_empty = False
        if self._waits:
            record = {"old_parts_deleted": False, "job": job_record(self._settings)}
            _write(self._filesystem, f"{self._output}/{SWITCH_FILE}", record)
            finish_switch(self._filesystem, self._output)
            self._waits, self.folder = False, self._output
        return self.folder

    def end(self) -> None:
        """Give back an output in which no part was written."""
        if not self._is_empty:
            return
        if self._waits:
            _delete_folder(self._filesystem, self.folder)
        else:
            release_output(self._filesystem, self._output)


def is_switching(filesystem: pafs.FileSystem, folder: str) -> bool:
    """Whether a switch was begun and not ended: what `_job.json` says may be the old run's."""
    info = filesystem.get_file_info(f"{folder}/{SWITCH_FILE}")
    return info.type != pafs.FileType.NotFound


def finish_switch(filesystem: pafs.FileSystem, folder: str) -> bool:
    """End a switch that was begun; whether there was one. To be called by a lease's holder."""
    if not is_switching(filesystem, folder):
        return False
    path = f"{folder}/{SWITCH_FILE}"
    with filesystem.open_input_stream(path) as source:
        record = json.loads(source.read())
    if not record["old_parts_deleted"]:
        # What is in the folder is the old run's: new parts come here only after this.
        for file in filesystem.get_file_info(pafs.FileSelector(folder)):
            if is_part(file.base_name) or file.base_name == COMPACTED_FILE:
                filesystem.delete_file(file.path)
        _write(filesystem, f"{folder}/{JOB_FILE}", record["job"])
        _write(filesystem, path, {**record, "old_parts_deleted": True})
    waiting = pafs.FileSelector(_waiting(folder), allow_not_found=True)
    for file in filesystem.get_file_info(waiting):
        if is_part(file.base_name):
            filesystem.move(file.path, f"{folder}/{file.base_name}")
    filesystem.delete_file(path)
    _delete_folder(filesystem, _waiting(folder))
    return True


def _waiting(folder: str) -> str:
    return f"{folder}/{WAITING_FOLDER}"


def _delete_folder(filesystem: pafs.FileSystem, path: str) -> None:
    if filesystem.get_file_info(path).type != pafs.FileType.NotFound:
        filesystem.delete_dir(path)


def _write(filesystem: pafs.FileSystem, path: str, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    write_whole(filesystem, path, text.encode())

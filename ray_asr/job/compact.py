"""Small parts of an output become few large ones, and no reader sees a row twice or not at all.

Owns how the joined files take the place of the parts. Must not know Ray, or how files are joined.

Readers list a folder and open what they found, so no order of single renames and deletions would
do. In place, a whole new folder is built beside the output, of links and joined files, and the two
change places in one step (`exchange`). Where that is not to be had, a new output is written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import posixpath
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.fs as pafs

from ray_asr.blocks import Block, Facts, Said
from ray_asr.corpus.compacted import COMPACTED_FILE, write_record
from ray_asr.corpus.lease import LEASE_FOLDER, Lease, held
from ray_asr.corpus.restart import SWITCH_FILE, finish_switch
from ray_asr.corpus.resume import JOB_FILE, is_part, recorded_job
from ray_asr.corpus.storage import WRITING, open_filesystem, whole_file, write_whole
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.exchange import beside, exchange, obstacle, sync_folder
from ray_asr.job.joining import Joint, part_files, planned, record_of, write_all, write_joint
from ray_asr.shown import Shown

MIB = 2**20
# Stands in a new output until that is complete; one that was cut short is begun again.
BEGUN_FILE = "_compacting.json"
_RUNS = "_runs"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompactSummary(Shown):
    """What became of an output's files.

    Attributes:
        output: the folder that has the joined files.
        rows: of the output, before and after.
        wall_s: what it took, in seconds.
    """

    output: str
    rows: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    wall_s: float

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)

    def blocks(self) -> list[Block]:
        """The summary in a few facts."""
        if self.files_before == self.files_after:
            return [
                Said(
                    f"nothing to join: {self.output} has {self.files_after} files as they should "
                    "be."
                )
            ]
        mib = f"{self.bytes_before / MIB:.1f} before, {self.bytes_after / MIB:.1f} now"
        return [
            Facts(
                [
                    ("rows", f"{self.rows}"),
                    ("files", f"{self.files_before} before, {self.files_after} now"),
                    ("MiB", mib),
                    ("output", self.output),
                ]
            )
        ]


def compact(output: str, to: str = "", target_mb: float = 256.0) -> CompactSummary:
    """Join the small parts of an output, in place or into a new one.

    A reader that lists the output afterwards finds the joined files; one that listed it before and
    opens a file afterwards is told that it is not there, and never has rows twice or too few.

    Args:
        output: the folder of the transcripts.
        to: a new folder for the joined output; "" to do it in place.
        target_mb: what a joined file should not exceed, in MiB.

    Raises:
        ConfigError: it cannot be done in place there; nothing has changed.
        DataError: the output is none of ray_asr, is in use, or has a part that cannot be read.
    """
    started = time.monotonic()
    if target_mb <= 0:
        raise ConfigError(f"--target-mb is {target_mb:g}: use a size above 0 MiB.")
    filesystem, folder = open_filesystem(output)
    recorded_job(filesystem, folder)
    if to:
        return _into_new(filesystem, folder, to, target_mb * MIB, started)
    if filesystem.type_name != "local":
        raise _not_in_place(folder, "it is not on a file system of this machine")
    real = os.path.realpath(folder)
    with held(filesystem, folder, "compact") as lease:
        _remove(beside(real))  # of a run that was ended: the new folder half-built, or the old one
        why_not = obstacle(real)
        if why_not:
            raise _not_in_place(folder, why_not)
        finish_switch(filesystem, folder)
        joints = planned(part_files(filesystem, folder), target_mb * MIB)
        if any(len(joint.files) > 1 for joint in joints):
            _in_place(filesystem, real, joints, lease)
        return _summary(filesystem, folder, joints, started)


def _not_in_place(folder: str, why_not: str) -> ConfigError:
    return ConfigError(
        f"{folder} cannot be compacted in place ({why_not}): nothing has changed; use --to FOLDER "
        "to have the joined output in a new folder."
    )


def _in_place(
    filesystem: pafs.FileSystem, folder: str, joints: Sequence[Joint], lease: Lease
) -> None:
    """Build the new folder beside the old one, exchange them, and delete the old one."""
    new = beside(folder)
    try:
        try:
            _build(filesystem, folder, new, joints)
            lease.check()
            _copy_claims(f"{folder}/{LEASE_FOLDER}", f"{new}/{LEASE_FOLDER}")
            exchange(new, folder)
        except DataError:
            raise
        except OSError as error:
            raise _not_in_place(folder, error.strerror or str(error)) from error
        sync_folder(os.path.dirname(folder))
    finally:
        _remove(new)


def _build(filesystem: pafs.FileSystem, folder: str, new: str, joints: Sequence[Joint]) -> None:
    """The whole new output, on the disk, but for who has it."""
    os.mkdir(new)
    old = os.stat(folder)
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(new, old.st_uid, old.st_gid)
    for entry in os.scandir(folder):
        if is_part(entry.name) or entry.name.startswith(WRITING):
            continue
        if entry.name not in (LEASE_FOLDER, COMPACTED_FILE):
            _link(entry.path, f"{new}/{entry.name}")

    def write(joint: Joint) -> None:
        path = f"{new}/{joint.name}"
        if len(joint.files) == 1:
            os.link(f"{folder}/{joint.files[0].name}", path)
        else:
            write_joint(filesystem, folder, joint, filesystem, path)

    write_all(joints, write)
    write_record(filesystem, new, record_of(joints))
    shutil.copystat(folder, new)
    sync_folder(new)


def _copy_claims(claims: str, copies: str) -> None:
    """Whoever looks for claims next finds ours, wherever the path leads by then."""
    os.mkdir(copies)
    for entry in os.scandir(claims):
        if not entry.name.startswith("_"):
            with contextlib.suppress(FileNotFoundError):  # another one, which has withdrawn it
                shutil.copy2(entry.path, copies)


def _link(path: str, target: str) -> None:
    """The same file, or a folder of the same files, at another path too."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.mkdir(target)
        for entry in os.scandir(path):
            _link(entry.path, f"{target}/{entry.name}")
        shutil.copystat(path, target)
        sync_folder(target)
    else:
        os.link(path, target, follow_symlinks=False)


def _remove(folder: str) -> None:
    if not os.path.lexists(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        logger.warning("%s is left over and could not be deleted; delete it by hand.", folder)


def _into_new(
    filesystem: pafs.FileSystem, folder: str, to: str, target_bytes: float, started: float
) -> CompactSummary:
    """A new output: it is one, and complete, once its `_job.json` is there."""
    there = {file.base_name for file in filesystem.get_file_info(pafs.FileSelector(folder))}
    if SWITCH_FILE in there:
        raise DataError(
            f"a run with --restart on {folder} was ended while it took the old one's place: run "
            "its command again without --restart first."
        )
    target, new = open_filesystem(to)
    if target.equals(filesystem) and (new == folder or new.startswith(f"{folder}/")):
        raise ConfigError(f"--to {new} is the output itself or lies in it: name another folder.")
    _refuse_what_is_used(target, new)
    joints = planned(part_files(filesystem, folder), target_bytes)
    with held(target, new, "compact") as lease:
        _refuse_what_is_used(target, new)
        write_whole(target, f"{new}/{BEGUN_FILE}", json.dumps({"version": 1}).encode())
        for file in target.get_file_info(pafs.FileSelector(new)):
            if is_part(file.base_name):
                target.delete_file(file.path)

        def write(joint: Joint) -> None:
            lease.check()
            if len(joint.files) == 1:
                _copy(filesystem, f"{folder}/{joint.files[0].name}", target, f"{new}/{joint.name}")
            else:
                write_joint(filesystem, folder, joint, target, f"{new}/{joint.name}")

        write_all(joints, write)
        _copy_runs(filesystem, folder, target, new)
        write_record(target, new, record_of(joints))
        lease.check()
        _copy(filesystem, f"{folder}/{JOB_FILE}", target, f"{new}/{JOB_FILE}")
        target.delete_file(f"{new}/{BEGUN_FILE}")
    return _summary(target, new, joints, started)


def _refuse_what_is_used(filesystem: pafs.FileSystem, folder: str) -> None:
    """Let a new output be a folder that is not there, is empty, or was begun before."""
    listing = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    names = {file.base_name for file in listing}
    if JOB_FILE not in names and BEGUN_FILE in names:
        return
    used = sorted(names - {LEASE_FOLDER})
    if used:
        raise DataError(
            f"--to {folder} already holds {used[0]}: name a folder that is empty or not there."
        )


def _copy(source: pafs.FileSystem, path: str, target: pafs.FileSystem, new: str) -> None:
    with source.open_input_stream(path) as opened, whole_file(target, new) as sink:
        shutil.copyfileobj(opened, sink, MIB)


def _copy_runs(source: pafs.FileSystem, folder: str, target: pafs.FileSystem, new: str) -> None:
    runs = pafs.FileSelector(f"{folder}/{_RUNS}", recursive=True, allow_not_found=True)
    for file in source.get_file_info(runs):
        path = f"{new}/{posixpath.relpath(file.path, folder)}"
        if file.type == pafs.FileType.Directory:
            target.create_dir(path, recursive=True)
        elif not file.base_name.startswith(WRITING):
            target.create_dir(posixpath.dirname(path), recursive=True)
            _copy(source, file.path, target, path)


def _summary(
    filesystem: pafs.FileSystem, folder: str, joints: Sequence[Joint], started: float
) -> CompactSummary:
    listing = filesystem.get_file_info(pafs.FileSelector(folder))
    now = [file for file in listing if is_part(file.base_name)]
    return CompactSummary(
        output=folder,
        rows=sum(file.rows for joint in joints for file in joint.files),
        files_before=sum(len(joint.files) for joint in joints),
        files_after=len(now),
        bytes_before=sum(joint.size for joint in joints),
        bytes_after=sum(file.size for file in now),
        wall_s=time.monotonic() - started,
    )

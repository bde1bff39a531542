"""Folders of stores, kept on this machine: each version copied once, whole, by one process.

Owns the cache's folder, its locks, and the copying. Must not know what the files hold, models or
Ray. Who comes while another process copies waits for it, and finds the copy; a process that dies
gives its lock back and leaves a folder under a temporary name, which the next one takes away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.retries import explained
from ray_asr.corpus.storage import WRITING, open_filesystem
from ray_asr.errors import DataError
from ray_asr.private_folders import private_folder
from ray_asr.redaction import redacted

_FILES_AT_ONCE = 4
_BLOCK = 8 * 2**20
_MOST_FILES = 10_000
_CANNOT_LOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a folder in a store.

    Attributes:
        name: below the folder.
        size: in bytes.
        modified_ns: when, by the store.
    """

    name: str
    size: int
    modified_ns: int


def cache_folder() -> Path:
    """Where this user keeps what can be had again, in a folder that only they can look into.

    Raises:
        DataError: it cannot be made.
    """
    above = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(above).expanduser() / "ray_asr" / "models"
    try:
        return private_folder(folder)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made ({error.strerror or error}), where models are kept: set "
            "XDG_CACHE_HOME on every node to a folder that can be written to."
        ) from error


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One process of this machine at a time holds the lock of that name.

    Where the disk has no locks nobody waits: two may then do the same work, each whole.
    """
    descriptor = os.open(cache_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process of this machine brings a model; it is waited for.")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise
            logger.warning("%s has no locks (%s).", cache_folder(), error.strerror)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def key_of(*parts: str) -> str:
    """A name of a file for what has these names itself, whatever is in them."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def version_of(address: str) -> str:
    """What tells one version of a store's folder from another, without reading its files.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    filesystem, root = open_filesystem(address)
    return _version(_listing(filesystem, root, redacted(address)))


def copied(address: str, version: str) -> Path:
    """A copy of a store's folder on this machine, made where there is none.

    Args:
        address: of the folder.
        version: the one that is wanted, of `version_of`.

    Raises:
        DataError: the folder has changed meanwhile, or cannot be read or kept.
    """
    shown = redacted(address)
    name = f"{key_of(shown)}-{version}"
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    with locked(name):
        if not folder.is_dir():
            _copy(address, shown, version, folder)
    return folder


def _copy(address: str, shown: str, version: str, folder: Path) -> None:
    filesystem, root = open_filesystem(address)
    files = _listing(filesystem, root, shown)
    if _version(files) != version:
        raise DataError(f"{shown} has changed since the job began: give the same command again.")
    for left in folder.parent.glob(f"{WRITING}{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    size_mb = sum(file.size for file in files) / 2**20
    logger.info("%s is copied to %s (%d files, %.0f MiB).", shown, folder, len(files), size_mb)
    temporary = folder.with_name(f"{WRITING}{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
            for done in [
                threads.submit(_copy_file, filesystem, f"{root}/{file.name}", temporary, file)
                for file in files
            ]:
                done.result()
        if _version(_listing(filesystem, root, shown)) != version:
            raise DataError(f"{shown} changed while it was copied: give the same command again.")
        with contextlib.suppress(FileExistsError):  # where the disk has no locks
            os.rename(temporary, folder)
    except pa.ArrowException as error:
        raise explained(error, shown) from None
    except OSError as error:
        if isinstance(error, DataError):
            raise
        if error.errno == errno.ENOTEMPTY:
            return
        raise explained(error, shown if error.filename is None else str(folder)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_file(filesystem: pafs.FileSystem, path: str, folder: Path, file: Listed) -> None:
    target = folder.joinpath(*PurePosixPath(file.name).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with filesystem.open_input_file(path) as source, target.open("xb") as sink:
        while block := source.read(_BLOCK):
            sink.write(block)
        sink.flush()
        os.fsync(sink.fileno())
        if sink.tell() != file.size:
            raise DataError(
                f"{redacted(path)} came with {sink.tell()} of {file.size} bytes: give the same "
                "command again."
            )


def _listing(filesystem: pafs.FileSystem, root: str, shown: str) -> list[Listed]:
    selector = pafs.FileSelector(root, recursive=True, allow_not_found=True)
    try:
        found = filesystem.get_file_info(selector)
    except DataError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise explained(error, shown) from None
    files = [
        Listed(posixpath.relpath(info.path, root), info.size, info.mtime_ns or 0)
        for info in found
        if info.type == pafs.FileType.File
    ]
    if not files:
        raise DataError(f"{shown} holds no files: name the folder of a model.")
    if len(files) > _MOST_FILES:
        raise DataError(
            f"{shown} holds {len(files)} files, more than {_MOST_FILES}: name the folder of one "
            "model."
        )
    for file in files:
        parts = PurePosixPath(file.name).parts
        if ".." in parts or "\0" in file.name or file.name.startswith("/"):
            raise DataError(f"{shown} holds a file of an impossible name: name another folder.")
    return sorted(files, key=lambda file: file.name)


def _version(files: list[Listed]) -> str:
    lines = (f"{file.name}\0{file.size}\0{file.modified_ns}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]

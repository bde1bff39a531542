"""Where an export goes: that nothing else is there, and how its files are written.

Owns the rule of what is replaced, and the mark of an export in a folder. Must not know formats.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.errors import DataError
from ray_asr.redaction import redacted
from ray_asr.results.columns import OpenFilesystem

MARK_FILE = "_export.json"

_STORES = (
    "s3",
    "gcs",
    "abfs",
)  # have no folders; in them a file is a request, and may wait for one
_WRITERS = 16
_WAITING = 64
_COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Storage:
    """What opens filesystems and writes files whole.

    Attributes:
        open_filesystem: gives the filesystem of a path or an address, and the path inside it.
        whole_file: a context with a file to write, which has its name once it is whole.
        write_whole: writes bytes to a file that is seen whole or not at all.
    """

    open_filesystem: OpenFilesystem
    whole_file: Callable[[pafs.FileSystem, str], contextlib.AbstractContextManager[pa.NativeFile]]
    write_whole: Callable[..., None]


class Place:
    """The file or the folder of one export.

    Args:
        destination: a path or an address.
        output: what is exported, which an export never touches.
        storage: opens and writes.
        is_folder: whether the format is a folder of files.

    Raises:
        DataError: the destination is in the output, or the output in it.
    """

    def __init__(self, destination: str, output: str, storage: Storage, is_folder: bool) -> None:
        self.filesystem, path = storage.open_filesystem(destination)
        self.path = path.rstrip("/") or path
        self.is_folder = is_folder
        self._shown = redacted(destination)
        self._storage = storage
        self._made: set[str] = set()
        filesystem, folder = storage.open_filesystem(output)
        if filesystem.equals(self.filesystem):
            here, there = self._real(self.path), self._real(folder.rstrip("/"))
            if f"{here}/".startswith(f"{there}/") or f"{there}/".startswith(f"{here}/"):
                raise DataError(
                    f"the destination {self._shown} and the output {redacted(output)} lie in one "
                    "another, and readers would take the one for the other; name a place beside it."
                )

    def clear(self, overwrite: bool) -> None:
        """See to it that nothing is there, and that something can be.

        Args:
            overwrite: replace a file; of folders only one that an export has made.

        Raises:
            DataError: something is there that stays.
        """
        info = self.filesystem.get_file_info(self.path)
        if self.is_folder:
            self._clear_folder(info, overwrite)
            return
        if info.type == pafs.FileType.Directory:
            raise DataError(
                f"the destination {self._shown} is a folder, and this format is one file; name a "
                "file, which is compressed where its name ends in .gz."
            )
        if info.type == pafs.FileType.File and not overwrite:
            raise DataError(
                f"the destination {self._shown} is there; name another file, or give --overwrite "
                "to replace it."
            )
        self.folder(self.path.rpartition("/")[0])

    def _clear_folder(self, info: pafs.FileInfo, overwrite: bool) -> None:
        if info.type == pafs.FileType.File:
            raise DataError(
                f"the destination {self._shown} is a file, and this format is a folder of files; "
                "name a folder."
            )
        inside: list[str] = []
        if info.type == pafs.FileType.Directory:
            found = self.filesystem.get_file_info(pafs.FileSelector(self.path))
            inside = sorted(one.base_name for one in found)
        if inside and MARK_FILE not in inside:
            raise DataError(
                f"the destination {self._shown} already holds {inside[0]}, which no export has "
                "written; name an empty or a new folder."
            )
        if inside and not overwrite:
            raise DataError(
                f"the destination {self._shown} holds an export; name another folder, or give "
                "--overwrite to replace it."
            )
        if inside:
            self.filesystem.delete_dir_contents(self.path)
        self.folder(self.path)

    def mark(self, facts: dict[str, Any]) -> None:
        """Say in a folder what it is: an export, complete or not."""
        if self.is_folder:
            text = json.dumps(facts, indent=2, ensure_ascii=False)
            self._storage.write_whole(
                self.filesystem, f"{self.path}/{MARK_FILE}", f"{text}\n".encode()
            )

    def folder(self, path: str) -> None:
        """Have a folder, where the filesystem has such."""
        kind = self.filesystem.type_name.rpartition("+")[2]
        if path and path not in self._made and kind not in _STORES:
            self.filesystem.create_dir(path, recursive=True)
            self._made.add(path)

    def raw(self, name: str = "") -> contextlib.AbstractContextManager[pa.NativeFile]:
        """A file of the folder to write (or the export's only one), seen once it is whole."""
        path = f"{self.path}/{name}" if name else self.path
        self.folder(path.rpartition("/")[0])
        return self._storage.whole_file(self.filesystem, path)

    @contextlib.contextmanager
    def lines(self, name: str = "") -> Iterator[Callable[[str], object]]:
        """Like `raw`, for text; compressed where the name ends in `.gz`."""
        with self.raw(name) as sink:
            if not (name or self.path).endswith(".gz"):
                yield lambda text: sink.write(text.encode(errors="replace"))
                return
            with gzip.GzipFile("", "wb", _COMPRESSION, sink, mtime=0) as packed:  # type: ignore[arg-type]
                yield lambda text: packed.write(text.encode(errors="replace"))

    @contextlib.contextmanager
    def small_files(self) -> Iterator[Callable[[str, str], None]]:
        """Writes texts to files of the folder by name, on a store many at a time."""

        def write(name: str, text: str) -> None:
            path = f"{self.path}/{name}"
            self.folder(path.rpartition("/")[0])
            self._storage.write_whole(self.filesystem, path, text.encode(errors="replace"),
                                      durable=False)  # fmt: skip

        if self.filesystem.type_name == "local":
            yield write
            return
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(_WRITERS) as threads:

            def give(name: str, text: str) -> None:
                waiting.append(threads.submit(write, name, text))
                if len(waiting) >= _WAITING:
                    waiting.popleft().result()

            yield give
            while waiting:
                waiting.popleft().result()

    def _real(self, path: str) -> str:
        return os.path.realpath(path) if self.filesystem.type_name == "local" else path

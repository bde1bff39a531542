"""Where files are, and how one is written whole.

Owns filesystems of local paths and URIs. Must not know models, Ray, or what the files hold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.errors import DataError

WRITING = "_writing."  # begins the name of a file that is not whole yet; readers leave it out
_OBJECT_STORES = ("s3", "gcs", "abfs")  # a PUT is whole or not there; renaming is a copy


def open_filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a local path or URI, and the path inside it.

    Raises:
        DataError: no filesystem knows the URI.
    """
    try:
        if "://" in path:
            return pafs.FileSystem.from_uri(path)
        return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be opened ({error}); check the address.") from error


@contextlib.contextmanager
def whole_file(filesystem: pafs.FileSystem, path: str) -> Iterator[pa.NativeFile]:
    """A file to write of which a reader sees all or nothing: it has its name at the end."""
    folder, _, name = path.rpartition("/")
    is_store = filesystem.type_name in _OBJECT_STORES
    temporary = path if is_store else f"{folder}/{WRITING}{name}"
    with filesystem.open_output_stream(temporary) as sink:
        yield sink
    if temporary != path:
        filesystem.move(temporary, path)


def write_whole(filesystem: pafs.FileSystem, path: str, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none of it."""
    with whole_file(filesystem, path) as sink:
        sink.write(data)

"""The file that a row names: read whole, if it is one that a row may name.

Owns what a row may have read. Must not know what audio is, models or Ray. A table may come from
anywhere, and so may the paths in it: they end as a failed row where reading would not end, would
fill the memory, or would send this machine's credentials where the row says.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.storage import open_filesystem
from ray_asr.errors import DataError, ErrorCode, MissingFileError, RowError, StorageError
from ray_asr.redaction import redacted

MOST_BYTES = 8 * 2**30
# Stores, and no more of what there are packages for: some protocols run what they read, others open
# files of this machine in their own way, or log in where the address says.
PROTOCOLS = frozenset(
    [
        "file", "s3", "gs", "gcs", "hdfs", "webhdfs", "viewfs", "abfs", "abfss", "az", "adl", "oss",
        "hf", "http", "https",
    ]
)  # fmt: skip
# Options of an address by which a request, and what it is signed with, goes to another server.
_ELSEWHERE = frozenset(["endpoint_override", "scheme", "proxy_options"])
_METADATA_HOSTS = frozenset(["metadata", "metadata.google.internal"])


def read_row_file(path: str) -> bytes:
    """What is in the file at a local path or URI.

    Raises:
        RowError: it is not there, no row may name it, it is no regular file, is larger than
            `MOST_BYTES`, or cannot be read; the message has the path and nothing of what is in it.
    """
    try:
        _check_address(path)
        filesystem, inner = open_filesystem(path)
        return read_regular(filesystem, inner)
    except MissingFileError:
        raise _unreadable(path, "does not exist") from None
    except StorageError as error:  # a sentence about this path, without secrets
        raise RowError(ErrorCode.AUDIO_UNREADABLE, str(error)) from None
    except FileNotFoundError as error:
        raise _unreadable(path, "does not exist") from error
    # An unknown home folder is a RuntimeError, a null byte in a path a ValueError.
    except (OSError, pa.ArrowException, DataError, RuntimeError, ValueError) as error:
        raise _unreadable(path, "cannot be read") from error


def _unreadable(path: str, what: str) -> RowError:
    return RowError(ErrorCode.AUDIO_UNREADABLE, f"{redacted(path)} {what}.")


def _check_address(path: str) -> None:
    """Refuse an address that no row may name; a local path is none.

    Raises:
        RowError: it is one of these.
        ValueError: it is no address.
    """
    if "://" not in path:
        return
    parts = urlsplit(path)
    if parts.scheme.lower() not in PROTOCOLS:
        raise _unreadable(path, f"has a protocol that a row may not name ({parts.scheme})")
    if _ELSEWHERE.intersection(name for name, _ in parse_qsl(parts.query)):
        raise _unreadable(path, "names a server of its own for a store, which a row may not")
    host = (parts.hostname or "").rstrip(".")
    try:
        is_metadata = ipaddress.ip_address(host).is_link_local
    except ValueError:
        is_metadata = host in _METADATA_HOSTS
    if is_metadata:
        raise _unreadable(path, "is where a machine asks for its own credentials")


def read_regular(filesystem: pafs.FileSystem, path: str) -> bytes:
    """All of a file; on this machine only of a regular one of at most `MOST_BYTES`.

    Raises:
        RowError: it is a folder, a pipe, a device, or too large.
        OSError, ValueError: it cannot be read.
    """
    if filesystem.type_name != "local":
        with filesystem.open_input_file(path) as source:
            if source.size() > MOST_BYTES:
                raise _unreadable(path, f"is larger than {MOST_BYTES // 2**30} GiB")
            return source.read()
    # Looked at before it is opened, since opening some devices does something, and after, since it
    # may be another by then; a pipe that nobody writes to would be waited for.
    _check_regular(path, os.stat(path))
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        found = os.fstat(source.fileno())
        _check_regular(path, found)
        if found.st_size > MOST_BYTES:
            raise _unreadable(path, f"is larger than {MOST_BYTES // 2**30} GiB")
        # No more than it has now: files of the kernel have no size and may have no end.
        return source.read(found.st_size)


def _check_regular(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "is no file: folders, pipes and devices are not read")

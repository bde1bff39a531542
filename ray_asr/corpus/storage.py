"""Where files are, and how one is written whole.

Owns filesystems of local paths and addresses: which library opens which, with what settings. Must
not know models, Ray, or what the files hold.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.fsspec_files import open_fsspec
from ray_asr.corpus.patient_files import PatientHandler
from ray_asr.corpus.retries import explained, patiently
from ray_asr.errors import DataError, StorageError
from ray_asr.redaction import HIDDEN, redacted

WRITING = "_writing."  # begins the name of a file that is not whole yet; readers leave it out

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BY_PYARROW = ("gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_OBJECT_STORES = ("s3", "gcs", "abfs")  # a PUT is whole or not there; renaming is a copy
_S3_TEXTS = ("region", "scheme", "endpoint_override")
_S3_FLAGS = (
    "allow_bucket_creation", "allow_bucket_deletion", "force_virtual_addressing", "anonymous",
)  # fmt: skip
_S3_CONNECT_S = 10.0
# Without a byte, before a request is given up; the client's own 3 is less than a busy store takes.
_S3_SILENT_S = 30.0
_S3_ATTEMPTS = 3  # of the client itself, within each of ours
_PIECE = 8 * 2**20  # bytes given to a store at a time, and after four of them it has to have them
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EISDIR)


def open_filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a local path or an address, and the path inside it.

    Local paths and `file://` are the machine's; `s3://`, `gs://`, `hdfs://`, `abfs://` are opened
    by pyarrow with its options in the query, any other protocol by fsspec. What is not local is
    patient (`patient_files`), and opened once a process.

    Raises:
        DataError: nothing opens it; the sentence says what to check, or what to install.
    """
    match = _ADDRESS.match(path)
    if not match:
        return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    protocol = match[1].lower()
    if protocol == "s3":
        return _open_s3(path)
    try:
        if protocol == "file":
            return pafs.FileSystem.from_uri(path)
        if protocol not in _BY_PYARROW:
            return open_fsspec(protocol, path)
        parts = urlsplit(path, allow_fragments=False)
        filesystem, root = _by_pyarrow(f"{protocol}://{parts.netloc}/", parts.query)
        return filesystem, posixpath.join(root, unquote(parts.path).lstrip("/")).rstrip("/")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _cannot_open(path, error) from None  # its text may hold secrets


def _cannot_open(path: str, error: Exception) -> DataError:
    if isinstance(error, StorageError):
        return error
    reason = redacted(str(error)).strip().partition("\n")[0]
    return DataError(f"{redacted(path)} cannot be opened ({reason}): check the address.")


@functools.lru_cache(maxsize=64)
def _by_pyarrow(root: str, query: str) -> tuple[pafs.FileSystem, str]:
    inner, path = pafs.FileSystem.from_uri(f"{root}?{query}" if query else root)
    prefix = f"{root.partition('://')[0]}://"
    return pafs.PyFileSystem(PatientHandler(inner, prefix)), path


def _open_s3(path: str) -> tuple[pafs.FileSystem, str]:
    parts = urlsplit(path, allow_fragments=False)
    _, _, bucket = parts.netloc.rpartition("@")
    if not bucket or ("@" in parts.path and ":" in parts.netloc):
        raise DataError(
            f"{redacted(path)} cannot be opened: write it as s3://bucket/path, with %2F for a / in "
            "a secret key (better, leave keys to the environment)."
        )
    variables = tuple((k, v) for k, v in sorted(os.environ.items()) if k.startswith("AWS_"))
    try:
        filesystem = _s3(parts.netloc, parts.query, variables)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _cannot_open(path, error) from None
    return filesystem, posixpath.join(bucket, unquote(parts.path).lstrip("/")).rstrip("/")


@functools.lru_cache(maxsize=64)
def _s3(authority: str, query: str, environment: tuple[tuple[str, str], ...]) -> pafs.FileSystem:
    """The store of one bucket's address, as its query and the environment's `AWS_*` say."""
    user, _, bucket = authority.rpartition("@")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - {*_S3_TEXTS, *_S3_FLAGS})
    if unknown:
        raise ValueError(
            f'"{unknown[0]}" is no option of an S3 address, which takes '
            f"{', '.join((*_S3_TEXTS, *_S3_FLAGS))}"
        )
    variables = dict(environment)
    endpoint = (
        options.get("endpoint_override")
        or variables.get("AWS_ENDPOINT_URL_S3")
        or variables.get("AWS_ENDPOINT_URL")
        or ""
    )
    scheme, separator, host = endpoint.rpartition("://")
    region = (
        options.get("region") or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
    )
    if not region and endpoint:
        region = "us-east-1"  # what stores that are not Amazon's take
    if not region:
        region = patiently(f"s3://{bucket}", lambda: pafs.resolve_s3_region(bucket))
    access_key, _, secret_key = (unquote(part) for part in user.partition(":"))
    is_given = bool(access_key) and access_key != HIDDEN  # as `redacted` left it: not known
    inner = pafs.S3FileSystem(
        access_key=access_key if is_given else None,
        secret_key=secret_key if is_given else None,
        region=region,
        endpoint_override=host.rstrip("/") or None,
        scheme=options.get("scheme") or (scheme if separator else "https"),
        connect_timeout=_S3_CONNECT_S,
        request_timeout=_S3_SILENT_S,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS),
        # A small file is one request then, of which nothing is left where a process dies in it.
        allow_delayed_open=True,
        **{name: _flag(name, options[name]) for name in _S3_FLAGS if name in options},
    )
    return pafs.PyFileSystem(PatientHandler(inner, "s3://"))


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f'{name} is "{text}": use true or false')
    return text.lower() in ("true", "1")


def read_whole(filesystem: pafs.FileSystem, path: str) -> bytes:
    """All bytes of a file, in as few requests as its size takes."""
    with filesystem.open_input_file(path) as source:
        return source.read()


@contextlib.contextmanager
def whole_file(filesystem: pafs.FileSystem, path: str) -> Iterator[pa.NativeFile]:
    """A file to write of which a reader sees all or nothing: it has its name at the end.

    On a local disk it outlives a loss of power from then on. For any other place it is written to
    a temporary file of this machine first, so that it can be given to a store again and again.
    """
    if filesystem.type_name == "local":
        with _local_file(path) as sink:
            yield sink
        return
    with tempfile.NamedTemporaryFile(prefix="ray_asr_") as spool:
        with pa.OSFile(spool.name, "wb") as sink:
            yield sink
        is_empty = os.path.getsize(spool.name) == 0  # of which there is no map
        data = pa.py_buffer(b"") if is_empty else pa.memory_map(spool.name).read_buffer()
        _put(filesystem, path, data)


def write_whole(
    filesystem: pafs.FileSystem, path: str, data: bytes | pa.Buffer, *, durable: bool = True
) -> None:
    """Write a file so that a reader sees all of it or none of it; see `whole_file`.

    Args:
        filesystem: where `path` is.
        path: the file.
        data: all of it.
        durable: that it is to outlive a loss of power; waiting for a disk takes its time.

    Raises:
        StorageError: it cannot be written.
    """
    if filesystem.type_name != "local":
        _put(filesystem, path, pa.py_buffer(data))
        return
    try:
        with _local_file(path, durable=durable) as sink:
            sink.write(data)
    except OSError as error:
        raise explained(error, path) from error


def whole_name(name: str) -> str:
    """The name that a file has once it is whole, whether it is or is still being written."""
    return name.removeprefix(WRITING).partition(".")[2] if name.startswith(WRITING) else name


def _temporary(path: str) -> str:
    """A name beside `path` that no other writer of the same file has."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{WRITING}{uuid.uuid4().hex[:12]}.{name}"


@contextlib.contextmanager
def _local_file(path: str, *, durable: bool = True) -> Iterator[pa.NativeFile]:
    temporary = _temporary(path)
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(Path(temporary).unlink, missing_ok=True)
        with pa.OSFile(temporary, "wb") as sink:
            yield sink
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
    if durable:
        _sync(posixpath.dirname(path) or ".")


def _sync(path: str) -> None:
    """Have the disk hold a file's bytes, or a folder's names, before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:  # some network disks have no such thing for folders
            raise
    finally:
        os.close(descriptor)


def _put(filesystem: pafs.FileSystem, path: str, data: pa.Buffer) -> None:
    """Give a store all of a file, again where that fails: what is there is the same each time.

    In a thread of its own: what interrupts a task of Ray's or a terminal's command comes to the
    main thread, and an upload that is left in the middle would be completed as it is.
    """
    is_store = filesystem.type_name.rpartition("+")[2] in _OBJECT_STORES
    target = path if is_store else _temporary(path)

    def upload() -> None:
        with filesystem.open_output_stream(target) as sink:
            for start in range(0, data.size, _PIECE):
                sink.write(data.slice(start, min(_PIECE, data.size - start)))
                if start // _PIECE % 4 == 3:
                    sink.flush()  # S3's client holds what it has not sent

    handler = getattr(filesystem, "handler", None)
    where, patience = redacted(path), None
    if isinstance(handler, PatientHandler):
        where, patience = handler.where(path), handler.patience
    with ThreadPoolExecutor(1) as thread:
        thread.submit(patiently, where, upload, patience).result()
    if target != path:
        filesystem.move(target, path)

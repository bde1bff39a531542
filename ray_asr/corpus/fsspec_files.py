"""Files of any protocol that fsspec has a package for, as a pyarrow filesystem.

Owns what fsspec says otherwise than pyarrow's filesystems do. Must not know which protocols those
are, or what the files hold.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.patient_files import PatientHandler
from ray_asr.corpus.retries import may_pass
from ray_asr.errors import DataError
from ray_asr.redaction import redacted

# Of what comes without saying how large it is, no more than a row's audio may have is taken.
_LARGEST_BYTES = 2**31


def open_fsspec(protocol: str, address: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of an address, and the path inside it.

    Raises:
        DataError: fsspec does not know the protocol, or its package is not installed.
    """
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except ValueError:
        raise DataError(
            f'{redacted(address)} cannot be opened: nothing here knows "{protocol}://"; use a '
            "path, s3://, gs://, hdfs://, abfs://, or a protocol of a package for fsspec."
        ) from None
    except ImportError as error:
        behind = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        package = (behind.name or protocol).partition(".")[0]
        raise DataError(
            f'{redacted(address)} cannot be opened: "{protocol}://" needs the package {package}; '
            f"install it on every node (pip install {package})."
        ) from None
    inner = kind._strip_protocol(address)
    # A path that still has its protocol (http) is an address of its own.
    prefix = "" if "://" in inner else f"{protocol}://"
    options = tuple(sorted(kind._get_kwargs_from_urls(address).items()))
    return _patient(protocol, options, prefix), inner


@functools.lru_cache(maxsize=64)
def _patient(protocol: str, options: tuple[tuple[str, Any], ...], prefix: str) -> pafs.FileSystem:
    inner = pafs.PyFileSystem(_Handler(fsspec.filesystem(protocol, **dict(options))))
    return pafs.PyFileSystem(PatientHandler(inner, prefix))


class _Handler(pafs.FSSpecHandler):
    """Pyarrow's own, but for a failed request, which is not taken for a file that is missing."""

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> pafs.FileInfo:
        try:
            return self._create_file_info(path, self.fs.info(path))
        except FileNotFoundError as error:
            if may_pass(error):
                raise
            return pafs.FileInfo(path, pafs.FileType.NotFound)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        if self._info(selector.base_dir).type == pafs.FileType.NotFound:
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(selector.base_dir)
        return super().get_file_info_selector(selector)

    def open_input_file(self, path: str) -> pa.NativeFile:
        file: Any = self.fs.open(path, mode="rb")
        if getattr(file, "size", 0) is None:
            with file:
                data = file.read(_LARGEST_BYTES + 1)
            if len(data) > _LARGEST_BYTES:
                raise OSError(f"more than {_LARGEST_BYTES // 2**30} GiB came")
            file = io.BytesIO(data)
        return pa.PythonFile(file, mode="r")

"""A filesystem over another one that waits out what may pass, and reads on where it broke off.

Owns how each operation is tried again. Must not know which stores there are, or what their files
hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.retries import Patience, patiently
from ray_asr.errors import StorageError
from ray_asr.redaction import redacted

T = TypeVar("T")

# At most so much is asked of a store at once, so that what breaks off is soon caught up with.
_MOST_AT_ONCE = 32 * 2**20


class PatientHandler(pafs.FileSystemHandler):
    """A filesystem whose operations are tried again while their errors may pass.

    Reading goes on where it was broken off. Writing through a stream is not tried again, since only
    who has the data can give it once more: `storage.write_whole` does.

    Args:
        inner: the filesystem itself.
        prefix: what stands before its paths in an address, such as "s3://".
        patience: how often something is tried again.
    """

    def __init__(
        self, inner: pafs.FileSystem, prefix: str, patience: Patience | None = None
    ) -> None:
        self.inner = inner
        self.prefix = prefix
        self.patience = patience or Patience()

    def where(self, path: str) -> str:
        """The address of a path inside, as it may be shown."""
        return redacted(f"{self.prefix}{path}")

    def _do(self, path: str, operation: Callable[[], T]) -> T:
        return patiently(self.where(path), operation, self.patience)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PatientHandler):
            return NotImplemented
        return self is other or self.inner.equals(other.inner)

    def __hash__(self) -> int:
        return hash(self.prefix)

    def get_type_name(self) -> str:
        """What the filesystem is, behind a word of what this one adds."""
        return f"patient+{self.inner.type_name}"

    def normalize_path(self, path: str) -> str:
        """As the filesystem itself does."""
        return self.inner.normalize_path(path)

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        """What stands at each path."""
        return self._do(paths[0] if paths else "", lambda: self.inner.get_file_info(paths))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """What stands below a folder."""
        return self._do(selector.base_dir, lambda: self.inner.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        """Make a folder, which may be there."""
        self._do(path, lambda: self.inner.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        """Delete a folder with all that is in it."""
        self._once(path, lambda: self.inner.delete_dir(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete all that is in a folder."""
        self._do(path, lambda: self.inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok))

    def delete_root_dir_contents(self) -> None:
        """Refuse: that would be a whole store."""
        raise StorageError(
            f"all of {self.where('')} is not deleted; delete the folder by its name."
        )

    def delete_file(self, path: str) -> None:
        """Delete a file."""
        self._once(path, lambda: self.inner.delete_file(path))

    def move(self, src: str, dest: str) -> None:
        """Rename a file, over another one of that name."""
        self._once(src, lambda: self.inner.move(src, dest))

    def _once(self, path: str, operation: Callable[[], None]) -> None:
        """Do what takes `path` away; gone after a lost answer, it was this that took it."""
        tries = 0

        def attempt() -> None:
            nonlocal tries
            tries += 1
            try:
                operation()
            except FileNotFoundError:
                if tries == 1:
                    raise

        self._do(path, attempt)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a file, over another one of that name."""
        self._do(src, lambda: self.inner.copy_file(src, dest))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open a file to be read from its start."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open a file to be read anywhere."""
        return pa.PythonFile(_PatientFile(self, path), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Open a file to be written, as it comes: what is packed is packed by now."""
        return self._do(
            path,
            lambda: self.inner.open_output_stream(path, compression=None, metadata=metadata),
        )

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        """Open a file to be written on from its end."""
        return self._do(
            path,
            lambda: self.inner.open_append_stream(path, compression=None, metadata=metadata),
        )


class _PatientFile:
    """A file that is opened again, and read on, where reading it breaks off."""

    def __init__(self, handler: PatientHandler, path: str) -> None:
        self._handler = handler
        self._path = path
        self._file: pa.NativeFile | None = None  # at `_position`, where there is one
        self._position = 0
        self._size = -1
        self.closed = False
        self._size = self._with_file(lambda file: file.size())

    def _with_file(self, operation: Callable[[pa.NativeFile], T]) -> T:
        def attempt() -> T:
            # An error leaves a file at a place that is not known: it is opened anew then.
            file, self._file = self._file or self._opened(), None
            result = operation(file)
            self._file = file
            return result

        return patiently(self._handler.where(self._path), attempt, self._handler.patience)

    def _opened(self) -> pa.NativeFile:
        file = self._handler.inner.open_input_file(self._path)
        if 0 <= self._size != file.size():
            raise StorageError(
                f"{self._handler.where(self._path)} was changed while it was read: run the same "
                "command again once nobody writes it."
            )
        file.seek(self._position)
        return file

    def read_buffer(self, nbytes: int = -1) -> pa.Buffer:
        """Up to so many bytes from where one is; fewer only at the end."""
        left = max(self._size - self._position, 0)
        wanted = left if nbytes < 0 else min(nbytes, left)
        if wanted <= _MOST_AT_ONCE:
            return self._read(wanted)
        whole = bytearray()
        while len(whole) < wanted:
            whole += memoryview(self._read(min(wanted - len(whole), _MOST_AT_ONCE)))
        return pa.py_buffer(whole)

    def read(self, nbytes: int = -1) -> bytes:
        """Like `read_buffer`."""
        return self.read_buffer(nbytes).to_pybytes()

    def _read(self, nbytes: int) -> pa.Buffer:
        def operation(file: pa.NativeFile) -> pa.Buffer:
            data = file.read_buffer(nbytes)
            if data.size < nbytes:
                raise ConnectionResetError(f"{nbytes - data.size} of {nbytes} bytes did not come")
            return data

        data = self._with_file(operation)
        self._position += data.size
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a place counted from the start (0), from here (1) or from the end (2)."""
        self._position = (0, self._position, self._size)[whence] + position
        if self._file is not None:
            self._file.seek(self._position)
        return self._position

    def tell(self) -> int:
        """Where one is."""
        return self._position

    def readable(self) -> bool:
        """As it says."""
        return True

    def seekable(self) -> bool:
        """As it says."""
        return True

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        self.closed = True
        if file is not None:
            file.close()

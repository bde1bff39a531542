"""A filesystem that breaks off and one over it that does not: the same bytes, each thing once."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ray_asr.corpus.patient_files import PatientHandler
from ray_asr.corpus.retries import Patience
from ray_asr.errors import StorageError

T = TypeVar("T")
LOCAL = pafs.LocalFileSystem()
QUICK = Patience(attempts=4, first_wait_s=0.0)


class Breaking(pafs.FileSystemHandler):
    """The machine's files, of which every n-th operation breaks off, some after they were done."""

    def __init__(self, every: int) -> None:
        self.every, self.count, self.reads = every, 0, 0

    def do(self, operation: Callable[[], T]) -> T:
        self.count += 1
        if self.count % self.every:
            return operation()
        if self.count % 2:
            operation()  # it was done, and the answer was lost
        raise ConnectionResetError("reset by peer")

    def get_type_name(self) -> str:
        return "breaking"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self.do(lambda: LOCAL.get_file_info(paths))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return self.do(lambda: LOCAL.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        self.do(lambda: LOCAL.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        self.do(lambda: LOCAL.delete_dir(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise AssertionError("not asked for")

    def delete_root_dir_contents(self) -> None:
        raise AssertionError("not asked for")

    def delete_file(self, path: str) -> None:
        self.do(lambda: LOCAL.delete_file(path))

    def move(self, src: str, dest: str) -> None:
        self.do(lambda: LOCAL.move(src, dest))

    def copy_file(self, src: str, dest: str) -> None:
        self.do(lambda: LOCAL.copy_file(src, dest))

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> Any:
        return self.do(lambda: pa.PythonFile(BreakingFile(path, self), mode="r"))

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        return self.do(lambda: LOCAL.open_output_stream(path))

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise AssertionError("not asked for")


class BreakingFile:
    """A file whose reads fail, or end too soon."""

    closed = False

    def __init__(self, path: str, handler: Breaking) -> None:
        self._file, self._handler = io.BytesIO(Path(path).read_bytes()), handler
        self.seek, self.tell, self.close = self._file.seek, self._file.tell, self._file.close

    def read(self, nbytes: int) -> bytes:
        data = self._handler.do(lambda: self._file.read(nbytes))
        self._handler.reads += 1
        return data[: len(data) // 2] if self._handler.reads % 4 == 0 else data


def patient(every: int = 3) -> pafs.PyFileSystem:
    return pafs.PyFileSystem(PatientHandler(pafs.PyFileSystem(Breaking(every)), "test://", QUICK))


@pytest.mark.parametrize("every", [3, 5, 7])
def test_reading_goes_on_where_it_broke_off(tmp_path: Path, every: int) -> None:
    data = os.urandom(10_001)
    (tmp_path / "file").write_bytes(data)
    filesystem = patient(every)
    with filesystem.open_input_file(f"{tmp_path}/file") as file:
        assert file.size() == len(data)
        assert b"".join(file.read(997) for _ in range(11)) == data
        file.seek(5)
        assert file.read(100) == data[5:105]
        assert file.read_at(77, 9000) == data[9000:9077]
        file.seek(9_990)
        assert file.read() == data[9_990:]
        assert file.read(1) == b""
    with filesystem.open_input_stream(f"{tmp_path}/file") as stream:
        assert stream.read() == data


def test_a_parquet_file_is_read_whole_through_breaks(tmp_path: Path) -> None:
    table = pa.table({"id": range(5000), "data": [os.urandom(30) for _ in range(5000)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=500)
    with patient().open_input_file(f"{tmp_path}/t.parquet") as file:
        assert pq.ParquetFile(file).read().equals(table)


def test_every_operation_is_done_once_whatever_answer_was_lost(tmp_path: Path) -> None:
    filesystem = patient(2)
    for number in range(6):
        folder = f"{tmp_path}/folder-{number}/deeper"
        filesystem.create_dir(folder, recursive=True)
        Path(folder, "a").write_bytes(b"a")
        filesystem.copy_file(f"{folder}/a", f"{folder}/b")
        filesystem.move(f"{folder}/a", f"{folder}/c")
        found = filesystem.get_file_info(pafs.FileSelector(folder))
        assert sorted(info.base_name for info in found) == ["b", "c"]
        filesystem.delete_file(f"{folder}/b")
        assert os.listdir(folder) == ["c"]
        filesystem.delete_dir(folder)
        assert filesystem.get_file_info(folder).type == pafs.FileType.NotFound


def test_what_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    filesystem = patient(1000)
    for attempt in (
        lambda: filesystem.open_input_file(f"{tmp_path}/none"),
        lambda: filesystem.delete_file(f"{tmp_path}/none"),
        lambda: filesystem.move(f"{tmp_path}/none", f"{tmp_path}/some"),
    ):
        with pytest.raises(FileNotFoundError, match=r"test://.*none does not exist") as raised:
            attempt()
        assert isinstance(raised.value, StorageError)
    assert filesystem.handler.inner.handler.count == 3


def test_a_file_that_changed_while_it_was_read_is_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1000))
    with patient(2).open_input_file(str(path)) as file:
        path.unlink()
        path.write_bytes(os.urandom(999))
        with pytest.raises(StorageError, match="was changed while it was read"):
            [file.read_at(100, 0) for _ in range(5)]


def test_a_store_that_stays_broken_ends_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="4 times in a row"):
        patient(1).get_file_info(str(tmp_path))


def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    filesystem = pafs.PyFileSystem(PatientHandler(LOCAL, "test://", QUICK))
    back = pickle.loads(pickle.dumps(filesystem))
    assert back.equals(filesystem)
    assert back.handler.patience == QUICK
    assert not back.equals(patient())

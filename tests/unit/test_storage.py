"""Filesystems of local paths and addresses, and files that are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from ray_asr.corpus.storage import (
    WRITING,
    open_filesystem,
    read_whole,
    whole_file,
    whole_name,
    write_whole,
)
from ray_asr.errors import DataError, StorageError
from tests.fakes import write_input

LOCAL = pafs.LocalFileSystem()
SECRET = "s3cr3t"


def test_paths_and_uris_name_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_input(tmp_path / "a.parquet", [b"x"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    found = {
        open_filesystem(p)[1] for p in ("a.parquet", "~/a.parquet", f"file://{tmp_path}/a.parquet")
    }
    assert found == {str(tmp_path / "a.parquet")}


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gopher://there/it", 'nothing here knows "gopher://"'),
        (f"gopher://me:{SECRET}@there/it", 'nothing here knows "gopher://"'),
        (f"s3://key:{SECRET}@/x", "write it as s3://bucket/path"),
        (f"s3://key:s/{SECRET}@bucket/x", "write it as s3://bucket/path"),
        (f"s3://key:{SECRET}@bucket/x?secret={SECRET}&region=r", '"secret" is no option'),
        ("s3://bucket/x?region=r&anonymous=perhaps", 'anonymous is "perhaps": use true or false'),
        (f"gs://{SECRET}:{SECRET}@bucket/x?password={SECRET}", "cannot be opened"),
        (f"hdfs://me:{SECRET}@nowhere/x", "cannot be opened"),
    ],
)
def test_what_nothing_opens_is_said_in_a_sentence_without_secrets(address: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        open_filesystem(address)
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("protocol", "package"), [("sftp", "paramiko"), ("gdrive", "gdrive_fsspec")]
)
def test_a_protocol_without_its_package_names_it(
    protocol: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(DataError, match=f"pip install {package}"):
        open_filesystem(f"{protocol}://host/x")


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("s3://bucket/a/b%20c.wav", "bucket/a/b c.wav"),
        ("s3://bucket/a/take#2.wav", "bucket/a/take#2.wav"),
        ("s3://bucket/folder/", "bucket/folder"),
        ("s3://bucket", "bucket"),
        ("s3://key:s%2Fe@bucket/x", "bucket/x"),
        ("gs://anonymous@bucket/a%20b/c", "bucket/a b/c"),
        ("abfs://container@account.dfs.core.windows.net/a/b", "container/a/b"),
        ("memory://folder/x", "/folder/x"),
        ("https://host/x.wav?X-Amz-Signature=1", "https://host/x.wav?X-Amz-Signature=1"),
    ],
)
def test_addresses_lead_to_the_path_inside(
    address: str, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-9")  # so that nobody is asked where a bucket is
    filesystem, path = open_filesystem(address)
    assert path == inside
    assert open_filesystem(address)[0] is filesystem, "opened once a process"


def test_where_a_bucket_is_is_asked_only_where_nothing_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask(bucket: str) -> str:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(pafs, "resolve_s3_region", ask)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    bucket = f"no-such-bucket-{uuid.uuid4().hex}"

    def region(query: str = "") -> str:
        filesystem, _ = open_filesystem(f"s3://{bucket}/x{query}")
        return filesystem.handler.inner.region

    assert region("?region=eu-west-1") == "eu-west-1"
    assert region("?endpoint_override=127.0.0.1:1&scheme=http") == "us-east-1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert region() == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert region() == "eu-west-2"
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    with pytest.raises(StorageError, match="the network was asked"):
        region()


def test_a_whole_file_replaces_the_one_before(tmp_path: Path) -> None:
    for data in (b"first", pa.py_buffer(b"second and longer"), b"3", b""):
        write_whole(LOCAL, f"{tmp_path}/file", data)
        assert (tmp_path / "file").read_bytes() == bytes(data)
        assert os.listdir(tmp_path) == ["file"]


def test_writers_of_one_name_do_not_tear_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    texts = [bytes([65 + n]) * 200_000 for n in range(8)]
    ready = threading.Barrier(len(texts))

    def write(data: bytes) -> None:
        ready.wait()
        for _ in range(20):
            write_whole(LOCAL, path, data)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if os.path.exists(path):
            assert read_whole(LOCAL, path) in texts
    assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_is_killed_leaves_no_file_of_the_name(tmp_path: Path) -> None:
    code = (
        "import sys, pyarrow.fs as f; from ray_asr.corpus.storage import whole_file\n"
        "with whole_file(f.LocalFileSystem(), sys.argv[1]) as sink:\n"
        "    sink.write(b'half'); sink.flush(); print('now', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, f"{tmp_path}/part-a.parquet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(WRITING)
    assert whole_name(left) == "part-a.parquet" == whole_name("part-a.parquet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="check the credentials"):
        write_whole(LOCAL, f"{tmp_path}/file", b"x")


def test_a_folder_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        write_whole(LOCAL, f"{tmp_path}/none/file", b"x")


def test_any_filesystem_of_fsspec_is_written_and_read() -> None:
    filesystem, folder = open_filesystem(f"memory://{uuid.uuid4().hex}")
    filesystem.create_dir(folder, recursive=True)
    table = pa.table({"id": [str(n) for n in range(1000)]})
    with whole_file(filesystem, f"{folder}/a.parquet") as sink:
        pq.write_table(table, sink)
    write_whole(filesystem, f"{folder}/a.json", b"{}")
    write_whole(filesystem, f"{folder}/a.json", b"[]")
    found = filesystem.get_file_info(pafs.FileSelector(folder))
    assert sorted(info.base_name for info in found) == ["a.json", "a.parquet"]
    assert read_whole(filesystem, f"{folder}/a.json") == b"[]"
    with filesystem.open_input_file(f"{folder}/a.parquet") as source:
        assert pq.read_table(source).equals(table)
    none = pafs.FileSelector(f"{folder}/none", allow_not_found=True)
    assert filesystem.get_file_info(none) == []
    with pytest.raises(FileNotFoundError):
        read_whole(filesystem, f"{folder}/none")


def test_what_is_broken_off_on_the_way_to_another_place_is_not_there() -> None:
    filesystem, folder = open_filesystem(f"memory://{uuid.uuid4().hex}")
    filesystem.create_dir(folder, recursive=True)

    def write_and_stop() -> None:
        with whole_file(filesystem, f"{folder}/a") as sink:
            sink.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert filesystem.get_file_info(pafs.FileSelector(folder)) == []

"""What a row may have read: files, and only such as end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from ray_asr.config import InputConfig
from ray_asr.corpus.row_files import MOST_BYTES, read_row_file
from ray_asr.corpus.rows import ERROR_CODE, ERROR_MESSAGE, decode_rows
from ray_asr.errors import ErrorCode, RowError


def refused(path: str) -> str:
    with pytest.raises(RowError) as caught:
        read_row_file(path)
    assert caught.value.code == ErrorCode.AUDIO_UNREADABLE
    return caught.value.message


def test_a_file_is_read_by_path_and_by_address(tmp_path: Path) -> None:
    file = tmp_path / "a b.wav"
    file.write_bytes(b"bytes")
    link = tmp_path / "link.wav"
    link.symlink_to(file)
    for path in (str(file), str(link), f"file://{tmp_path}/a%20b.wav"):
        assert read_row_file(path) == b"bytes"


@pytest.mark.parametrize(
    "device", ["/dev/zero", "/dev/random", "/dev/tty", "/dev", "file:///dev/zero"]
)
def test_devices_and_folders_are_no_files(device: str) -> None:
    path = device.removeprefix("file://")
    if not os.path.exists(path):
        pytest.skip("no such device")
    assert refused(device) == f"{path} is no file: folders, pipes and devices are not read."


def test_a_pipe_and_a_socket_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("pipe", "socket"):
            assert refused(f"{tmp_path / name}").endswith("pipes and devices are not read.")


def test_a_file_of_the_kernel_that_has_no_end_is_empty() -> None:
    assert read_row_file("/proc/self/maps") == b""


def test_more_than_memory_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.wav"
    with file.open("wb") as sink:
        sink.truncate(MOST_BYTES + 1)  # a hole: no disk is taken
    assert refused(str(file)) == f"{file} is larger than 8 GiB."


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("s3://bucket/key?endpoint_override=203.0.113.9&scheme=http", "names a server of its own"),
        ("http://169.254.169.254/latest/meta-data/", "asks for its own credentials"),
        ("http://[fe80::1]/", "asks for its own credentials"),
        ("http://metadata.google.internal/computeMetadata/v1/", "asks for its own credentials"),
        ("reference://x", "a protocol that a row may not name (reference)"),
        ("local:///dev/zero", "a protocol that a row may not name (local)"),
        ("sftp://someone@203.0.113.9/x", "a protocol that a row may not name (sftp)"),
        ("a\0b", "cannot be read"),
        ("x" * 10_000, "cannot be read"),
        ("/no/" + "x" * 10_000, "cannot be read"),
        ("~nobody-of-that-name/x.wav", "cannot be read"),
        ("http://[", "cannot be read"),
        ("/no/such.wav", "does not exist"),
        ("", "is no file"),
    ],
)
def test_what_a_row_may_not_name_is_a_failed_row(path: str, what: str) -> None:
    assert what in refused(path)


def test_secrets_of_an_address_are_not_said() -> None:
    assert "hunter2" not in refused("sftp://someone:hunter2@203.0.113.9/x")


def test_nothing_of_what_is_in_a_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("root:hunter2:0:0::/root:/bin/sh\n" * 100)
    batch = pa.record_batch({"utterance_id": ["a"], "audio": [str(file)]})
    ((table, _),) = decode_rows(batch, InputConfig(), 30.0)
    assert table[ERROR_CODE][0].as_py() == "audio_not_audio"
    assert "hunter2" not in str(table.to_pylist())
    assert table[ERROR_MESSAGE][0].as_py() == "the bytes are no audio format that is known."


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    """Looking and opening are two moments: the second look counts."""
    file = tmp_path / "x.wav"
    file.write_bytes(b"bytes")
    swap = (
        "import os, sys, stat\nfrom ray_asr.corpus import row_files\n"
        "path, look = sys.argv[1], os.stat\n"
        "def swapped(of):\n    found = look(of); os.unlink(path); os.mkfifo(path); return found\n"
        "row_files.os.stat = swapped\n"
        "try:\n    row_files.read_row_file(path)\nexcept row_files.RowError as error:\n"
        "    print(error.message)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", swap, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.strip().endswith("pipes and devices are not read.")

"""Input and output on an S3 store that fails now and then; the long run is `make test-store`."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator

import pyarrow.fs as pafs
import pytest

from ray_asr.corpus.retries import Patience
from ray_asr.corpus.storage import open_filesystem, read_whole, whole_file, write_whole
from ray_asr.errors import StorageError
from tests.faults.store import address, run, secrets_in
from tests.stores import Proxy, make_bucket, proxy, s3_server

ONCE = Patience(attempts=1)
BUCKET = "speech"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server() as port:
        make_bucket(port, BUCKET)
        yield port


@pytest.fixture
def before(server: int) -> Iterator[Proxy]:
    with proxy(server) as running:
        yield running


@pytest.fixture
def store(before: Proxy) -> pafs.FileSystem:
    filesystem, _ = open_filesystem(address("", before.port))
    return filesystem


def new_path() -> str:
    return f"{BUCKET}/{uuid.uuid4().hex}"


@pytest.mark.long
def test_a_job_on_a_failing_store_has_every_row_once_and_shows_no_secret() -> None:
    assert secrets_in(address("what is looked for", 1))
    record = run(rows=100, broken=0.05, slow=0.05, seed=0)
    assert record["wrong"] == []
    assert all(record["injected"].values()), "each kind of fault was met"
    job = record["job"]
    assert job["packed"] == 50
    assert job["first"] == [100, 1]
    assert job["again"][0] > 0
    assert sum(job["again"]) == 100
    assert job["verified"] == [100, True]
    assert job["scored"] == [50, 0.0]


def test_reading_goes_on_after_each_kind_of_fault(
    before: Proxy, store: pafs.FileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    path, data = new_path(), os.urandom(200_000)
    write_whole(store, path, data)
    # The client itself tries three times: what comes four times is ours to try again.
    before.scripted = {
        f"GET /{path}": ["reset", "reset", "reset", "reset", "slow", ""],
        "HEAD": ["slow down", "slow down", "slow down", "slow down", ""],
    }
    with caplog.at_level(logging.WARNING):
        assert read_whole(store, path) == data
    assert before.injected == {"reset": 4, "slow": 1, "slow down": 4}
    assert sum("is tried again" in record.getMessage() for record in caplog.records) == 2


def test_a_small_file_is_one_request(before: Proxy, store: pafs.FileSystem) -> None:
    path = new_path()
    write_whole(store, path, b"x" * 1000)
    assert before.lines == [f"PUT /{path}"]


def test_what_is_turned_away_is_given_again(before: Proxy, store: pafs.FileSystem) -> None:
    path = new_path()
    # The last of them is done, and its answer lost.
    before.scripted = {"PUT": ["slow down", "internal error", "slow down", "reset", ""]}
    write_whole(store, path, b"x")
    assert read_whole(store, path) == b"x"
    assert before.injected == {"slow down": 2, "internal error": 1, "reset": 1}


@pytest.mark.parametrize("part", ["partNumber=2", "POST"])
def test_an_upload_that_stays_broken_leaves_nothing(
    before: Proxy, store: pafs.FileSystem, part: str
) -> None:
    store.handler.patience = ONCE
    path = new_path()
    before.scripted = {part: ["internal error"]}
    with pytest.raises(StorageError, match=f"s3://{path} did not answer as it should"):
        write_whole(store, path, os.urandom(25 * 2**20))
    before.scripted = {}
    assert store.get_file_info(path).type == pafs.FileType.NotFound


def test_a_stream_that_is_broken_off_leaves_what_was_there(store: pafs.FileSystem) -> None:
    path = new_path()
    write_whole(store, path, b"before")

    def write_and_stop() -> None:
        with whole_file(store, path) as sink:
            sink.write(os.urandom(12 * 2**20))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert read_whole(store, path) == b"before"
    with whole_file(store, path) as sink:
        for _ in range(6):
            sink.write(b"after!" * 2**20)
    assert read_whole(store, path) == b"after!" * 6 * 2**20


def test_what_is_not_allowed_or_not_there_is_said_after_one_request(
    before: Proxy, store: pafs.FileSystem
) -> None:
    path = new_path()
    with pytest.raises(FileNotFoundError, match=f"s3://{path} does not exist"):
        read_whole(store, path)
    asked = before.requests
    before.scripted = {"HEAD": ["denied"]}
    with pytest.raises(StorageError, match=f"s3://{path} is not open to you .* credentials"):
        read_whole(store, path)
    assert before.requests == asked + 1


def test_the_environment_names_store_and_credentials(
    before: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{before.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its secret")
    for start in ("s3://", "s3://***@"):  # as an address is shown, its secrets left out
        filesystem, path = open_filesystem(f"{start}{new_path()}")
        write_whole(filesystem, path, b"x")
        assert read_whole(filesystem, path) == b"x"
    assert len(before.lines) == 6

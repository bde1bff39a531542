"""Folders of stores on this machine: whole, once, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_asr.corpus import node_cache
from ray_asr.corpus.node_cache import cache_folder, copied, locked, version_of
from ray_asr.corpus.storage import WRITING
from ray_asr.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ray_asr" / "models"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store" / "model"
    (folder / "below").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: Paraformer\n")
    (folder / "below" / "more.bin").write_bytes(os.urandom(100_000))
    (folder / "empty").write_bytes(b"")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def address(folder: Path) -> str:
    return f"file://{folder}"


def test_a_folder_is_copied_whole_once_for_each_version(store: Path, cache: Path) -> None:
    version = version_of(address(store))
    folder = copied(address(store), version)
    assert files_of(folder) == files_of(store)
    assert folder.parent == cache
    assert cache.stat().st_mode & 0o077 == 0
    (store / "config.yaml").write_text("model: Another\n")
    assert copied(address(store), version) == folder  # without a look at the store
    newer = version_of(address(store))
    assert newer != version
    assert (copied(address(store), newer) / "config.yaml").read_text() == "model: Another\n"
    assert (folder / "config.yaml").read_text() == "model: Paraformer\n"


def test_another_version_than_the_one_that_is_wanted_is_refused(store: Path, cache: Path) -> None:
    version = version_of(address(store))
    (store / "added").write_bytes(b"x")
    with pytest.raises(DataError, match="has changed since the job began"):
        copied(address(store), version)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_file_that_changes_meanwhile_leaves_nothing(
    store: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = version_of(address(store))
    copy_file = node_cache._copy_file

    def and_change(*given: object) -> None:
        copy_file(*given)  # type: ignore[arg-type]
        (store / "empty").write_bytes(b"no more")

    monkeypatch.setattr(node_cache, "_copy_file", and_change)
    with pytest.raises(DataError, match=r"changed while it was copied|of 0 bytes"):
        copied(address(store), version)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_files_is_refused(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "nothing" / "below").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no files: name the folder of a model"):
        version_of(address(tmp_path / "nothing"))


def test_a_cache_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="set XDG_CACHE_HOME on every node"):
        cache_folder()


def run(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )


COPY = """
import sys
from ray_asr.corpus import node_cache
copy = node_cache._copy
def said(*given):
    print("copies", flush=True)
    {more}
    copy(*given)
node_cache._copy = said
node_cache.copied({address!r}, {version!r})
"""


def test_of_many_processes_at_once_one_copies(store: Path, cache: Path) -> None:
    program = COPY.format(
        address=address(store),
        version=version_of(address(store)),
        more="import time; time.sleep(1)",
    )
    with locked(f"{node_cache.key_of(address(store))}-{version_of(address(store))}"):
        processes = [run(program) for _ in range(3)]
        time.sleep(0.5)
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(said) == ["", "", "copies\n"]
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_what_a_killed_process_left_is_taken_away_and_its_lock_is_free(
    store: Path, cache: Path
) -> None:
    version = version_of(address(store))
    more = (
        f"(node_cache.cache_folder() / '{WRITING}{node_cache.key_of(address(store))}-{version}.x')"
        ".mkdir(); print('ready', flush=True); import time; time.sleep(600)"
    )
    process = run(COPY.format(address=address(store), version=version, more=more))
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["copies\n", "ready\n"]
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    assert any(path.name.startswith(WRITING) for path in cache.iterdir())
    folder = copied(address(store), version)
    assert files_of(folder) == files_of(store)
    assert not any(path.name.startswith(WRITING) for path in cache.iterdir())


def test_secrets_of_an_address_are_in_no_name(store: Path, cache: Path) -> None:
    assert node_cache.key_of("a", "b") != node_cache.key_of("ab")
    copied(address(store), version_of(address(store)))
    assert all("store" not in path.name for path in cache.iterdir())

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from ray_asr.config import Config, deciding_settings, with_settings
from ray_asr.corpus.resume import JOB_FILE, claim_output, release_output
from ray_asr.corpus.storage import whole_file, write_whole
from ray_asr.errors import DataError
from ray_asr.schema import SCHEMA_VERSION

LOCAL = pafs.LocalFileSystem()
SETTINGS = {"unit_mb": 64.0, "engine.model": "demo", "engine.hotword": "", "options": {"a": [1]}}


def claim(folder: Path, settings: Mapping[str, Any] = SETTINGS) -> frozenset[str]:
    return claim_output(LOCAL, str(folder), settings)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_new_folder_is_claimed_and_nothing_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    assert claim(folder) == frozenset()
    assert names(folder) == [JOB_FILE]
    record = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
    assert record == {"schema_version": SCHEMA_VERSION, **SETTINGS}


@pytest.mark.parametrize("present", [[], [".hidden"], ["_logs"], [".a", "_b"]])
def test_an_empty_folder_is_claimed(tmp_path: Path, present: list[str]) -> None:
    for name in present:
        (tmp_path / name).mkdir()
    assert claim(tmp_path) == frozenset()
    assert names(tmp_path) == sorted([JOB_FILE, *present])


def test_the_same_settings_go_on_with_the_parts_that_are_there(tmp_path: Path) -> None:
    claim(tmp_path)
    parts = {"part-a-0.parquet", "part-b-1.parquet"}
    for name in parts:
        (tmp_path / name).write_bytes(b"rows")
    assert claim(tmp_path) == parts
    assert claim(tmp_path, dict(reversed(SETTINGS.items()))) == parts


def test_settings_that_json_changes_are_still_the_same(tmp_path: Path) -> None:
    settings = {**SETTINGS, "pair": (1, 2), "text": "魔搭"}
    claim(tmp_path, settings)
    assert claim(tmp_path, settings) == frozenset()


def test_half_written_files_are_never_parts(tmp_path: Path) -> None:
    claim(tmp_path)
    for name in (
        "_writing.part-a.parquet",
        "part-a.parquet.tmp",
        ".part-a.parquet.crc",
        "part-a",
        "notes.parquet",
        "_runs.parquet",
    ):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "_runs").mkdir()
    (tmp_path / "_runs" / "part-x.parquet").write_bytes(b"deep")
    assert claim(tmp_path) == frozenset()


def write_and_stop(path: str) -> None:
    with whole_file(LOCAL, path) as sink:
        sink.write(b"ro")
        raise KeyboardInterrupt


def test_a_write_that_is_broken_off_leaves_no_part(tmp_path: Path) -> None:
    claim(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(f"{tmp_path}/part-a.parquet")
    assert names(tmp_path) == [JOB_FILE]
    assert claim(tmp_path) == frozenset()
    write_whole(LOCAL, f"{tmp_path}/part-a.parquet", b"rows")
    assert claim(tmp_path) == {"part-a.parquet"}
    assert names(tmp_path) == [JOB_FILE, "part-a.parquet"]


@pytest.mark.parametrize("foreign", ["data.csv", "part-0.parquet", "folder"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, foreign: str) -> None:
    if foreign == "folder":
        (tmp_path / foreign).mkdir()
    else:
        (tmp_path / foreign).write_bytes(b"theirs")
    with pytest.raises(DataError) as caught:
        claim(tmp_path)
    assert foreign in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert names(tmp_path) == [foreign]


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"theirs")
    with pytest.raises(DataError, match="is a file"):
        claim(path)
    assert path.read_bytes() == b"theirs"


def test_an_output_below_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    with pytest.raises(DataError, match="out"):
        claim(tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_that_may_not_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="out"):
        claim(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine.model": "paraformer-zh"}, "engine.model was 'demo', now 'paraformer-zh'"),
        ({"unit_mb": 32.0}, "unit_mb was 64.0, now 32.0"),
        ({"options": {"a": [2]}}, "options was"),
        ({"new": 1}, "new was None, now 1"),
    ],
)
def test_other_settings_are_refused_naming_what_differs(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    claim(tmp_path)
    before = (tmp_path / JOB_FILE).read_bytes()
    with pytest.raises(DataError) as caught:
        claim(tmp_path, {**SETTINGS, **change})
    assert said in str(caught.value)
    assert "engine.hotword" not in str(caught.value)
    assert (tmp_path / JOB_FILE).read_bytes() == before


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    claim(tmp_path)
    record = json.loads((tmp_path / JOB_FILE).read_text(encoding="utf-8"))
    (tmp_path / JOB_FILE).write_text(json.dumps({**record, "schema_version": 0}))
    with pytest.raises(DataError, match=rf"schema version 0, here {SCHEMA_VERSION}\)"):
        claim(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"words"', b"5"])
def test_a_record_that_is_not_ours_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / JOB_FILE).write_bytes(text)
    with pytest.raises(DataError, match=JOB_FILE):
        claim(tmp_path)
    assert (tmp_path / JOB_FILE).read_bytes() == text


def test_settings_that_do_not_decide_are_no_reason_to_refuse(tmp_path: Path) -> None:
    claim(tmp_path, deciding_settings(Config()))
    faster = with_settings(Config(), {"batch_size_s": 200, "ncpu": 2, "num_actors": 3})
    assert claim(tmp_path, deciding_settings(faster)) == frozenset()
    with pytest.raises(DataError, match=r"engine\.language was '', now 'en'"):
        claim(tmp_path, deciding_settings(with_settings(Config(), {"language": "en"})))


@pytest.mark.parametrize("beside", [[], ["_runs"], ["_writing.part-a.parquet", ".hidden"]])
def test_an_output_without_parts_is_given_back_to_runs_of_any_settings(
    tmp_path: Path, beside: list[str]
) -> None:
    claim(tmp_path)
    for name in beside:
        (tmp_path / name).write_bytes(b"")
    release_output(LOCAL, str(tmp_path))
    assert names(tmp_path) == sorted(beside)
    assert claim(tmp_path, {**SETTINGS, "engine.model": "another"}) == frozenset()


def test_an_output_with_a_part_stays_its_runs_own(tmp_path: Path) -> None:
    claim(tmp_path)
    (tmp_path / "part-a.parquet").write_bytes(b"rows")
    release_output(LOCAL, str(tmp_path))
    with pytest.raises(DataError, match=r"engine\.model was"):
        claim(tmp_path, {**SETTINGS, "engine.model": "another"})


def test_giving_back_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    release_output(LOCAL, str(tmp_path))
    release_output(LOCAL, str(tmp_path / "nothing"))
    assert names(tmp_path) == []

"""A run that begins anew takes the place of the old one with its first part, whatever dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from ray_asr.corpus.restart import Placement, finish_switch
from ray_asr.corpus.resume import JOB_FILE, claim_output, parts_done
from ray_asr.corpus.storage import write_whole

LOCAL = pafs.LocalFileSystem()
OLD, NEW = {"model": "old"}, {"model": "new"}
OLD_PARTS = {f"part-{name}.parquet" for name in "abc"}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """What a run of the old settings left."""
    claim_output(LOCAL, str(tmp_path), OLD)
    for name in OLD_PARTS:
        (tmp_path / name).write_text("old")
    return tmp_path


def parts(output: Path) -> dict[str, str]:
    """What a reader of the folder sees."""
    return {file.name: file.read_text() for file in output.glob("part-*.parquet")}


def write(placement: Placement, name: str) -> None:
    write_whole(LOCAL, f"{placement.folder}/part-{name}.parquet", b"new")
    placement.written()


def test_the_old_run_is_as_it_was_until_the_first_new_part(output: Path) -> None:
    before = parts(output), (output / JOB_FILE).read_text()
    placement = Placement(LOCAL, str(output), NEW, restart=True)
    placement.begin()
    assert (parts(output), (output / JOB_FILE).read_text()) == before
    placement.end()
    assert (parts(output), (output / JOB_FILE).read_text()) == before
    assert parts_done(LOCAL, str(output), OLD) == OLD_PARTS
    assert [file.name for file in output.iterdir() if file.is_dir()] == []


def test_with_its_first_part_the_new_run_is_all_that_is_there(output: Path) -> None:
    placement = Placement(LOCAL, str(output), NEW, restart=True)
    placement.begin()
    write(placement, "b")
    assert parts(output) == {"part-b.parquet": "new"}
    write(placement, "d")
    assert parts(output) == {"part-b.parquet": "new", "part-d.parquet": "new"}
    placement.end()
    assert parts_done(LOCAL, str(output), NEW) == set(parts(output))
    assert not list(output.glob("_switch*"))


def test_a_part_that_was_half_written_is_swept_away(output: Path) -> None:
    (output / "_writing.part-x.parquet").write_text("ha")
    placement = Placement(LOCAL, str(output), OLD)
    placement.begin()
    assert not (output / "_writing.part-x.parquet").exists()
    assert set(parts(output)) == OLD_PARTS


class Killed(BaseException):
    """The machine is gone."""


class Dying(pafs.FileSystemHandler):
    """The local file system until so many changes were made; none is made after."""

    def __init__(self, changes: int) -> None:
        self.left = changes

    def _change(self) -> None:
        if not self.left:
            raise Killed
        self.left -= 1

    def delete_file(self, path: str) -> None:
        self._change()
        LOCAL.delete_file(path)

    def delete_dir(self, path: str) -> None:
        self._change()
        LOCAL.delete_dir(path)

    def move(self, src: str, dest: str) -> None:
        self._change()
        LOCAL.move(src, dest)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._change()
        LOCAL.create_dir(path, recursive=recursive)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._change()
        return LOCAL.open_output_stream(path)

    def get_file_info(self, paths: list[str]) -> Any:
        return LOCAL.get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return LOCAL.get_file_info(selector)

    def open_input_stream(self, path: str) -> Any:
        return LOCAL.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return LOCAL.open_input_file(path)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise AssertionError("no part of a switch")

    def copy_file(self, src: str, dest: str) -> None:
        raise AssertionError("no part of a switch")

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise AssertionError("no part of a switch")

    def delete_root_dir_contents(self) -> None:
        raise AssertionError("no part of a switch")

    def get_type_name(self) -> str:
        return "dying"

    def normalize_path(self, path: str) -> str:
        return path


def test_killed_at_any_change_it_is_the_old_run_or_goes_on_to_the_new_one(tmp_path: Path) -> None:
    for changes in range(100):
        output = tmp_path / str(changes)
        output.mkdir()
        claim_output(LOCAL, str(output), OLD)
        for name in OLD_PARTS:
            (output / name).write_text("old")
        filesystem = pafs.PyFileSystem(Dying(changes))
        placement = Placement(filesystem, str(output), NEW, restart=True)
        try:
            placement.begin()
            write_whole(filesystem, f"{placement.folder}/part-b.parquet", b"new")
            placement.written()
            died = False
        except Killed:
            died = True
        texts = set(parts(output).values())
        assert len(texts) <= 1, "a reader saw rows of both runs"
        finished = finish_switch(LOCAL, str(output))
        if json.loads((output / JOB_FILE).read_text())["model"] == "old":
            assert not finished
            assert set(parts(output)) == OLD_PARTS
        else:
            assert parts(output) == {"part-b.parquet": "new"}
        if not died:
            break
    assert not died
    assert changes > 8  # every step of the switch was one to die at

"""Folders of one user: by their rights, and not where another was first."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ray_asr.engine.cores import LogicalCore, claim_cores
from ray_asr.private_folders import private_folder


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    assert rights(private_folder(tmp_path / "new" / "inner")) == 0o700


def test_a_folder_that_others_could_look_into_no_longer_lets_them(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    assert rights(private_folder(tmp_path / "open")) == 0o700


@pytest.mark.parametrize("planted", ["link", "file", "another's"])
def test_what_another_has_put_there_is_not_taken(tmp_path: Path, planted: str) -> None:
    place = tmp_path / "place"
    if planted == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif planted == "file":
        place.write_text("")
    elif os.getuid() == 0:
        place.mkdir()
        os.chown(place, 12345, -1)
    else:
        place = Path("/")
    with pytest.raises((PermissionError, FileExistsError)):
        private_folder(place)


def test_no_core_is_claimed_through_a_planted_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "claiming").write_text("precious")
    (tmp_path / "claims").symlink_to(mine)
    assert claim_cores(1, tmp_path / "claims", [LogicalCore(0, 0, 0)]) is None
    assert (mine / "claiming").read_text() == "precious"
    assert "no cores can be claimed there" in caplog.text

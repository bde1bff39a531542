"""One run at a time on an output: real processes, real files, short heartbeats."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from ray_asr.corpus.lease import LEASE_FOLDER, held
from ray_asr.errors import DataError

LOCAL = pafs.LocalFileSystem()
BEAT_S = 0.2

# A process that holds an output until it is told to end, and says what it did.
HOLDER = """
import sys, pyarrow.fs as pafs
from ray_asr.corpus.lease import held
from ray_asr.errors import DataError
folder, beat_s, machine = sys.argv[1], float(sys.argv[2]), sys.argv[3]
if machine:
    import ray_asr.corpus.lease as lease
    lease._machine = lambda: machine
try:
    with held(pafs.LocalFileSystem(), folder, "transcribe", beat_s) as mine:
        print("held", flush=True)
        sys.stdin.readline()
        mine.check()
    print("released", flush=True)
except DataError as error:
    print("refused:", error, flush=True)
"""


def holder(folder: Path, machine: str = "", beat_s: float = BEAT_S) -> subprocess.Popen[str]:
    """Another process that wants the output; `machine`: as one that is elsewhere."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(beat_s), machine],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> str:
    """Let it go on to its end; what it says then."""
    return process.communicate("\n", timeout=60)[0]


def claims(folder: Path) -> list[Path]:
    return list((folder / LEASE_FOLDER).glob("*.json"))


def test_an_output_is_free_again_when_its_holder_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with held(LOCAL, str(tmp_path), "transcribe") as lease:
            lease.check()
            assert len(claims(tmp_path)) == 1
        assert not claims(tmp_path)


def test_a_folder_in_which_nothing_came_about_is_taken_away_again(tmp_path: Path) -> None:
    with held(LOCAL, f"{tmp_path}/new", "transcribe"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with held(LOCAL, f"{tmp_path}/kept", "transcribe"):
        (tmp_path / "kept" / "part-a.parquet").touch()
    assert (tmp_path / "kept" / "part-a.parquet").exists()
    (tmp_path / "own").mkdir()
    with held(LOCAL, f"{tmp_path}/own", "transcribe"):
        pass
    assert (tmp_path / "own").exists()


@pytest.mark.parametrize("machine", ["", "elsewhere"])
def test_whoever_comes_second_is_told_who_has_it(tmp_path: Path, machine: str) -> None:
    first = holder(tmp_path, machine)
    assert said(first) == "held\n"
    with (
        pytest.raises(DataError, match=rf"transcribe runs on it on host .+, process {first.pid}"),
        held(LOCAL, str(tmp_path), "compact", BEAT_S),
    ):
        pass
    assert end(first) == "released\n"
    assert not claims(tmp_path)


def test_a_holder_that_was_killed_here_is_followed_at_once(tmp_path: Path) -> None:
    first = holder(tmp_path, beat_s=1000.0)  # its claim alone would live for hours
    assert said(first) == "held\n"
    first.kill()
    first.wait()
    with held(LOCAL, str(tmp_path), "transcribe", 1000.0):
        (mine,) = claims(tmp_path)
        assert json.loads(mine.read_text())["pid"] == os.getpid()


def test_a_holder_that_was_killed_elsewhere_is_followed_when_it_is_silent_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = holder(tmp_path, "elsewhere")
    assert said(first) == "held\n"
    first.kill()
    first.wait()
    caplog.set_level("INFO")
    with held(LOCAL, str(tmp_path), "transcribe", BEAT_S):
        assert len(claims(tmp_path)) == 1
    assert "waiting for the next one" in caplog.text
    assert "has died while it had" in caplog.text


def test_a_holder_that_was_stopped_too_long_ends_when_it_goes_on(tmp_path: Path) -> None:
    first = holder(tmp_path, "elsewhere")
    assert said(first) == "held\n"
    os.kill(first.pid, signal.SIGSTOP)
    try:
        with held(LOCAL, str(tmp_path), "transcribe", BEAT_S) as lease:
            os.kill(first.pid, signal.SIGCONT)
            time.sleep(5 * BEAT_S)
            assert "taken over by another run" in end(first)
            lease.check()
            assert len(claims(tmp_path)) == 1
    finally:
        first.kill()
        first.wait()


def test_of_many_at_once_one_at_most_has_it(tmp_path: Path) -> None:
    """Each says that it is in by a file that must not be there yet."""
    inside = """
import os, sys, time, pyarrow.fs as pafs
from ray_asr.corpus.lease import held
from ray_asr.errors import DataError
folder, mark = sys.argv[1:]
try:
    with held(pafs.LocalFileSystem(), folder, "transcribe", 0.2):
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        time.sleep(0.05)
        os.unlink(mark)
    print("held")
except DataError:
    print("refused")
"""
    command = [sys.executable, "-c", inside, str(tmp_path / "out"), str(tmp_path / "mark")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outcomes = [process.communicate(timeout=100) for process in running]
    assert not [errors for _, errors in outcomes if errors]
    words = [words.strip() for words, _ in outcomes]
    assert set(words) <= {"held", "refused"}
    assert "held" in words
    # No claim stays. An empty folder may, where one came while another was leaving.
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_claim_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / LEASE_FOLDER).mkdir()
    (tmp_path / LEASE_FOLDER / "x.json").write_text("{")
    with (
        pytest.raises(DataError, match=r"x\.json cannot be read .*; delete it"),
        held(LOCAL, str(tmp_path), "transcribe"),
    ):
        pass
    assert [claim.name for claim in claims(tmp_path)] == ["x.json"]

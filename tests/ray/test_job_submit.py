"""`ray job submit` to a real head of this test's own: the job's rows, text and exit code."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from ray_asr.results.score import score
from tests.conftest import speech_table, write_shard
from tests.ray.heads import BIN, ROOT, end_head, free_port, head_command


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """The environment of a client of a private head, which ends with the test."""
    dashboard = free_port()
    with tempfile.TemporaryDirectory(prefix="ra_", ignore_cleanup_errors=True) as folder:
        env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        command = [
            *head_command(folder, num_cpus=2, port=free_port()),
            f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1",
        ]  # fmt: skip
        log = Path(folder, "head.log")
        with log.open("w") as out:
            process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            _wait_for(f"{address}/api/version", process, log)
            yield {**env, "RAY_ADDRESS": address}
        finally:
            end_head(process)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2)
        except urllib.error.HTTPError:
            return  # it answers, and wants the token
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"the head did not start: {log.read_text()[-2000:]}")


def submit(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", "submit", "--working-dir", ".", "--", sys.executable]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=280
    )


def test_submitted_job_transcribes_every_row(head, tmp_path: Path, embedded_speech) -> None:
    spoken = [item for item in embedded_speech if item["set"] == "announcements"][:5]
    write_shard(speech_table(spoken), tmp_path / "in" / "a.parquet")
    models = ["--model", "demo", "--vad-model", "demo", "--punc-model", "demo"]
    source, output = str(tmp_path / "in"), str(tmp_path / "out")
    result = submit(head, "jobs/transcribe.py", source, output, *models)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 ok" in result.stdout
    rows = ds.dataset(output, format="parquet").to_table()
    assert sorted(rows["utterance_id"].to_pylist()) == sorted(i["audio_filepath"] for i in spoken)
    assert score(output).wer.rate < 0.2


def test_submitted_job_that_cannot_work_fails_with_one_sentence(head, tmp_path: Path) -> None:
    result = submit(head, "jobs/transcribe.py", str(tmp_path / "nothing"), str(tmp_path / "out"))
    assert result.returncode != 0
    assert "does not exist; check the path" in result.stdout + result.stderr
    assert not (tmp_path / "out").exists()

"""What all tests share: how they are set up and counted, and the embedded speech as Parquet."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from ray_asr.demo import speech_folder

# Set before anything imports Ray or a library that counts cores.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.pop("RAY_ADDRESS", None)

# A developer's runs draw new cases each time, and keep what fails as an example of the test. In
# continuous integration the draws hang on the test's source alone: there a failure must come of the
# change that is checked, and not of a rare draw that any other change would have met as well. No
# draw has a deadline, since the machine may be a slow or a busy one.
settings.register_profile("new draws", deadline=None)
settings.register_profile("same draws", deadline=None, derandomize=True, database=None)
settings.load_profile("same draws" if os.environ.get("CI") else "new draws")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests of each kind (unit, model, ray) had which outcome."""
    for outcome in ("passed", "failed", "skipped"):
        reports = terminalreporter.stats.get(outcome, [])
        kinds = Counter(report.nodeid.split("/")[1] for report in reports)
        if kinds:
            counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
            terminalreporter.write_line(f"{outcome} by kind: {counts}")


@pytest.fixture(scope="session")
def embedded_speech() -> list[dict[str, str]]:
    """The manifest of the embedded speech, a dictionary a recording."""
    lines = (speech_folder() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def speech_table(items: list[dict[str, str]]) -> pa.Table:
    """Embedded recordings as rows of the input contract, with a column to pass through."""
    return pa.table(
        {
            "utterance_id": [item["audio_filepath"] for item in items],
            "audio": [(speech_folder() / item["audio_filepath"]).read_bytes() for item in items],
            "reference_text": [item["text"] for item in items],
            "format": [item["format"] for item in items],
        }
    )


def write_shard(table: pa.Table, path: Path, row_group_size: int = 8) -> Path:
    """`table` as a Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return path

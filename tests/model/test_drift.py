"""Calls leave the models' configuration, the threads and the open files as they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_two_hundred_calls_change_no_setting_no_thread_and_no_file(tmp_path: Path) -> None:
    """The long form is `make test-drift`; memory is looked at there, where warm-up is over."""
    script, figures = ROOT / "benchmarks" / "drift.py", tmp_path / "figures.json"
    command = [sys.executable, str(script), "calls", "--calls", "200", "--json", str(figures)]
    subprocess.run(command, check=True, capture_output=True, timeout=280)
    result = json.loads(figures.read_text())
    assert result["settings_looked_at"] > 100
    assert result["settings_changed"] == []
    assert result["before"] == result["after"]
    assert result["after"]["torch_threads"] == 1

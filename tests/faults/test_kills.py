"""Whatever is killed, the job ends with each id exactly once (`make test-faults`: 50 kills)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.ray.heads import ROOT


@pytest.mark.timeout(600)
def test_six_kills_lose_no_row_and_double_none() -> None:
    command = [sys.executable, "-m", "tests.faults.kills", "--kills", "6", "--seed", "5"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert run.returncode == 0, run.stderr[-4000:] + run.stdout
    record = json.loads(run.stdout)
    assert sum(record["kills"].values()) == 6
    assert all(record["kills"].values()), "each kind of kill was made"
    assert (record["lost"], record["twice"], record["wrong"]) == (0, 0, 0)

"""`ray-asr bench` for real, on the embedded model: each case starts and ends a Ray of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ray_asr.job.bench import BenchOptions, run_bench


@pytest.mark.long
@pytest.mark.timeout(900)
def test_bench_measures_ours_a_peer_and_the_limit(tmp_path: Path) -> None:
    json_file = tmp_path / "bench.json"
    names = ["ours-fp32", "ray-data", "limit-fp32", "overhead"]
    options = BenchOptions(model="demo", cases=names, quick=True, cache=str(tmp_path / "cache"))
    shown = run_bench(options, str(json_file))
    result = json.loads(json_file.read_text())
    for name, case in result["cases"].items():
        assert not case["error"], (name, case["error"])
        assert len(case["cpu_percent"]["repetitions"]) == 1
        assert (case["x_real_time"] is None) == (name == "overhead")
    assert result["cases"]["overhead"]["results"][0]["cpu_ms_per_row"] is not None
    limits = [mark for mark in result["marks"] if "bare" in mark["mark"]]
    assert len(limits) == 1
    assert limits[0]["measured"]["median"] > 0
    assert "ray_asr, fp32" in str(shown)

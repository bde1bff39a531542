from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_asr.results import report_rows
from ray_asr.results.columns import ParquetColumns
from ray_asr.results.report_data import Timeline, read_timeline
from ray_asr.results.report_plots import OverTime, speeds
from ray_asr.results.report_rows import read_rows
from ray_asr.schema import Transcript
from tests.outputs import LOCAL
from tests.reports import RUN_ID, record_run, write_rows


def columns(folder: Path) -> ParquetColumns:
    return ParquetColumns(str(folder), "output")


def ok(numbers: range) -> list[Transcript]:
    return [Transcript(f"id-{n}", "ok", f"text of {n}", duration_ms=1000) for n in numbers]


def test_every_row_is_as_likely_to_be_shown_as_any_other(tmp_path: Path) -> None:
    for part in range(4):
        write_rows(tmp_path, ok(range(part * 50, part * 50 + 50)), f"part-{part}.parquet")
    drawn: Counter[int] = Counter()
    for seed in range(100):
        rows = read_rows(columns(tmp_path), samples=5, seed=seed).samples
        assert len({row.text("utterance_id") for row in rows}) == 5
        assert all(row.text("text") == f"text of {row.text('utterance_id')[3:]}" for row in rows)
        drawn.update(int(row.text("utterance_id")[3:]) // 50 for row in rows)
    assert sum(drawn.values()) == 500
    assert all(80 < count < 170 for count in drawn.values())


def test_the_same_output_shows_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path, ok(range(500)))
    first = read_rows(columns(tmp_path)).samples
    monkeypatch.setattr(report_rows, "_ROWS_AT_ONCE", 64)
    assert read_rows(columns(tmp_path)).samples == first


def test_columns_that_are_missing_or_null_count_as_nothing(tmp_path: Path) -> None:
    table = pa.table(
        {
            "status": pa.array(["ok", None, "failed"]).dictionary_encode(),
            "duration_ms": pa.array([1000, None, 3], pa.int32()),
            "text": ["a", None, None],
        }
    )
    pq.write_table(table, tmp_path / "part-a.parquet")
    facts = read_rows(columns(tmp_path))
    assert facts.by_status == {"ok": 1, "": 1, "failed": 1}
    assert facts.by_code == {"": 1}
    assert facts.audio_s == pytest.approx(1.003)
    assert facts.durations.total == 2
    assert facts.samples[0].values == {"text": "a"}


def test_names_that_others_chose_are_counted_up_to_a_hundred(tmp_path: Path) -> None:
    rows = [
        Transcript(f"{n}", "failed", error_code=f"code-{n}", language=f"l{n}") for n in range(300)
    ]
    write_rows(tmp_path, rows)
    facts = read_rows(columns(tmp_path))
    assert sum(facts.by_code.values()) == 300
    assert len(facts.by_code) == len(facts.by_language) == 101
    assert len(facts.failures) == 20


def test_text_that_is_none_is_shown_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    bad = pa.array([b"a\xffb", b"fine"], pa.binary()).view(pa.string())
    table = pa.table({"status": ["ok", "ok"], "text": bad, "utterance_id": ["a", "b"]})
    pq.write_table(table, tmp_path / "part-a.parquet")
    texts = sorted(row.text("text") for row in read_rows(columns(tmp_path)).samples)
    assert texts == ["a\ufffdb", "fine"]


def test_samples_become_bins_that_say_the_same(tmp_path: Path) -> None:
    record_run(LOCAL, str(tmp_path), seconds=3000, nodes=2)
    notes: list[str] = []
    timeline = read_timeline(LOCAL, str(tmp_path), RUN_ID, notes)
    assert timeline is not None
    assert (notes, timeline.nodes) == ([], 2)
    assert len(timeline.time_s) == 240
    assert timeline.end_s == pytest.approx(2999.9)
    assert np.all(np.diff(timeline.time_s) > 0)
    cpu = timeline.curves["cpu_percent"]
    assert cpu.mean.mean() == pytest.approx(80.0, abs=0.5)
    assert cpu.most.max() == pytest.approx(90.0, abs=0.1)
    assert not timeline.has("gpu_percent")
    rates = speeds(timeline.time_s, timeline.curves["audio_s"].mean)
    assert np.allclose(rates[5:], 60.0, rtol=0.05)


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_run_of_a_moment_has_its_plots(tmp_path: Path, seconds: int) -> None:
    record_run(LOCAL, str(tmp_path), seconds=seconds)
    timeline = read_timeline(LOCAL, str(tmp_path), RUN_ID, [])
    assert timeline is not None
    plots = OverTime(timeline).all(None, None)
    assert {plot.title.partition(",")[0] for plot in plots} >= {"Actors", "CPU", "Memory"}


def test_nothing_sampled_is_nothing_plotted() -> None:
    assert OverTime(Timeline(np.array([1.0]), 1.0, {}, 1)).all(50.0, 30.0) == []

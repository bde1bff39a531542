"""The page that a real job leaves, and the demonstration that names it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.demo import speech_folder
from ray_asr.job import demo
from ray_asr.job.pipeline import transcribe_path
from tests.conftest import speech_table
from tests.reports import Page

pytestmark = pytest.mark.usefixtures("ray_local", "reports")
MODELS = {"model": "demo", "vad_model": "demo", "punc_model": "demo", "language": "en"}


def test_a_job_leaves_what_its_chunks_took_and_a_page_with_players(
    tmp_path: Path, embedded_speech: list[dict[str, str]]
) -> None:
    table = speech_table([*embedded_speech[:23], {**embedded_speech[23], "text": "<b>x</b>"}])
    pq.write_table(table, tmp_path / "a.parquet")
    config = with_settings(Config(), {**MODELS, "sample_interval_s": 0.2})
    run = transcribe_path(str(tmp_path / "a.parquet"), str(tmp_path / "out"), config)
    folder = tmp_path / "out" / "_runs" / run.run_id
    told = json.loads((folder / "chunks.json").read_text())
    assert 0.1 * run.audio_s < told["speech_s"] <= told["padded_s"]
    assert told["work_s"] > 0
    assert sum(told["real_time_factors"]["counts"]) == told["chunks"] > 0
    samples = pq.read_table(folder / "samples.parquet").to_pylist()
    assert samples[-1]["speech_s"] <= told["speech_s"] + 1e-6
    html = (folder / "report.html").read_text()
    page = Page(html)
    assert len(page.of("audio")) == 8
    assert len(page.of("svg")) >= 7
    assert "every row is done, none failed" in page.text
    for part in (tmp_path / "out").glob("part-*.parquet"):
        assert b"_chunk_work" not in (pq.read_schema(part).metadata or {})


@pytest.mark.long
def test_the_demonstration_is_done_anew_each_time_and_its_last_line_names_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (speech_folder() / "manifest.jsonl").read_text().splitlines()[:12]
    for line in few:
        name = json.loads(line)["audio_filepath"]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((speech_folder() / name).read_bytes())
    (tmp_path / "manifest.jsonl").write_text("\n".join(few))
    monkeypatch.setattr(demo, "speech_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept" / "packing").mkdir(parents=True)
    (tmp_path / "kept" / "packing" / "cut-short.parquet").write_bytes(b"PAR1")
    for _ in range(2):
        result = demo.run_demo("kept", None)
        assert result.run.rows_out == 12
        assert result.table().splitlines()[-1].split() == ["report", "kept/report.html"]
        page = Page((tmp_path / "kept" / "report.html").read_text())
        assert result.run.run_id in page.text
    assert result.to_dict()["report"] == "kept/report.html"

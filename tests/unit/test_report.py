"""The page about a run: what stands on it, and that what an output holds is text there."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from ray_asr.config import Config, with_settings
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.summary import begin_run
from ray_asr.results.report import Asked, Report, make_report
from ray_asr.results.report_rows import Clip
from ray_asr.schema import Transcript
from tests.outputs import LOCAL
from tests.reports import RUN_ID, Page, record_run, summary_of, write_rows

SECTIONS = ("run", "plan", "rows", "time", "spread", "speed", "samples", "cost")
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>'\"&{{ 7*7 }}{% raw %}"
    "\x00\x1b[31m\u202etxet\u2066 </style><!-- ]]>"
)
BASELINE = {
    "date": "2026-11-23 10:00 UTC",
    "hardware": {"cpu": "A CPU", "nodes": 1, "cores": 2, "memory_gb": 16.0},
    "models": {"model": "other", "revision": "1"},
    "best": {
        "actors": 2,
        "ncpu": 1,
        "batch_size_s": 30.0,
        "precision": "int8",
        "x_real_time": 70.0,
    },
    "steady_best": 75.0,
    "entries": [{"is_default": True, "x_real_time": 50.0}],
}
BENCH = {
    "date": "2026-11-29", "cpu": "A CPU", "cores": 2, "audio_s": 1440.0,
    "options": {"model": "untrained", "device": "cpu", "repeat": 3},
    "cases": {
        "article-default": {
            "title": "article: 4 processes, FunASR's defaults",
            "x_real_time": {"median": 15.3, "least": 15.3, "most": 15.5},
            "against_first_row": {"median": 1.0}, "cpu_percent": {"median": 96.0},
            "gpu_percent": None,
        },
        "article-batch": {"title": "article: batches", "x_real_time": None, "error": "no room"},
        "ours-auto": {
            "title": "ours", "x_real_time": {"median": 68.9, "least": 65.1, "most": 70.2},
            "against_first_row": {"median": 4.5}, "cpu_percent": {"median": 93.0},
        },
    },
}  # fmt: skip


def transcripts(count: int = 40) -> list[Transcript]:
    rows: list[Transcript] = []
    for n in range(count):
        if n % 10 == 9:
            rows.append(
                Transcript(f"id-{n}", "failed", duration_ms=500, error_code="worker_died",
                           error_message=f"the process of {n} died.")
            )  # fmt: skip
        elif n % 7 == 6:
            rows.append(Transcript(f"id-{n}", "no_speech", duration_ms=700))
        else:
            rows.append(Transcript(f"id-{n}", "ok", f"text of {n}", duration_ms=1000 * n + 500))
    return rows


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_rows(tmp_path_factory.mktemp("report") / "out", transcripts())
    record_run(LOCAL, str(folder))
    return folder


@pytest.fixture(scope="module")
def full(output: Path) -> Report:
    clip = Clip("data:audio/mpeg;base64,AAAA", 3.0, 15.0, is_whole=False)
    asked = Asked(
        price_per_cpu_hour=0.6,
        baseline=BASELINE,
        bench=BENCH,
        clips=lambda rows, until: {(rows[0].file, rows[0].number): clip},
    )
    return make_report(str(output), asked)


@pytest.fixture(scope="module")
def page(full: Report) -> Page:
    return Page(full.html)


def test_every_section_is_there_under_one_heading_each(page: Page) -> None:
    assert [h["id"] for h in page.of("h2")] == list(SECTIONS)
    assert len(page.of("h1")) == 1
    assert {a["href"] for a in page.of("a")} == {f"#{name}" for name in SECTIONS}


def test_nothing_is_loaded_from_outside_and_nothing_can_run(full: Report, page: Page) -> None:
    assert not re.search(r"https?:|//[a-z]", full.html.replace("data:audio", ""))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "img", "base"}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name, "")
            assert value == "" or value.startswith(("#", "data:audio/", "data:,"))
    (policy,) = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy


def test_ids_are_unique_and_each_reference_has_its_target(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {a["href"][1:] for tag, a in page.elements if a.get("href", "").startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", str(page.elements)))
    assert wanted <= set(ids)


def test_pictures_take_their_colours_from_the_page_and_say_what_they_show(page: Page) -> None:
    pictures = page.of("svg")
    assert len(pictures) >= 9
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 30
    inside = [a.get("style", "") for tag, a in page.elements if tag in ("path", "text", "g")]
    assert any("var(--s1)" in style for style in inside)
    assert not re.search(r"#[0-9a-f]{6}", " ".join(inside))


def test_the_main_figures_are_said(page: Page) -> None:
    text = page.text
    assert "60 minutes of audio in 1 min 00 s" in text
    assert "every row is done; 4 of them failed" in text
    for words in ("60 \u00d7", "real-time factor 0.017", "92 %", "of all cores", "int8", "demo"):
        assert words in text, words
    assert "batch.batch_size_s" in text
    assert RUN_ID in text


def test_each_number_of_the_plan_has_its_reason(page: Page) -> None:
    assert "of Ray's CPUs as many as compute threads (ncpu)" in page.text
    assert "Recognizing actors" in page.text


def test_rows_are_counted_by_status_and_failures_by_code_with_examples(full: Report) -> None:
    text = Page(full.html).text
    assert full.facts["by_status"] == {"ok": 31, "no_speech": 5, "failed": 4}
    assert full.facts["by_error_code"] == {"worker_died": 4}
    assert "worker_died 4 rows, 100 % of those that failed" in text
    assert len(re.findall(r"the process of \d+ died\.", text)) == 3


def test_decisions_are_marked_on_the_plots_with_their_reasons(full: Report, page: Page) -> None:
    text = page.text
    assert "2 → 1 actors" in text
    assert "one & <two> cost less" in text
    assert "batches of 30 → 42 s in an actor" in text
    titles = re.findall(r"<title>(\d): ([^<]+)</title>", full.html)
    assert {number for number, _ in titles} == {"1", "2", "3"}
    assert sum("one &amp; &lt;two&gt; cost less" in title for _, title in titles) >= 5


def test_speed_stands_beside_the_baseline_and_the_article(page: Page) -> None:
    text = page.text
    assert "baseline's best, in a long job 75 \u00d7" in text
    assert "settings without a baseline 50 \u00d7" in text
    assert "The baseline is of another model (other) than the run (demo)." in text
    assert "article: 4 processes, FunASR's defaults 15.3 \u00d7" in text
    assert "4.5 \u00d7" in text
    assert "article: batches" not in text


def test_cost_is_cores_times_hours_times_price(full: Report, page: Page) -> None:
    assert full.facts["cost"] == pytest.approx(2 / 60 * 0.6)
    assert "Cost of the run 0.02" in page.text


def test_a_player_stands_beside_its_transcript(page: Page) -> None:
    (player,) = page.of("audio")
    assert player["src"] == "data:audio/mpeg;base64,AAAA"
    assert "0:03 to 0:18 of it" in page.text


def test_whatever_stands_in_an_output_is_shown_as_text(tmp_path: Path) -> None:
    rows = [
        Transcript(HOSTILE, "ok", HOSTILE + "x" * 5000, duration_ms=900, language=HOSTILE),
        Transcript(HOSTILE + "2", "failed", error_code=HOSTILE, error_message=HOSTILE),
    ]
    output = write_rows(tmp_path / "out <b>", rows)
    config = with_settings(Config(), {"model": "demo", "hotword": HOSTILE})
    run = summary_of(str(output), model_id=HOSTILE)
    record_run(LOCAL, str(output), run, config=config, source="s3://key:hidden1@bucket/<i>x")
    folder = output / "_runs" / RUN_ID
    scaling = json.loads((folder / "scaling.json").read_text())
    scaling[2]["reason"] = HOSTILE
    (folder / "scaling.json").write_text(json.dumps(scaling))
    plan = json.loads((folder / "plan.json").read_text())
    plan["reasons"]["ncpu"], plan["warnings"], plan["stages"] = HOSTILE, [HOSTILE], HOSTILE
    (folder / "plan.json").write_text(json.dumps(plan))
    html = make_report(str(output), Asked(baseline={**BASELINE, "date": HOSTILE})).html
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not re.search("[\x00\x1b\u202e\u2066]", html)
    assert r"\u202e" in page.text
    assert "characters)" in page.text
    assert "x" * 700 not in html
    assert "hidden1" not in html


@pytest.mark.parametrize("missing", ["samples.parquet", "all"])
def test_a_run_that_recorded_less_has_a_page_too(tmp_path: Path, missing: str) -> None:
    output = write_rows(tmp_path / "out", transcripts(10))
    record_run(LOCAL, str(output))
    folder = output / "_runs" / RUN_ID
    for file in list(folder.iterdir()) if missing == "all" else [folder / missing]:
        file.unlink()
    page = Page(make_report(str(output)).html)
    assert [h["id"] for h in page.of("h2")] == list(SECTIONS)
    assert ("A run without an end" in page.text) == (missing == "all")
    assert ("Nothing was sampled" in page.text) == (missing in ("all", "samples.parquet"))


@pytest.mark.parametrize(
    "damage",
    [
        {
            "summary.json": b"[1, 2",
            "plan.json": b'{"reasons": 3, "cores": "x", "recognize": 7, "warnings": "no"}',
            "scaling.json": b'[1, {"time_s": "x"}, {"target": 2}]',
            "chunks.json": b'{"real_time_factors": {"edges": [1], "counts": []}, "batch_sizes": 4}',
            "config.yaml": b"engine: [1",
            "samples.parquet": b"PAR1 not really",
        },
        {
            "summary.json": b'{"rows_out": "many", "wall_s": NaN, "audio_s": [1]}',
            "plan.json": b'"text"',
            "scaling.json": b'{"time_s": 1}',
            "chunks.json": b'{"batch_sizes": [1, {}, {"time_s": 1}], "padding_shares": 1}',
            "config.yaml": b"engine: {model: [1]}",
            "run.json": b"\xff\xfe",
        },
    ],
)
def test_damaged_files_of_a_run_cost_their_part_of_the_page_alone(
    tmp_path: Path, damage: dict[str, bytes]
) -> None:
    output = write_rows(tmp_path / "out", transcripts(10))
    record_run(LOCAL, str(output), seconds=5)
    for name, content in damage.items():
        (output / "_runs" / RUN_ID / name).write_bytes(content)
    page = Page(make_report(str(output)).html)
    assert [h["id"] for h in page.of("h2")] == list(SECTIONS)
    assert "text of 0" in page.text


def test_a_gpu_and_several_nodes_have_their_curves(tmp_path: Path) -> None:
    output = write_rows(tmp_path / "out", transcripts(10))
    record_run(LOCAL, str(output), nodes=3, gpu=True, seconds=30)
    text = Page(make_report(str(output)).html).text
    assert "GPU % used" in text
    assert "Mean of 3 nodes, with the least and the most." in text


def test_an_output_without_parts_says_so(tmp_path: Path) -> None:
    output = tmp_path / "out"
    record_run(LOCAL, str(output))
    report = make_report(str(output))
    assert "holds no .parquet files" in Page(report.html).text
    assert report.facts["rows_read"] == 0


def test_reading_ends_when_its_time_is_up_and_the_page_says_so(output: Path) -> None:
    report = make_report(str(output), Asked(until=time.monotonic() - 1))
    assert not report.facts["all_rows_read"]
    assert "`ray-asr report` reads all" in Page(report.html).text


def test_the_newest_run_that_did_something_is_shown_unless_one_is_named(tmp_path: Path) -> None:
    output = write_rows(tmp_path / "out", transcripts(10))
    for run_id, done in (("20261101T000000-a", 5), ("20261102T000000-b", 7)):
        run = summary_of(str(output), run_id=run_id, rows_out=done, rows_resumed=40 - done)
        record_run(LOCAL, str(output), run, seconds=5)
    idle = summary_of(str(output), run_id="20261103T000000-c", rows_out=0, rows_resumed=40)
    record_run(LOCAL, str(output), idle, seconds=5)
    begin_run(LOCAL, str(output), "20261104T000000-d", Config(), "shards")
    assert make_report(str(output)).run_id == "20261102T000000-b"
    named = make_report(str(output), Asked(run_id="20261103T000000-c"))
    assert "Nothing was left to do" in named.html
    going_on = make_report(str(output), Asked(run_id="20261104T000000-d"))
    assert "no summary: it goes on, or was ended" in going_on.html
    with pytest.raises(ConfigError, match=r'no run "../x"; the last ones are .*-d\.'):
        make_report(str(output), Asked(run_id="../x"))


@pytest.mark.parametrize("kind", ["nowhere", "no runs", "other columns"])
def test_what_is_no_output_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    where: Any = tmp_path / "out"
    if kind != "nowhere":
        write_rows(where, transcripts(3))
    if kind == "other columns":
        import pyarrow as pa
        import pyarrow.parquet as pq

        record_run(LOCAL, str(where), seconds=3)
        pq.write_table(pa.table({"x": [1]}), where / "part-a.parquet")
    with pytest.raises(DataError, match="ray-asr transcribe"):
        make_report(str(where))

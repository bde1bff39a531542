"""Reports of real outputs: the sound beside transcripts, where they go, what goes wrong."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import ray_asr
from ray_asr import cli
from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import Baseline, Entry, Hardware, Models, Sample
from ray_asr.corpus.storage import open_filesystem
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.clips import read_clips
from ray_asr.job.compact import compact
from ray_asr.job.reporting import ReportOptions, report_of_run, write_report
from ray_asr.results.columns import ParquetColumns
from ray_asr.results.report_rows import Clip, ShownRow, read_rows
from ray_asr.schema import SAMPLE_RATE_HZ
from tests.fakes import tone, wav_bytes, write_input
from tests.outputs import INPUT, LOCAL, SETTINGS, units_of, write_output
from tests.reports import RUN_ID, Page, record_run, summary_of
from tests.stores import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, s3_server

IDS = [f"id-{n:02d}" for n in range(24)]
CONFIG = with_settings(Config(), {"model": "demo", "unit_mb": SETTINGS["job.unit_mb"]})


def hz_of(utterance_id: str) -> float:
    return 300.0 + 100.0 * int(utterance_id[3:])


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """An input whose recordings are tones, each of its own, and the output of a finished job."""
    source, output = tmp_path / "shards", tmp_path / "out"
    for name, ids in (("a.parquet", IDS[:14]), ("b.parquet", IDS[14:])):
        audio = [wav_bytes(tone(1.0, hz=hz_of(name_))) for name_ in ids]
        write_input(source / name, audio, ids=ids, row_group_size=4)
    write_output(source, output)
    record_run(LOCAL, str(output), source=str(source), config=CONFIG)
    return source, output


def samples_of(output: Path) -> list[ShownRow]:
    return list(read_rows(ParquetColumns(str(output), "output"), samples=24).samples)


def clips_of(source: Path, output: Path) -> dict[str, Clip]:
    rows = samples_of(output)
    found = read_clips(LOCAL, str(output), LOCAL, units_of(source), INPUT, rows)
    return {
        row.text("utterance_id"): clip
        for row in rows
        if (clip := found.get((row.file, row.number)))
    }


def heard_hz(clip: Clip) -> float:
    sound = base64.b64decode(clip.address.partition("base64,")[2])
    waveform, rate = soundfile.read(io.BytesIO(sound))
    assert rate == SAMPLE_RATE_HZ
    spectrum = np.abs(np.fft.rfft(waveform))
    return float(spectrum.argmax()) * rate / len(waveform)


def test_each_player_has_the_sound_of_its_row(made: tuple[Path, Path]) -> None:
    clips = clips_of(*made)
    assert len(clips) == 8
    for utterance_id, clip in clips.items():
        assert heard_hz(clip) == pytest.approx(hz_of(utterance_id), abs=20)
        assert clip.is_whole
        assert clip.length_s == pytest.approx(1.0, abs=0.01)


def test_sound_is_found_in_joined_files_too(made: tuple[Path, Path]) -> None:
    source, output = made
    compact(str(output), "", 100.0)
    assert len(list(output.glob("part-*.parquet"))) == 1
    clips = clips_of(source, output)
    assert len(clips) == 8
    for utterance_id, clip in clips.items():
        assert heard_hz(clip) == pytest.approx(hz_of(utterance_id), abs=20)


def test_an_input_that_changed_has_no_sound_and_a_page_all_the_same(
    made: tuple[Path, Path],
) -> None:
    source, output = made
    for file in source.iterdir():
        write_input(file, [b"nothing"], ids=["other"])
    assert clips_of(source, output) == {}
    assert Page(Path(write_report(str(output)).path).read_text()).of("audio") == []


def test_a_long_recording_is_heard_from_where_speech_begins(made: tuple[Path, Path]) -> None:
    source, output = made
    audio = np.concatenate([np.zeros(40 * SAMPLE_RATE_HZ, np.float32), tone(30.0, hz=700.0)])
    write_input(source / "a.parquet", [wav_bytes(audio)] * 14, ids=IDS[:14], row_group_size=4)
    (unit, *_) = units_of(source)
    row = ShownRow(
        f"{output}/{unit.part_name}", 0, "ok", duration_ms=70_000,
        values={"utterance_id": IDS[0], "segments": [{"start_ms": 40_000, "end_ms": 70_000}]},
    )  # fmt: skip
    os.rename(next(output.glob("part-*.parquet")), row.file)
    (clip,) = read_clips(LOCAL, str(output), LOCAL, [unit], INPUT, [row]).values()
    assert (clip.start_s, clip.length_s, clip.is_whole) == (39.7, 15.0, False)
    assert heard_hz(clip) == pytest.approx(700.0, abs=20)


def test_the_page_stands_in_the_folder_of_its_run_with_players(made: tuple[Path, Path]) -> None:
    _, output = made
    written = write_report(str(output))
    assert written.path == f"{output}/_runs/{RUN_ID}/report.html"
    page = Page(Path(written.path).read_text())
    assert len(page.of("audio")) == 8
    assert written.to_dict()["by_status"]["ok"] > 6
    assert written.table().splitlines()[-1].endswith("report.html")


def test_the_verb_and_the_function_write_where_they_are_told(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = made
    there = tmp_path / "new" / "page.html"
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", str(output), "--out", str(there), "--input", str(source),
                  "--price-per-cpu-hour", "2", "--json"])  # fmt: skip
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(there)
    assert told["cost"] == pytest.approx(2 * 2 / 60)
    assert there.stat().st_size == told["bytes"]
    again = ray_asr.report(output, out=tmp_path / "page.html", price_per_gpu_hour=1.0)
    assert again.facts["cost"] == 0.0


def test_the_baseline_of_the_run_is_taken_unless_another_is_named(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    _, output = made
    entry = Entry(1, 2, 30.0, "int8", "fused", True, 50.0, 49.0, 51.0, 3, 180.0)
    baseline = Baseline(
        "2026-11-23 10:00 UTC", Hardware("A CPU", 1, 2, 16.0), Models("demo", "builtin"), {},
        Sample(180.0, 40), (entry,),
    )  # fmt: skip
    baseline.save(tmp_path / "baseline.json")
    config = with_settings(CONFIG, {"baseline": str(tmp_path / "baseline.json")})
    record_run(LOCAL, str(output), source=str(tmp_path / "moved"), config=config)
    assert (
        "settings without a baseline 50 \u00d7"
        in Page(Path(write_report(str(output)).path).read_text()).text
    )
    (tmp_path / "baseline.json").unlink()
    assert "No baseline was given" in Page(Path(write_report(str(output)).path).read_text()).text


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"run": "nothing"}, ConfigError, "has no run"),
        ({"baseline": "nowhere.json"}, ConfigError, "ray-asr tune"),
        ({"bench": "nowhere.json"}, ConfigError, "ray-asr bench --json"),
        ({"bench": __file__}, ConfigError, "is not JSON"),
        ({"source": "nowhere"}, DataError, "does not exist"),
        ({"out": "."}, DataError, "is a folder"),
        ({"out": f"{__file__}/x.html"}, DataError, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    made: tuple[Path, Path], options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        write_report(str(made[1]), ReportOptions(**options))
    assert not (made[1] / "_runs" / RUN_ID / "report.html").exists()


def test_a_price_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="price_per_cpu_hour is -1: use 0 or more"):
        ReportOptions(price_per_cpu_hour=-1)


def test_a_job_ends_well_whatever_becomes_of_its_report(
    made: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    _, output = made

    def broken(*_: object) -> dict[tuple[str, int], Clip]:
        raise ZeroDivisionError("of a decoder")

    with caplog.at_level(logging.INFO, "ray_asr"):
        report_of_run(LOCAL, str(output), "out", RUN_ID, broken)
        (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert "ZeroDivisionError: of a decoder" in warning
        assert "`ray-asr report out`" in warning
        report_of_run(LOCAL, str(output), "out", RUN_ID, lambda rows, until: {}, "gone.json")
    assert f"the report of this run is out/_runs/{RUN_ID}/report.html." in caplog.messages
    assert (output / "_runs" / RUN_ID / "report.html").exists()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as port:
        make_bucket(port, "reports")
        query = f"endpoint_override=127.0.0.1:{port}&scheme=http&region={REGION}"
        key = SECRET_KEY.replace("/", "%2F").replace("+", "%2B")
        yield f"s3://{ACCESS_KEY}:{key}@reports/{{}}?{query}"


def test_an_output_on_a_store_has_its_page_there_and_shows_no_secret(
    bucket: str, made: tuple[Path, Path]
) -> None:
    source, output = made
    address = bucket.format("out")
    filesystem, folder = open_filesystem(address)
    for part in output.glob("part-*.parquet"):
        with filesystem.open_output_stream(f"{folder}/{part.name}") as sink:
            sink.write(part.read_bytes())
    record_run(filesystem, folder, summary_of(folder), source=str(source), config=CONFIG, seconds=5)
    written = write_report(address)
    path = f"{folder}/_runs/{RUN_ID}/report.html"
    with filesystem.open_input_stream(path) as stored:
        html = stored.read().decode()
    assert len(Page(html).of("audio")) == 8
    for text in (html, written.path, json.dumps(written.to_dict())):
        assert SECRET_KEY not in text
        assert "%2F" not in text
        assert ACCESS_KEY not in text

"""Exports: which rows, to where, and what stands in formats of a line a row."""

from __future__ import annotations

import gzip
import inspect
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pysrt
import pytest
import webvtt

import ray_asr
from ray_asr import cli
from ray_asr.errors import ConfigError, DataError
from ray_asr.schema import Transcript
from tests.tables import many_types
from tests.transcripts import HOSTILE_IDS, said, write_output

FAILED = Transcript("gone", "failed", error_code="worker_died", error_message="It died.")
SILENT = Transcript("quiet", "no_speech", duration_ms=700)
FOLDERS = ("srt", "vtt", "kaldi", "lhotse", "hf")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_output(
        tmp_path / "out",
        [said("one.wav", "Hello there.", "Good bye!"), FAILED],
        [said("two.wav", "今天天气很好。", language=""), SILENT],
        audio_path=["one.wav", "gone.wav", "/data/two.wav", None],
    )


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- which rows


def test_rows_that_are_ok_are_exported_and_others_counted(output: Path, tmp_path: Path) -> None:
    summary = ray_asr.export(output, tmp_path / "a.jsonl")
    assert [row["utterance_id"] for row in lines_of(tmp_path / "a.jsonl")] == ["one.wav", "two.wav"]
    assert summary.rows == 2
    assert summary.left_out == {"failed": 1, "no_speech": 1}
    assert "1 failed, 1 no_speech (--status all takes every row)" in summary.table()
    assert json.loads(json.dumps(summary.to_dict()))["entries"] == {"lines": 2}


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"status": ["all"]}, ["one.wav", "gone", "two.wav", "quiet"]),
        ({"status": ["failed", "no_speech"]}, ["gone", "quiet"]),
        ({"ids": ["two.wav", "gone"]}, ["two.wav"]),
        ({"ids": ["gone"], "status": ["all"]}, ["gone"]),
        ({"ids": ["nobody"]}, []),
    ],
)
def test_rows_are_chosen_by_status_and_id(
    given: dict[str, Any], ids: list[str], output: Path, tmp_path: Path
) -> None:
    ray_asr.export(output, tmp_path / "a.jsonl", **given)
    assert [row["utterance_id"] for row in lines_of(tmp_path / "a.jsonl")] == ids


# --- the command line


def test_the_verb_and_the_function_are_the_same(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {flag.name: flag.default for flag in cli.cli.commands["export"].params}
    known = inspect.signature(ray_asr.export).parameters
    assert flags.keys() - known.keys() == {"as_json"}
    both = [n for n in known if type(flags[n]) is type(known[n].default)]
    assert len(both) >= 12
    assert all(flags[name] == known[name].default for name in both)
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(output), str(tmp_path / "subs"), "--format", "srt", "--status",
                  "all", "--id", "one.wav", "--max-lines", "1", "--json"])  # fmt: skip
    assert ended.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["entries"]["files"]) == (1, 1)
    assert (tmp_path / "subs" / "one.wav.srt").exists()
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(output), str(tmp_path / "subs")])
    assert ended.value.code == 3


# --- lines


def test_jsonl_has_every_column_of_every_type(tmp_path: Path) -> None:
    output = write_output(
        tmp_path / "out",
        [said(str(n), "Hi.", speakers=["0"]) for n in range(3)],
        **{name: column.slice(0, 3) for name, column in many_types(3).items()},
    )
    more = write_output(tmp_path / "more", [said("3", "Hi.")], mood=["glad"])
    (more / "part-0000.parquet").rename(output / "part-0009.parquet")
    ray_asr.export(output, tmp_path / "a.jsonl")
    rows = lines_of(tmp_path / "a.jsonl")
    assert rows[0].keys() == rows[3].keys()
    assert rows[3]["mood"] == "glad"
    assert rows[0]["mood"] is None
    assert rows[0]["segments"][0] == {
        "start_ms": 0, "end_ms": 300, "text": "Hi.", "speaker": "0",
        "words": [{"text": "hi", "start_ms": 0, "end_ms": 300}],
    }  # fmt: skip
    assert (rows[0]["some_bytes"], rows[0]["a_decimal"]) == ("AP8=", "1.50")
    assert rows[0]["a_time"].startswith("2026-11-22T")
    assert rows[0]["a_map"] == [["k", 1]]
    assert rows[2]["a_string"] is None


def test_jsonl_is_a_line_a_row_whatever_a_text_holds(tmp_path: Path) -> None:
    texts = ["a\nb\r\u2028\u2029\x85c", "\x1b[31mred\x00", "\u202eevil", 'quote " \\', "😀"]
    rows = [Transcript(str(n), "ok", text, duration_ms=1) for n, text in enumerate(texts)]
    output = write_output(
        tmp_path / "out", rows, number=[float("nan"), float("inf"), 1.5, 0.0, 2.0]
    )
    ray_asr.export(output, tmp_path / "a.jsonl")
    data = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert len(data.splitlines()) == 5
    assert not set(data) & set("\x1b\x85\u202e\u2028")
    found = [json.loads(line) for line in data.splitlines()]
    assert [row["text"] for row in found] == texts
    assert [row["number"] for row in found] == [None, None, 1.5, 0.0, 2.0]


def test_a_language_is_said_where_the_rows_do_not(output: Path, tmp_path: Path) -> None:
    ray_asr.export(output, tmp_path / "a.jsonl", language="zh")
    assert [row["language"] for row in lines_of(tmp_path / "a.jsonl")] == ["en", "zh"]


def test_a_name_that_ends_in_gz_is_compressed(output: Path, tmp_path: Path) -> None:
    ray_asr.export(output, tmp_path / "a.jsonl")
    ray_asr.export(output, tmp_path / "a.jsonl.gz")
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "a.jsonl").read_bytes()


def test_txt_is_id_tab_text(tmp_path: Path) -> None:
    output = write_output(
        tmp_path / "out",
        [said("a\tb\n", "One.", "Two.", "Three.", speakers=["0", "0", "1"]), said("c", "\x1b[2Jx")],
    )
    ray_asr.export(output, tmp_path / "a.txt", "txt")
    assert (tmp_path / "a.txt").read_text() == "a b\tOne. Two. Three.\nc\t[2Jx\n"
    ray_asr.export(output, tmp_path / "b.txt", "txt", speakers=True)
    assert (tmp_path / "b.txt").read_text().startswith("a b\t[0] One. Two. [1] Three.\n")


def test_nemo_has_a_line_for_each_segment(output: Path, tmp_path: Path) -> None:
    summary = ray_asr.export(output, tmp_path / "m.json", "nemo", audio_root="s3://bucket/audio/")
    first, second, third = lines_of(tmp_path / "m.json")
    assert first == {
        "audio_filepath": "s3://bucket/audio/one.wav", "offset": 0.0, "duration": 0.6,
        "text": "Hello there.", "utterance_id": "one.wav", "lang": "en",
    }  # fmt: skip
    assert (second["offset"], second["duration"]) == (1.6, 0.6)
    assert third["audio_filepath"] == "/data/two.wav"
    assert "lang" not in third
    assert summary.entries == {"segments": 3}


def test_speakers_are_told_apart_between_recordings(tmp_path: Path) -> None:
    rows = [said(name, "Hi.", speakers=["0"]) for name in ("a", "b")]
    output = write_output(tmp_path / "out", rows, audio_path=["a", "b"])
    ray_asr.export(output, tmp_path / "m.json", "nemo")
    assert [row["speaker"] for row in lines_of(tmp_path / "m.json")] == ["a-0", "b-0"]


# --- where recordings lie


def test_paths_are_looked_up_in_the_input(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", [said("1", "Hi."), said("2", "Ho."), said("3", "He.")])
    job = {"input.id_column": "key", "input.audio_column": "sound"}
    (output / "_job.json").write_text(json.dumps(job))
    source = tmp_path / "in"
    source.mkdir()
    sound = pa.array([{"bytes": b"x" * 1000, "path": f"{n}.flac"} for n in (2, 1)])
    pq.write_table(pa.table({"key": [2, 1], "sound": sound}), source / "a.parquet")
    pq.write_table(pa.table({"key": ["3"], "sound": ["s3://b/3.wav"]}), source / "b.parquet")
    ray_asr.export(output, tmp_path / "m.json", "nemo", source=source, audio_root="/audio")
    assert [row["audio_filepath"] for row in lines_of(tmp_path / "m.json")] == [
        "/audio/1.flac", "/audio/2.flac", "s3://b/3.wav",
    ]  # fmt: skip


def test_a_manifest_without_paths_is_refused_with_the_next_step(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", [said("1", "Hi.")])
    with pytest.raises(DataError, match="with --audio-column, or the job's input"):
        ray_asr.export(output, tmp_path / "m.json", "nemo")
    with pytest.raises(DataError, match="no column 'nothing'"):
        ray_asr.export(output, tmp_path / "m.json", "nemo", audio_column="nothing")
    pq.write_table(pa.table({"utterance_id": ["1"], "audio": [b"x"]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="no column that says where recordings lie"):
        ray_asr.export(output, tmp_path / "m.json", "nemo", source=tmp_path / "in.parquet")
    assert not (tmp_path / "m.json").exists()


# --- where it goes


def test_a_file_that_is_there_stays_unless_told_otherwise(output: Path, tmp_path: Path) -> None:
    there = tmp_path / "deep" / "a.jsonl"
    ray_asr.export(output, there)
    there.write_text("mine")
    with pytest.raises(DataError, match="give --overwrite"):
        ray_asr.export(output, there)
    assert there.read_text() == "mine"
    ray_asr.export(output, there, overwrite=True)
    assert len(lines_of(there)) == 2
    with pytest.raises(DataError, match="is a folder"):
        ray_asr.export(output, tmp_path / "deep", overwrite=True)


@pytest.mark.parametrize("form", FOLDERS)
def test_a_folder_is_replaced_only_where_an_export_made_it(
    form: Any, output: Path, tmp_path: Path
) -> None:
    there = tmp_path / "export"
    ray_asr.export(output, there, form)
    mark = json.loads((there / "_export.json").read_text())
    assert (mark["format"], mark["complete"], mark["rows"]) == (form, True, 2)
    (there / "old").write_text("old")
    with pytest.raises(DataError, match="holds an export"):
        ray_asr.export(output, there, form)
    ray_asr.export(output, there, form, overwrite=True)
    assert not (there / "old").exists()
    (there / "_export.json").unlink()
    with pytest.raises(DataError, match="which no export has written"):
        ray_asr.export(output, there, form, overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        ray_asr.export(output, tmp_path / "file", form, overwrite=True)


@pytest.mark.parametrize("where", ["out/subtitles", "out", ".", "out/../out/x", "link/x"])
def test_an_export_is_never_put_in_the_output_or_over_it(
    where: str, output: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(output)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="lie in one another"):
        ray_asr.export(output, tmp_path / where, "srt", overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_that_fails_leaves_no_file(output: Path, tmp_path: Path) -> None:
    part = output / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[:-200] + b"\0" * 200)
    with pytest.raises(DataError, match="cannot be read"):
        ray_asr.export(output, tmp_path / "a.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_place_that_cannot_be_written_is_one_sentence(output: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be"):
        ray_asr.export(output, tmp_path / "file" / "a.jsonl")


def test_options_that_cannot_work_are_refused_before_anything_is_written(
    output: Path, tmp_path: Path
) -> None:
    for form, given in (("docx", {}), ("srt", {"max_lines": 0}), ("txt", {"status": ["good"]})):
        with pytest.raises(ConfigError):
            ray_asr.export(output, tmp_path / "x", form, **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="does not exist"):
        ray_asr.export(tmp_path / "nowhere", tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- subtitles, a file a row


def test_subtitles_are_a_file_a_row_with_a_map(output: Path, tmp_path: Path) -> None:
    summary = ray_asr.export(output, tmp_path / "subs", "srt")
    index = lines_of(tmp_path / "subs" / "index.jsonl")
    assert [(row["utterance_id"], row["file"], row["cues"]) for row in index] == [
        ("one.wav", "one.wav.srt", 2), ("two.wav", "two.wav.srt", 1),
    ]  # fmt: skip
    items = pysrt.open(str(tmp_path / "subs" / "one.wav.srt"))
    assert [item.text for item in items] == ["Hello there.", "Good bye!"]
    assert [item.start.ordinal for item in items] == [0, 1600]
    assert summary.entries["files"] == 2
    ray_asr.export(output, tmp_path / "vtt", "vtt")
    (caption,) = webvtt.read(str(tmp_path / "vtt" / "two.wav.vtt"))
    assert caption.text == "今天天气很好。"


def test_a_row_without_speech_has_an_empty_file_where_it_is_asked_for(
    output: Path, tmp_path: Path
) -> None:
    ray_asr.export(output, tmp_path / "subs", "vtt", status=["all"])
    assert list(webvtt.read(str(tmp_path / "subs" / "quiet.vtt"))) == []
    assert (tmp_path / "subs" / "gone.vtt").read_text() == "WEBVTT\n"


@pytest.mark.parametrize("rows", [0, 1_000])
def test_no_id_leaves_the_folder_and_no_two_share_a_file(rows: int, tmp_path: Path) -> None:
    ids = [*HOSTILE_IDS, *HOSTILE_IDS, *map(str, range(rows))]
    output = write_output(tmp_path / "out", [said(one, "Hi.") for one in ids])
    before = set(tmp_path.iterdir())
    ray_asr.export(output, tmp_path / "subs", "srt")
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"subs"}
    index = lines_of(tmp_path / "subs" / "index.jsonl")
    assert [row["utterance_id"] for row in index] == ids
    files = [row["file"] for row in index]
    assert len({file.casefold() for file in files}) == len(ids)
    written = {
        str(path.relative_to(tmp_path / "subs")) for path in (tmp_path / "subs").rglob("*.srt")
    }
    assert written == set(files)
    assert all(len(path.encode()) < 200 and not path.startswith(("-", ".")) for path in files)
    assert {file.count("/") for file in files} == ({1} if rows else {0})

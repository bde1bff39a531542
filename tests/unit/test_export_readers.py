"""Data folders and manifests read back with the readers that they are for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pysrt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ray_asr
from ray_asr.corpus.storage import open_filesystem, read_whole
from ray_asr.errors import DataError
from ray_asr.results.export_names import Names, file_name, kaldi_id
from ray_asr.results.sorted_lines import SortedLines
from tests.stores import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, s3_server
from tests.tables import many_types
from tests.transcripts import HOSTILE_IDS, said, write_output

# --- Kaldi


def kaldi_table(folder: Path, name: str) -> list[tuple[str, str]]:
    """A file of a Kaldi folder: unique keys in the order of the C locale, and what follows them."""
    data = (folder / name).read_bytes()
    assert data.endswith(b"\n") or not data
    keys = [line.split(b" ", 1)[0] for line in data.split(b"\n")[:-1]]
    assert keys == sorted(set(keys))
    rows = []
    for line in data.decode().split("\n")[:-1]:
        key, _, value = line.partition(" ")
        assert key
        assert value == " ".join(value.split())
        rows.append((key, value))
    return rows


def read_kaldi(folder: Path) -> dict[str, dict[str, str]]:
    """The folder, held against what `validate_data_dir.sh` asks of one."""
    names = ["text", "segments", "utt2spk", "spk2utt"]
    has_audio = (folder / "wav.scp").exists()
    names += ["wav.scp", "reco2dur"] if has_audio else []
    tables = {name: dict(kaldi_table(folder, name)) for name in names}
    assert tables["text"].keys() == tables["segments"].keys() == tables["utt2spk"].keys()
    speakers = [speaker.encode() for speaker in tables["utt2spk"].values()]
    assert speakers == sorted(speakers)
    of_speakers = {u: s for s, utterances in tables["spk2utt"].items() for u in utterances.split()}
    assert of_speakers == tables["utt2spk"]
    assert all(u.startswith(s) for u, s in tables["utt2spk"].items())
    for line in tables["segments"].values():
        recording, start, end = line.split()
        assert float(start) < float(end)
        assert not has_audio or recording in tables["wav.scp"]
    if has_audio:
        assert tables["wav.scp"].keys() == tables["reco2dur"].keys()
    return tables


def ids_of(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "ids.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["utterance_id"], row["recording"]) for row in map(json.loads, lines)]


def test_kaldi_folder_is_what_kaldi_wants(tmp_path: Path) -> None:
    rows = [
        said("b one", "It is late.", "  I\u00a0 go.\n", speakers=["1", "0"]),
        said("a/two.wav", "今天天气"),
    ]
    output = write_output(tmp_path / "out", rows, audio_path=["b one.wav", "two.wav"])
    summary = ray_asr.export(output, tmp_path / "data", "kaldi", audio_root="/audio")
    tables = read_kaldi(tmp_path / "data")
    assert tables["text"] == {
        "a/two.wav--000000000-000001200": "今天天气",
        "b_one--0--000001900-000002500": "I go.",
        "b_one--1--000000000-000000900": "It is late.",
    }
    assert tables["segments"]["b_one--0--000001900-000002500"] == "b_one 1.900 2.500"
    assert tables["utt2spk"]["b_one--1--000000000-000000900"] == "b_one--1"
    assert tables["wav.scp"] == {"a/two.wav": "/audio/two.wav", "b_one": "/audio/b one.wav"}
    assert tables["reco2dur"] == {"a/two.wav": "2.200", "b_one": "3.500"}
    assert ids_of(tmp_path / "data") == [("b one", "b_one"), ("a/two.wav", "a/two.wav")]
    assert summary.entries == {"utterances": 3, "recordings": 2}


def test_kaldi_folder_is_read_by_lhotse(tmp_path: Path) -> None:
    from lhotse.kaldi import load_kaldi_data_dir

    rows = [said("b", "It is late.", "Go.", speakers=["1", "0"]), said("a", "Yes.")]
    output = write_output(tmp_path / "out", rows, audio_path=["/audio/b.wav", "/audio/a.wav"])
    ray_asr.export(output, tmp_path / "data", "kaldi")
    recordings, supervisions, _ = load_kaldi_data_dir(tmp_path / "data", 16_000)
    assert supervisions is not None
    assert {one.id: one.duration for one in recordings} == {"b": 3.2, "a": 1.3}
    found = {(one.recording_id, one.text, one.speaker, one.start) for one in supervisions}
    assert found == {
        ("b", "It is late.", "b--1", 0.0), ("b", "Go.", "b--0", 1.9), ("a", "Yes.", "a", 0.0),
    }  # fmt: skip


def test_kaldi_ids_are_valid_and_sort_by_speaker_whatever_the_ids_are(tmp_path: Path) -> None:
    ids = [*HOSTILE_IDS, "a", "a-1", "a-10", "a+b", "a!", "a-1", "1"]
    rows = [
        said(one, "Hi.", "Ho.", speakers=["1", "10"] if n % 2 else ()) for n, one in enumerate(ids)
    ]
    output = write_output(tmp_path / "out", rows)
    summary = ray_asr.export(output, tmp_path / "data", "kaldi")
    tables = read_kaldi(tmp_path / "data")
    assert len(tables["text"]) == 2 * len(ids)
    assert [one for one, _ in ids_of(tmp_path / "data")] == ids
    assert not (tmp_path / "data" / "wav.scp").exists()
    assert "no wav.scp" in summary.notes[0]


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.text("a1-_+!. ", max_size=4), st.lists(st.text("01-a", max_size=2), max_size=2)
        ),
        max_size=12,
    )
)
def test_any_ids_and_labels_come_in_kaldis_order(
    rows: list[tuple[str, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kaldi")
    transcripts = [said(one, *["Hi."] * len(labels), speakers=labels) for one, labels in rows]
    ray_asr.export(write_output(folder / "out", transcripts), folder / "data", "kaldi")
    tables = read_kaldi(folder / "data")
    assert len(tables["text"]) == sum(len(labels) for _, labels in rows)


@pytest.mark.parametrize(
    "path",
    ["rm -rf / |", "| tee x", "-", "a.ark:12", "a\nb", "", None, " x.wav", "sox x -t wav - | "],
)
def test_no_path_in_wav_scp_is_a_command(path: str | None, tmp_path: Path) -> None:
    rows = [said("bad", "Hi."), said("good", "Ho.")]
    output = write_output(tmp_path / "out", rows, audio_path=[path, "good | x.wav"])
    summary = ray_asr.export(output, tmp_path / "data", "kaldi")
    tables = read_kaldi(tmp_path / "data")
    assert tables["wav.scp"] == {"good": "good | x.wav"}
    assert list(tables["text"].values()) == ["Ho."]
    assert summary.entries["rows without a path that is a file's, left out"] == 1


@settings(max_examples=40)
@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=8)),
    run_bytes=st.integers(1, 500),
)
def test_lines_are_sorted_by_their_bytes_in_any_memory(lines: list[str], run_bytes: int) -> None:
    kept = SortedLines(run_bytes)
    for number, line in enumerate(lines):
        kept.add(line, str(number))
    merged = list(kept.merged())
    kept.close()
    keys = [key.encode() for key, _ in merged]
    assert keys == sorted(line.encode() for line in lines)
    assert all(lines[int(number)] == key for key, number in merged)


@settings(max_examples=60)
@given(ids=st.lists(st.one_of(st.text(max_size=12), st.sampled_from(HOSTILE_IDS)), max_size=20))
def test_names_are_valid_and_no_two_alike(ids: list[str]) -> None:
    for clean, forbidden in ((file_name, '/\\:*?"<>|$` '), (kaldi_id, " \t!$%&'()*+,\"#|")):
        names = Names(clean, ignores_case=True)
        given_names = [names.new(one) for one in ids]
        names.close()
        assert len({name.casefold() for name in given_names}) == len(ids)
        assert not any(set(name) & set(forbidden) for name in given_names)
        assert all(0 < len(name.encode()) <= 200 and name.isprintable() for name in given_names)


# --- lhotse


def test_lhotse_manifests_are_read_by_lhotse(tmp_path: Path) -> None:
    from lhotse import RecordingSet, SupervisionSet, validate
    from lhotse.cut import CutSet

    rows = [said("a b", "It is late.", "Go.", speakers=["1", "0"]), said("c", "今天", language=""),
            said("c", "Again.")]  # fmt: skip
    output = write_output(tmp_path / "out", rows, audio_path=["b.wav", "s3://x/c.wav", "d.wav"])
    summary = ray_asr.export(
        output, tmp_path / "m", "lhotse", sampling_rate=48_000, audio_root="/audio"
    )
    supervisions = SupervisionSet.from_file(tmp_path / "m" / "supervisions.jsonl.gz")
    recordings = RecordingSet.from_file(tmp_path / "m" / "recordings.jsonl.gz")
    validate(supervisions)
    validate(recordings)
    cuts = CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
    assert sum(len(cut.supervisions) for cut in cuts) == 4
    first, second, third, fourth = supervisions
    assert (first.recording_id, first.text, first.speaker) == ("a b", "It is late.", "a b-1")
    assert (second.start, second.duration, second.language) == (1.9, 0.3, "en")
    words = first.alignment["word"]
    assert [(word.symbol, word.start, word.duration) for word in words] == [
        ("it", 0.0, 0.3), ("is", 0.3, 0.3), ("late", 0.6, 0.3),
    ]  # fmt: skip
    assert third.language is None
    assert fourth.recording_id.startswith("c~")
    assert fourth.custom == {"utterance_id": "c"}
    by_id = {one.id: one for one in recordings}
    recording = by_id["a b"]
    assert (recording.sampling_rate, recording.duration) == (48_000, 3.2)
    assert (recording.sources[0].type, recording.sources[0].source) == ("file", "/audio/b.wav")
    assert by_id["c"].sources[0].type == "url"
    assert summary.entries == {"supervisions": 4, "recordings": 3}


def test_lhotse_without_a_sampling_rate_has_supervisions_alone(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", [said("a", "Hi.")])
    summary = ray_asr.export(output, tmp_path / "m", "lhotse")
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "_export.json", "supervisions.jsonl.gz",
    }  # fmt: skip
    assert "--sampling-rate" in summary.notes[0]


# --- Hugging Face


def load(folder: Path, cache: Path, **given: Any) -> Any:
    from datasets import load_dataset

    return load_dataset(str(folder), split="train", cache_dir=str(cache), **given)


def test_hf_folder_is_read_by_datasets_with_its_features(tmp_path: Path) -> None:
    columns = {name: column.slice(0, 3) for name, column in many_types(3).items()}
    output = write_output(
        tmp_path / "out", [said(str(n), "Hi.", "Ho.") for n in range(3)], **columns
    )
    more = write_output(tmp_path / "more", [said("3", "He.")], mood=["glad"])
    (more / "part-0000.parquet").rename(output / "part-0009.parquet")
    summary = ray_asr.export(output, tmp_path / "data", "hf", language="en")
    dataset = load(tmp_path / "data", tmp_path / "cache")
    assert dataset.num_rows == 4
    assert dataset["utterance_id"] == ["0", "1", "2", "3"]
    assert dataset[3]["mood"] == "glad"
    assert dataset[0]["segments"][1]["words"] == [{"text": "ho", "start_ms": 1300, "end_ms": 1600}]
    assert dataset.features["duration_ms"].dtype == "int64"
    assert dataset[0]["a_category"] == "de"
    assert json.loads(dataset[0]["a_map"]) == [["k", 1]]
    assert dataset[0]["some_bytes"] == b"\0\xff"
    assert summary.entries == {"rows": 4, "shards": 1}
    (streamed, *_) = load(tmp_path / "data", tmp_path / "cache", streaming=True)
    assert streamed["text"] == "Hi. Ho."


def test_hf_card_says_what_it_holds_and_no_column_name_is_markup(tmp_path: Path) -> None:
    hostile = {"a|b`<script>\n---": ["x"], "yes": [1], "null": [1.5], ": - {": ["y"]}
    output = write_output(tmp_path / "out", [said("1", "Hi.")], **hostile)
    ray_asr.export(output, tmp_path / "data", "hf")
    card = (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    assert card.count("\n---\n") == 1
    assert "<script>" not in card.split("\n---\n")[1]
    assert "language:\n- en\n" in card
    row = load(tmp_path / "data", tmp_path / "cache")[0]
    assert {name: row[name] for name in hostile} == {n: v[0] for n, v in hostile.items()}


def test_hf_rows_of_nothing_are_a_dataset_too(tmp_path: Path) -> None:
    output = write_output(tmp_path / "out", [said("1", "Hi.")])
    ray_asr.export(output, tmp_path / "data", "hf", ids=["nobody"])
    table = pq.read_table(tmp_path / "data" / "data" / "train-00000.parquet")
    assert table.num_rows == 0
    assert "utterance_id" in table.schema.names


def test_hf_shards_are_cut_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray_asr.results import export_hf

    monkeypatch.setattr(export_hf, "_SHARD_BYTES", 1)
    monkeypatch.setattr(export_hf, "_GROUP_BYTES", 1)
    output = write_output(
        tmp_path / "out", [said("1", "Hi.")], [said("2", "Ho.")], [said("3", "He.")]
    )
    summary = ray_asr.export(output, tmp_path / "data", "hf")
    assert summary.entries == {"rows": 3, "shards": 3}
    assert load(tmp_path / "data", tmp_path / "cache")["utterance_id"] == ["1", "2", "3"]


# --- on a store


def address(path: str, port: int) -> str:
    user = f"{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}"
    query = f"endpoint_override=127.0.0.1:{port}&scheme=http&region={REGION}"
    return f"s3://{user}@speech/{path}?{query}"


def test_exports_go_from_a_store_to_a_store(tmp_path: Path) -> None:
    local = write_output(
        tmp_path / "out", [said(f"{n}/x.wav", "Hello there.") for n in range(30)],
        audio_path=[f"{n}.wav" for n in range(30)],
    )  # fmt: skip
    with s3_server() as port:
        make_bucket(port, "speech")
        output = address("out", port)
        store, path = open_filesystem(output)
        for part in local.iterdir():
            with store.open_output_stream(f"{path}/{part.name}") as sink:
                sink.write(part.read_bytes())
        for form in ("srt", "jsonl", "kaldi", "hf"):
            given = address(f"export/{form}", port)
            summary = ray_asr.export(output, given, form)  # type: ignore[arg-type]
            assert summary.rows == 30
            assert "***" in summary.destination
        with pytest.raises(DataError, match="holds an export"):
            ray_asr.export(output, address("export/srt", port), "srt")
        ray_asr.export(output, address("export/srt", port), "srt", overwrite=True, ids=["7/x.wav"])
        root = path.rpartition("/")[0]
        found = store.get_file_info(pafs.FileSelector(f"{root}/export", recursive=True))
        files = {info.path.removeprefix(f"{root}/export/"): info.path for info in found}
        assert len([name for name in files if name.endswith(".srt")]) == 1
        (item,) = pysrt.from_string(read_whole(store, files["srt/7_x.wav.srt"]).decode())
        assert item.text == "Hello there."
        assert len(read_whole(store, files["jsonl"]).splitlines()) == 30
        assert {"kaldi/text", "kaldi/wav.scp", "hf/README.md"} <= files.keys()
        part = pa.BufferReader(read_whole(store, files["hf/data/train-00000.parquet"]))
        assert pq.read_table(part).num_rows == 30

"""The parts of `pack` that need no Ray: sources, splitting, one shard."""

import io
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.corpus.manifests import check_unique, list_folder, read_jsonl, read_kaldi
from ray_asr.corpus.pack_parquet import list_ids, read_pieces, read_tables
from ray_asr.corpus.pack_shards import (
    OWN_FIELDS,
    read_recordings,
    split_by_bytes,
    write_shard,
)
from ray_asr.errors import DataError

LOCAL = pafs.LocalFileSystem()
ROW_BYTES = 256


def wav(seconds: float = 0.1) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.zeros(int(16_000 * seconds), np.float32), 16_000, format="WAV")
    return file.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(
    sizes=st.lists(st.integers(0, 10_000), max_size=50),
    most=st.integers(1, 20_000),
)
def test_split_keeps_every_item_once_in_order_and_within_bounds(sizes, most) -> None:
    items = list(enumerate(sizes))
    groups = split_by_bytes(items, lambda item: item[1], most)
    assert [item for group in groups for item in group] == items
    for group in groups:
        assert group
        assert len(group) == 1 or sum(size + ROW_BYTES for _, size in group) <= most
    for group, after in itertools.pairwise(groups):
        weight = sum(size + ROW_BYTES for _, size in [*group, after[0]])
        assert weight > most  # no group ends before it has to


def test_folder_ids_are_relative_paths_with_suffix(tmp_path: Path) -> None:
    for name in ("b/1.wav", "a/1.WAV", "a/1.txt", "a/notes.txt", "a/._1.wav", ".git/x.wav"):
        put(tmp_path / name, "x")
    found = list_folder(LOCAL, str(tmp_path)).found
    assert [r.utterance_id for r in found] == ["a/1.WAV", "b/1.wav"]
    assert [Path(r.text_path).name for r in found] == ["1.txt", ""]


def test_kaldi_directory_has_texts_by_id(tmp_path: Path) -> None:
    put(tmp_path / "audio/1.wav", wav())
    put(tmp_path / "wav.scp", f"u1 audio/1.wav\n\nu2\t{tmp_path}/audio/1.wav\nu3 gone.wav\n")
    put(tmp_path / "text", "u1 hello there\nu9 nobody\n")
    source = read_kaldi(LOCAL, str(tmp_path / "wav.scp"))
    assert [(r.utterance_id, r.reference_text) for r in source.found] == [
        ("u1", "hello there"),
        ("u2", None),
    ]
    assert source.missing == [("u3", "gone.wav is not there")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("u1 sox a.flac -t wav - |", "is a command"),
        ("u1 feats.ark:1234", "archive"),
        ("u1", "has no path"),
    ],
)
def test_kaldi_entries_that_are_no_files_are_refused(tmp_path: Path, line, said) -> None:
    put(tmp_path / "wav.scp", f"{line}\n")
    with pytest.raises(DataError, match=said):
        read_kaldi(LOCAL, str(tmp_path / "wav.scp"))


def test_kaldi_segments_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "wav.scp", "r a.wav\n")
    put(tmp_path / "segments", "u r 0.0 1.0\n")
    with pytest.raises(DataError, match="segments cuts recordings"):
        read_kaldi(LOCAL, str(tmp_path / "wav.scp"))


def test_nemo_manifest_keeps_text_duration_and_common_extras(tmp_path: Path) -> None:
    put(tmp_path / "a/1.wav", wav())
    lines = [
        {"audio_filepath": "a/1.wav", "duration": 1.5, "text": "hi", "set": "x", "rate": 8000},
        {"audio_filepath": f"file://{tmp_path}/a/1.wav", "set": "y", "rate": 16000, "odd": 1},
    ]
    path = put(tmp_path / "m.jsonl", "\ufeff" + "\n".join(map(json.dumps, lines)) + "\n")
    first, second = read_jsonl(LOCAL, str(path)).found
    assert first.utterance_id == "a/1.wav"
    assert (first.reference_text, first.claimed_ms) == ("hi", 1500)
    assert first.extras == {"set": "x", "rate": "8000"}
    assert first.path == second.path == str(tmp_path / "a/1.wav")
    assert (second.reference_text, second.store) == (None, 0)


def test_funasr_manifest_has_key_source_target(tmp_path: Path) -> None:
    put(tmp_path / "1.wav", wav())
    entry = {"key": "k1", "source": "1.wav", "target": "你好", "source_len": 10}
    path = put(tmp_path / "m.jsonl", json.dumps(entry))
    (found,) = read_jsonl(LOCAL, str(path)).found
    assert (found.utterance_id, found.reference_text) == ("k1", "你好")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "line 1 is not JSON"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "neither"),
        ('{"audio_filepath": "a.wav", "offset": 3.2}', "part of a recording"),
    ],
)
def test_bad_manifest_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = put(tmp_path / "m.jsonl", line)
    with pytest.raises(DataError, match=said):
        read_jsonl(LOCAL, str(path))


def test_duplicate_id_names_both_places() -> None:
    with pytest.raises(DataError, match=r'"x" comes twice, in one\.jsonl line 1 and in .* line 7'):
        check_unique([("x", "one.jsonl line 1"), ("y", "l 2"), ("x", "one.jsonl line 7")])


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=30), most=st.integers(300, 5_000))
def test_row_groups_are_bounded_and_hold_every_row(tmp_path_factory, sizes, most) -> None:
    path = tmp_path_factory.getbasetemp() / "bounded.parquet"
    rows = [
        {"utterance_id": str(i), "audio": bytes(size), "duration_ms": None, "audio_path": ""}
        for i, size in enumerate(sizes)
    ]
    report = write_shard(LOCAL, str(path), pa.schema(OWN_FIELDS), rows, most)
    assert (report.rows, report.audio_bytes) == (len(sizes), sum(sizes))
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(i)["audio"].to_pylist() for i in range(file.num_row_groups)]
    assert [len(audio) for group in groups for audio in group] == sizes
    for group in groups:
        assert len(group) == 1 or sum(len(audio) + ROW_BYTES for audio in group) <= most


def test_shard_stores_audio_as_it_is_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    schema = pa.schema([*OWN_FIELDS, ("nested", pa.struct([("a", pa.int64())]))])
    row = {"utterance_id": "1", "audio": bytes(1000), "duration_ms": 5, "nested": {"a": 1}}
    write_shard(LOCAL, str(tmp_path / "s.parquet"), schema, [row], 2**20)
    assert [p.name for p in tmp_path.iterdir()] == ["s.parquet"]
    audio = pq.read_metadata(tmp_path / "s.parquet").row_group(0).column(1)
    assert (audio.path_in_schema, audio.compression) == ("audio", "UNCOMPRESSED")
    assert audio.statistics is None


def test_unreadable_recordings_are_reported_and_left_out(tmp_path: Path) -> None:
    put(tmp_path / "1.wav", wav(0.5))
    put(tmp_path / "2.wav", wav())
    put(tmp_path / "2.txt", b"\xff\xfe\xfa")
    put(tmp_path / "3.wav", b"")
    put(tmp_path / "4.wav", wav())
    source = list_folder(LOCAL, str(tmp_path))
    (tmp_path / "4.wav").unlink()
    unreadable: list[tuple[str, str]] = []
    rows = list(read_recordings(source.filesystems, source.found, 2**20, unreadable))
    assert [(row["utterance_id"], row["duration_ms"]) for row in rows] == [
        ("1.wav", 500),
        ("3.wav", None),
    ]
    assert [name for name, _ in unreadable] == ["2.wav", "4.wav"]
    assert "UTF-8" in unreadable[0][1]
    assert "No such file" in unreadable[1][1]


def audio_struct(rows: list[dict]) -> pa.Array:
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def test_hugging_face_table_takes_ids_from_paths(tmp_path: Path) -> None:
    put(tmp_path / "loose.wav", wav(0.2))
    cells = [
        {"bytes": wav(), "path": "one.wav"},
        {"bytes": None, "path": "loose.wav"},
        {"bytes": None, "path": "gone.wav"},
        {"bytes": None, "path": None},
    ]
    table = pa.table(
        {"audio": audio_struct(cells), "sentence": ["a", None, "c", "d"], "age": [1, 2, 3, 4]}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    tables = read_tables(LOCAL, str(tmp_path))
    assert [name for name, _ in list_ids(tables)] == [
        "one.wav",
        "loose.wav",
        "gone.wav",
        "t.parquet/00000003",
    ]
    unreadable: list[tuple[str, str]] = []
    rows = list(read_pieces(tables, tables.pieces, unreadable))
    assert [name for name, _ in unreadable] == ["gone.wav"]
    assert [row["utterance_id"] for row in rows] == ["one.wav", "loose.wav", "t.parquet/00000003"]
    assert [row["duration_ms"] for row in rows] == [100, 200, None]
    assert [row["reference_text"] for row in rows] == ["a", None, "d"]
    assert tables.schema.field("age").type == pa.int64()
    report = write_shard(LOCAL, str(tmp_path / "out"), tables.schema, rows, 2**20)
    assert report.rows == 3
    assert pq.read_table(tmp_path / "out")["age"].to_pylist() == [1, 2, 4]


@pytest.mark.parametrize("id_column", ["utterance_id", ""])
def test_table_of_plain_bytes_has_an_id_for_every_row(tmp_path: Path, id_column: str) -> None:
    columns = {"audio": pa.array([wav()] * 3, pa.binary())}
    if id_column:
        columns[id_column] = pa.array([7, 8, 9])
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=2)
    tables = read_tables(LOCAL, str(tmp_path / "t.parquet"))
    ids = [name for name, _ in list_ids(tables)]
    assert ids == (["7", "8", "9"] if id_column else [f"t.parquet/0000000{i}" for i in range(3)])
    assert [row["utterance_id"] for row in read_pieces(tables, tables.pieces, [])] == ids


def test_tables_that_cannot_be_packed_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sound": [b"x"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match='no column "audio"'):
        read_tables(LOCAL, str(tmp_path))
    pq.write_table(pa.table({"other": [b"x"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="other columns"):
        read_tables(LOCAL, str(tmp_path))
    put(tmp_path / "c.parquet", "no table")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_tables(LOCAL, str(tmp_path / "c.parquet"))

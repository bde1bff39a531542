from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from ray_asr.config import InputConfig
from ray_asr.corpus.chunks import in_chunks, unfold
from ray_asr.corpus.rows import (
    ERROR_CODE,
    ERROR_MESSAGE,
    ID,
    ROW,
    TRAVELLING,
    UNIT,
    WAVEFORM,
    decode_rows,
    numbered,
    read_unit,
)
from ray_asr.corpus.units import list_units
from ray_asr.errors import DataError, ErrorCode
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.fakes import tone, wav_bytes, write_input
from tests.tables import INPUT, batch, decoded, many_types

PROPERTY = settings(max_examples=30, deadline=None, database=None)
LOCAL = pafs.LocalFileSystem()
OURS = {*TRANSCRIPT_SCHEMA.names, *TRAVELLING, UNIT, ROW}
TENTH = wav_bytes(tone(0.1))


# --- reading


@pytest.mark.parametrize("row_group_size", [1, 7, 64, 200])
@pytest.mark.parametrize("unit_mb", [0.002, 0.02, 64.0])
def test_units_read_every_row_once_in_order(
    tmp_path: Path, row_group_size: int, unit_mb: float
) -> None:
    audio = [np.random.default_rng(n).bytes(300) for n in range(150)]
    path = write_input(tmp_path / "a.parquet", audio, row_group_size=row_group_size)
    units = list_units(
        LOCAL, str(path), id_column="utterance_id", audio_column="audio", unit_mb=unit_mb
    )
    assert (len(units) > 1) == (unit_mb < 64)
    read = [pa.Table.from_batches(read_unit(LOCAL, unit)) for unit in units]
    assert [rows.num_rows for rows in read] == [unit.num_rows for unit in units]
    assert pa.concat_tables(read).equals(pq.read_table(path))


# --- decoding


def test_a_decoded_row_has_its_waveform_and_no_error() -> None:
    waveform = tone(0.1)
    rows = decoded(batch([wav_bytes(waveform, subtype="FLOAT")], ["a/1.wav"]))
    assert rows.column_names == list(TRAVELLING)
    assert rows[ID].to_pylist() == ["a/1.wav"]
    samples = np.frombuffer(rows[WAVEFORM][0].as_py(), np.float32)
    np.testing.assert_allclose(samples, waveform, atol=1e-6)
    assert (rows[ERROR_CODE].to_pylist(), rows[ERROR_MESSAGE].to_pylist()) == ([""], [""])


def test_the_three_kinds_of_audio_cells_give_the_same_waveform(tmp_path: Path) -> None:
    path = str(tmp_path / "a.wav")
    Path(path).write_bytes(TENTH)
    structs = [{"bytes": TENTH, "path": "gone.wav"}, {"bytes": None, "path": path}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [
        pa.array([TENTH, TENTH]),
        pa.array([TENTH, TENTH], pa.large_binary()),
        pa.array(structs, kind),
        pa.array([path, f"file://{path}"]),
        pa.array([path, path], pa.large_string()),
    ]
    waveforms = [decoded(batch(column))[WAVEFORM].to_pylist() for column in columns]
    assert waveforms[0][0] is not None
    assert all(of_column == [waveforms[0][0]] * 2 for of_column in waveforms)


def test_a_struct_of_bytes_alone_is_enough() -> None:
    assert decoded(batch([{"bytes": TENTH}]))[ERROR_CODE].to_pylist() == [""]


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        (pa.array([None], pa.binary()), ErrorCode.AUDIO_MISSING),
        (pa.array([None], pa.string()), ErrorCode.AUDIO_MISSING),
        (pa.array([{"bytes": None, "path": None}],
                  pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
         ErrorCode.AUDIO_MISSING),
        (pa.array([None], pa.struct([("bytes", pa.binary())])), ErrorCode.AUDIO_MISSING),
        (pa.array([b""]), ErrorCode.AUDIO_EMPTY),
        (pa.array([b"these bytes are no audio at all"]), ErrorCode.AUDIO_NOT_AUDIO),
        (pa.array(["/nowhere/a.wav"]), ErrorCode.AUDIO_UNREADABLE),
        (pa.array(["gopher://there/a.wav"]), ErrorCode.AUDIO_UNREADABLE),
        (pa.array(["/"]), ErrorCode.AUDIO_UNREADABLE),
        (pa.array(["a\0b"]), ErrorCode.AUDIO_UNREADABLE),
        (pa.array([""]), ErrorCode.AUDIO_MISSING),
    ],
)  # fmt: skip
def test_a_bad_row_keeps_its_place_and_carries_its_code(audio: pa.Array, code: ErrorCode) -> None:
    rows = decoded(batch(audio, ["bad"], note=["kept"]))
    assert rows.num_rows == 1
    assert rows[ERROR_CODE].to_pylist() == [code.value]
    assert rows[ERROR_MESSAGE][0].as_py()
    assert rows[WAVEFORM].null_count == 1
    assert (rows[ID].to_pylist(), rows["note"].to_pylist()) == (["bad"], ["kept"])


def test_bad_rows_harm_no_other() -> None:
    rows = decoded(batch([TENTH, b"", None, TENTH[:30], TENTH], ["a", "b", "c", "d", "e"]))
    assert rows[ID].to_pylist() == ["a", "b", "c", "d", "e"]
    assert [code == "" for code in rows[ERROR_CODE].to_pylist()] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert rows[WAVEFORM].is_valid().to_pylist() == [True, False, False, False, True]


def test_a_recording_longer_than_allowed_is_a_failed_row() -> None:
    rows = decoded(batch([TENTH]), InputConfig(max_duration_s=0.05))
    assert rows[ERROR_CODE].to_pylist() == [ErrorCode.AUDIO_TOO_LONG.value]


def test_a_row_without_an_id_fails_with_an_empty_id() -> None:
    rows = decoded(batch([TENTH, TENTH], pa.array([None, "b"], pa.string())))
    assert rows[ID].to_pylist() == ["", "b"]
    assert rows[ERROR_CODE].to_pylist() == [ErrorCode.ID_MISSING.value, ""]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([7, 8], pa.int32()), ["7", "8"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", b"b"]), ["a", "b"]),
    ],
)
def test_ids_become_text(ids: pa.Array, expected: list[str]) -> None:
    rows = decoded(batch([TENTH, TENTH], ids))
    assert rows.schema.field(ID).type == pa.string()
    assert rows[ID].to_pylist() == expected


def test_ids_of_a_type_that_is_no_text_are_an_error_of_the_input() -> None:
    with pytest.raises(DataError, match="--id-column"):
        decoded(batch([TENTH, TENTH], pa.array([[1], [2]])))


BYTES = pa.array([b"\xff", b"b"])


@pytest.mark.parametrize("ids", [BYTES, BYTES.view(pa.string()), BYTES.cast(pa.large_binary())])
def test_an_id_that_is_no_text_fails_its_row_alone(ids: pa.Array) -> None:
    rows = decoded(batch([TENTH, TENTH], ids))
    assert rows[ID].to_pylist() == ["", "b"]
    assert rows[ERROR_CODE].to_pylist() == [ErrorCode.ID_MISSING.value, ""]


def test_columns_of_other_names_are_taken_by_settings() -> None:
    rows = pa.RecordBatch.from_pydict({"key": ["k"], "wav": [TENTH], "note": ["n"]})
    table = decoded(rows, InputConfig(id_column="key", audio_column="wav"))
    assert table.column_names == [*TRAVELLING, "note"]
    assert table[ID].to_pylist() == ["k"]


def test_one_column_may_be_id_and_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(TENTH)
    rows = pa.RecordBatch.from_pydict({"path": [str(path)]})
    table = decoded(rows, InputConfig(id_column="path", audio_column="path"))
    assert (table[ID].to_pylist(), table[ERROR_CODE].to_pylist()) == ([str(path)], [""])


# --- columns that pass through


def test_columns_of_many_types_pass_through() -> None:
    count = 12
    extra = many_types(count)
    rows = batch([TENTH, b""] * (count // 2), **extra)
    runs = decode_rows(rows, INPUT, chunk_s=0.25)
    table = pa.concat_tables([unfold(chunk) for chunk in in_chunks(runs, 0.25)])
    for name, column in extra.items():
        assert table.schema.field(name).type == column.type, name
        assert table[name].to_pylist() == column.to_pylist(), name


def test_columns_that_the_output_names_otherwise_are_renamed() -> None:
    rows = batch(
        [TENTH],
        text=["reference"],
        status=["draft"],
        language=["de"],
        segments=[3],
        reference_text=["r"],
        speaker=["s"],
    )
    table = decoded(rows)
    assert table.column_names == [
        *TRAVELLING, "input_text", "input_status", "input_language", "input_segments",
        "reference_text", "speaker",
    ]  # fmt: skip
    assert table["input_text"].to_pylist() == ["reference"]


def test_the_audio_and_a_duration_do_not_pass_through() -> None:
    assert decoded(batch([TENTH], duration_ms=[100])).column_names == list(TRAVELLING)


def test_an_id_column_that_is_not_the_id_keeps_its_values() -> None:
    rows = batch([TENTH], ["theirs"], key=["k"])
    table = decoded(rows, InputConfig(id_column="key"))
    assert table[ID].to_pylist() == ["k"]
    assert table["input_utterance_id"].to_pylist() == ["theirs"]


@pytest.mark.parametrize("first", ["text", "input_text"])
def test_a_renamed_column_does_not_swallow_one_of_that_name(first: str) -> None:
    second = {"text": "input_text", "input_text": "text"}[first]
    table = decoded(batch([TENTH], **{first: [f"of {first}"], second: [f"of {second}"]}))
    values = {v for name in table.column_names[len(TRAVELLING) :] for v in table[name].to_pylist()}
    assert values == {"of text", "of input_text"}


@pytest.mark.parametrize("name", sorted(OURS - {"utterance_id", "duration_ms"}))
def test_no_input_column_collides_with_one_of_ours(name: str) -> None:
    ((table, _),) = numbered(decode_rows(batch([TENTH], **{name: ["theirs"]}), INPUT, 60.0), 5)
    assert len(set(table.column_names)) == len(table.column_names)
    assert table[UNIT].to_pylist() == [5]
    assert table[ROW].to_pylist() == [0]

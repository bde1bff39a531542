from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import InputConfig
from ray_asr.corpus.rows import (
    ENCODED,
    ERROR_CODE,
    ERROR_MESSAGE,
    ID,
    ROW,
    TRAVELLING,
    UNIT,
    WAVEFORM,
    decode_rows,
    fold,
    in_chunks,
    numbered,
    read_unit,
    unfold,
)
from ray_asr.corpus.units import list_units
from ray_asr.errors import DataError, ErrorCode
from ray_asr.job.batching import group_by_padded_seconds
from ray_asr.schema import SAMPLE_RATE_HZ, TRANSCRIPT_SCHEMA
from tests.fakes import tone, wav_bytes, write_input

PROPERTY = settings(max_examples=30, deadline=None, database=None)
LOCAL = pafs.LocalFileSystem()
INPUT = InputConfig()
OURS = {*TRANSCRIPT_SCHEMA.names, *TRAVELLING, UNIT, ROW}
TENTH = wav_bytes(tone(0.1))
UTC = datetime.timezone.utc  # datetime.UTC is not in Python 3.10


def batch(audio: Any, ids: Any = None, **extra: Any) -> pa.RecordBatch:
    columns = {
        "utterance_id": ids if ids is not None else [str(n) for n in range(len(audio))],
        "audio": audio,
        **extra,
    }
    arrays = {n: c if isinstance(c, pa.Array) else pa.array(c) for n, c in columns.items()}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def decoded(rows: pa.RecordBatch, config: InputConfig = INPUT, chunk_s: float = 1e9) -> pa.Table:
    return pa.concat_tables([run for run, _ in decode_rows(rows, config, chunk_s)])


def many_types(count: int) -> dict[str, pa.Array]:
    """Columns of many types; every third value is null."""

    def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([None if n % 3 == 2 else values[n % 2] for n in range(count)], kind)

    day = datetime.datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    return {
        "a_string": column(["é", ""], pa.string()),
        "a_large_string": column(["魔搭", "x"], pa.large_string()),
        "some_bytes": column([b"\0\xff", b""], pa.binary()),
        "fixed_bytes": column([b"ab", b"cd"], pa.binary(2)),
        "an_int8": column([-1, 5], pa.int8()),
        "a_uint64": column([2**64 - 1, 0], pa.uint64()),
        "a_float32": column([0.5, -0.0], pa.float32()),
        "a_bool": column([True, False], pa.bool_()),
        "a_date": column([day.date(), day.date()], pa.date32()),
        "a_time": column([day, day], pa.timestamp("us", "Europe/Berlin")),
        "a_decimal": column(
            [decimal.Decimal("1.50"), decimal.Decimal("-2.25")], pa.decimal128(9, 2)
        ),
        "a_list": column([[1, None], []], pa.list_(pa.int64())),
        "a_fixed_list": column([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "a_struct": column(
            [{"x": 1, "y": [{"z": "q"}]}, {"x": None, "y": []}],
            pa.struct([("x", pa.int32()), ("y", pa.list_(pa.struct([("z", pa.string())])))]),
        ),
        "a_map": column([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "a_category": column(["de", "zh"], pa.string()).dictionary_encode(),
        "nothing": pa.nulls(count),
    }


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


@pytest.mark.parametrize("ids", [pa.array([[1], [2]]), pa.array([b"\xff", b"b"])])
def test_ids_that_are_no_text_are_an_error_of_the_input(ids: pa.Array) -> None:
    with pytest.raises(DataError, match="--id-column"):
        decoded(batch([TENTH, TENTH], ids))


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


# --- runs and chunks


@pytest.mark.parametrize("chunk_s", [0.001, 0.1, 0.25, 0.3, 1e9])
def test_decoded_runs_hold_every_row_in_order_within_the_seconds(chunk_s: float) -> None:
    audio = [TENTH, b"", TENTH, TENTH, b"x", wav_bytes(tone(0.5)), TENTH, b""]
    runs = list(decode_rows(batch(audio, n=list(range(8))), INPUT, chunk_s))
    assert [n for run, _ in runs for n in run["n"].to_pylist()] == list(range(8))
    for run, seconds in runs:
        lengths = [len(w) / 4 / SAMPLE_RATE_HZ for w in run[WAVEFORM].to_pylist() if w]
        assert seconds == pytest.approx(sum(lengths))
        assert seconds <= chunk_s + 1e-9 or len(lengths) == 1


def test_a_batch_without_rows_gives_no_runs() -> None:
    assert list(decode_rows(batch([TENTH]).slice(0, 0), INPUT, 60.0)) == []


RUNS = st.lists(
    st.tuples(st.integers(1, 5), st.floats(0, 30), st.sampled_from(["a", "b"])), max_size=15
)


def runs_of(shapes: list[tuple[int, float, str]]) -> list[tuple[pa.Table, float]]:
    """Runs of so many rows and seconds; the third part is the name of a column of their file."""
    first, runs = 0, []
    for count, seconds, name in shapes:
        numbers = list(range(first, first + count))
        runs.append((pa.table({"n": numbers, name: [str(n) for n in numbers]}), seconds))
        first += count
    return runs


@PROPERTY
@given(RUNS, st.floats(0.1, 100))
def test_chunks_hold_every_row_once_in_order(
    shapes: list[tuple[int, float, str]], chunk_s: float
) -> None:
    runs = runs_of(shapes)
    chunks = list(in_chunks(runs, chunk_s))
    assert all(chunk.num_rows == 1 for chunk in chunks)
    rows = [unfold(chunk) for chunk in chunks]
    assert [n for t in rows for n in t["n"].to_pylist()] == list(range(sum(s[0] for s in shapes)))
    for table in rows:  # rows of one file's columns, whole runs of them, within the seconds
        numbers = set(table["n"].to_pylist())
        inside = [(r, s) for r, s in runs if numbers & set(r["n"].to_pylist())]
        assert sum(r.num_rows for r, _ in inside) == table.num_rows
        assert sum(s for _, s in inside) <= chunk_s + 1e-6 or len(inside) == 1
        assert {tuple(r.column_names) for r, _ in inside} == {tuple(table.column_names)}


@PROPERTY
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_folding_and_unfolding_gives_the_rows_back(lengths: list[int]) -> None:
    total = sum(lengths)
    whole = pa.table({"n": pa.array(range(total), pa.int64()), **many_types(total)})
    edges = np.cumsum([0, *lengths]).tolist()
    pieces = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    folded = fold(pa.concat_tables(pieces))
    assert folded.num_rows == 1
    assert unfold(folded).equals(whole)
    assert unfold(pa.concat_tables([fold(piece) for piece in pieces])).equals(whole)


def test_a_sliced_chunk_unfolds_to_its_own_rows_alone() -> None:
    chunks = pa.concat_tables([fold(pa.table({"n": [n, n + 1]})) for n in (0, 2, 4)])
    assert unfold(chunks.combine_chunks().slice(1, 1))["n"].to_pylist() == [2, 3]


def test_rows_of_a_unit_are_numbered_through_its_runs() -> None:
    runs = list(numbered(runs_of([(2, 1.0, "a"), (3, 2.0, "a"), (1, 0.5, "b")]), 4))
    assert [seconds for _, seconds in runs] == [1.0, 2.0, 0.5]
    assert [n for run, _ in runs for n in run[ROW].to_pylist()] == list(range(6))
    assert {n for run, _ in runs for n in run[UNIT].to_pylist()} == {4}
    assert all(run.schema.field(ROW).type == pa.int64() for run, _ in runs)


# --- chunks of like length


def rows_of(tenths: list[int]) -> list[tuple[pa.Table, float]]:
    rows = pa.table(
        {
            **{name: pa.nulls(len(tenths), pa.string()) for name in TRAVELLING},
            WAVEFORM: pa.array([bytes(4 * 1600 * n) for n in tenths], pa.large_binary()),
            ENCODED: pa.nulls(len(tenths), pa.large_binary()),
            "note": list(range(len(tenths))),
        }
    )
    return [(rows.slice(i, 1), n / 10) for i, n in enumerate(tenths)]


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 3))
def test_sorted_chunks_hold_every_row_once_and_stay_within_their_batches(
    tenths: list[int], sort_window: int, batches: int
) -> None:
    found = in_chunks(rows_of(tenths), 5.0 * batches, sort_window=sort_window, batches=batches)
    chunks = [unfold(chunk)["note"].to_pylist() for chunk in found]
    assert all(chunks)
    notes = [note for chunk in chunks for note in chunk]
    assert sorted(notes) == list(range(len(tenths)))
    if sort_window == 1:
        assert notes == list(range(len(tenths)))
    for chunk in chunks:
        mine = [tenths[note] for note in chunk]
        if sort_window == 1:
            assert sum(mine) <= 50 * batches or len(mine) == 1
        else:
            assert mine == sorted(mine, reverse=True)
            groups = group_by_padded_seconds([tenth / 10 for tenth in mine], 5.0)
            assert len(groups) <= batches


def test_the_last_chunks_are_small_so_that_all_who_work_end_together() -> None:
    chunks = list(in_chunks(rows_of([10] * 200), 20.0, sort_window=8, batches=2))
    assert [unfold(chunk).num_rows for chunk in chunks] == [20] * 8 + [10, 5, 5, 5, 5, 5, 5]

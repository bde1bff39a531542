from __future__ import annotations

import dataclasses
import io
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_asr.schema import (
    TRANSCRIPT_SCHEMA,
    Provenance,
    Recognition,
    Segment,
    Span,
    Transcript,
    Word,
    transcripts_to_table,
)

PROVENANCE = Provenance("paraformer-zh", "master", "abc")
FULL = Transcript(
    "a/1.wav",
    "ok",
    "你好。 Hello.",
    (
        Segment(0, 900, "你好。", (Word("你", 0, 400), Word("好", 400, 900))),
        Segment(1000, 1500, "Hello.", (Word("hello", 1000, 1500),), "s1"),
    ),
    1600,
    "zh",
    emotion="HAPPY",
    audio_events=("BGM", "Laughter"),
)
FAILED = Transcript("b", "failed", error_code="audio_empty", error_message="no bytes.")
SILENT = Transcript("c", "no_speech", duration_ms=20)


def test_columns_and_their_order_are_those_of_the_contract() -> None:
    assert TRANSCRIPT_SCHEMA.names == [
        "utterance_id", "status", "text", "segments", "duration_ms", "language", "emotion",
        "audio_events", "model_id", "model_revision", "config_fingerprint", "error_code",
        "error_message",
    ]  # fmt: skip
    assert TRANSCRIPT_SCHEMA.field("duration_ms").type == pa.int64()
    word = pa.struct([("text", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())])
    segment = TRANSCRIPT_SCHEMA.field("segments").type.value_type
    assert segment.field("words").type == pa.list_(word)
    assert segment.field("start_ms").type == segment.field("end_ms").type == pa.int64()


def test_transcripts_become_rows_in_order() -> None:
    table = transcripts_to_table([FULL, FAILED, SILENT], PROVENANCE)
    assert table.schema == TRANSCRIPT_SCHEMA
    assert table["utterance_id"].to_pylist() == ["a/1.wav", "b", "c"]
    assert table["status"].to_pylist() == ["ok", "failed", "no_speech"]
    first, failed, _ = table.to_pylist()
    assert first["segments"] == [
        dataclasses.asdict(s) | {"words": _dicts(s)} for s in FULL.segments
    ]
    assert (failed["error_code"], failed["error_message"]) == ("audio_empty", "no bytes.")
    assert (first["emotion"], first["audio_events"]) == ("HAPPY", ["BGM", "Laughter"])
    assert (failed["emotion"], failed["audio_events"]) == ("", [])


def _dicts(segment: Segment) -> list[dict[str, object]]:
    return [dataclasses.asdict(word) for word in segment.words]


def test_every_row_says_what_made_it() -> None:
    table = transcripts_to_table([FULL, FAILED], PROVENANCE)
    for column, value in dataclasses.asdict(PROVENANCE).items():
        assert table[column].to_pylist() == [value, value]


@pytest.mark.parametrize("transcripts", [[], [FAILED], [SILENT], [FULL, FAILED, SILENT]])
def test_no_column_is_ever_null(transcripts: list[Transcript]) -> None:
    table = transcripts_to_table(transcripts, PROVENANCE)
    assert table.num_rows == len(transcripts)
    assert table.schema == TRANSCRIPT_SCHEMA
    assert all(column.null_count == 0 for column in table.columns)


def test_a_table_survives_parquet() -> None:
    table = transcripts_to_table([FULL, FAILED, SILENT], PROVENANCE)
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert pq.read_table(io.BytesIO(sink.getvalue())).equals(table)


@pytest.mark.parametrize(
    "value", [FULL, FAILED, PROVENANCE, Span(0, 1), Recognition("a", (Word("a", 0, 1),))]
)
def test_records_are_frozen_and_survive_pickling(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    name = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, "other")

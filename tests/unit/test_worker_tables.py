"""What a worker's call takes and gives: folded rows in, the output contract's columns out."""

from __future__ import annotations

import pyarrow as pa

from ray_asr.corpus.chunks import fold, unfold
from ray_asr.corpus.rows import ROW, UNIT
from ray_asr.errors import ErrorCode, RowError
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.fakes import (
    PROVENANCE,
    FakeEngine,
    decoded_rows,
    punctuated_text,
    silence,
    text_of,
    tone,
    worker_of,
)

BAD_AUDIO = RowError(ErrorCode.AUDIO_CORRUPT, "the data cannot be decoded.")


def test_the_output_has_the_contract_first_and_then_what_the_rows_brought() -> None:
    rows = decoded_rows(
        {"a": tone(0.3), "b": BAD_AUDIO, "c": silence(0.2)},
        reference_text=["one", "two", "three"],
        tags=pa.array([["x"], None, []], pa.list_(pa.string())),
        **{UNIT: [3, 3, 4], ROW: [0, 1, 0]},
    )
    (table,) = worker_of(FakeEngine())(fold(rows))
    assert table.column_names == [*TRANSCRIPT_SCHEMA.names, "reference_text", "tags", UNIT, ROW]
    assert table.select(TRANSCRIPT_SCHEMA.names).schema == TRANSCRIPT_SCHEMA
    for name in ("reference_text", "tags", UNIT, ROW):
        assert table[name].to_pylist() == rows[name].to_pylist()
        assert table.schema.field(name).type == rows.schema.field(name).type
    assert table["status"].to_pylist() == ["ok", "failed", "no_speech"]


def test_every_row_of_the_output_says_what_made_it() -> None:
    (table,) = worker_of(FakeEngine())(fold(decoded_rows({"a": tone(0.3), "b": BAD_AUDIO})))
    assert table["model_id"].to_pylist() == [PROVENANCE.model_id] * 2
    assert table["config_fingerprint"].to_pylist() == [PROVENANCE.config_fingerprint] * 2


def test_several_chunks_at_once_are_rows_in_order() -> None:
    cells = {str(n): tone(0.1 * (n + 1)) for n in range(4)}
    rows = decoded_rows(cells)
    chunks = pa.concat_tables([fold(rows.slice(0, 3)), fold(rows.slice(3, 1))])
    (table,) = worker_of(FakeEngine())(chunks)
    assert table["utterance_id"].to_pylist() == list(cells)
    assert table["text"].to_pylist() == [punctuated_text(text_of(w)) for w in cells.values()]


def test_the_worker_leaves_the_chunk_as_it_was() -> None:
    rows = decoded_rows({str(n): tone(0.2) for n in range(3)})
    chunk = fold(rows)
    list(worker_of(FakeEngine())(chunk))
    assert unfold(chunk).equals(rows)

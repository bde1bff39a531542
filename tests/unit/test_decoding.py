"""Decoders that end their process: every row comes once, in the order that Ray has taken it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.config import InputConfig
from ray_asr.corpus import rows as columns
from ray_asr.corpus.chunks import in_chunks, unfold
from ray_asr.corpus.rows import ERROR_CODE, decode_rows
from ray_asr.errors import DataError
from ray_asr.job.decoding import decoded
from ray_asr.job.isolation import DEATHS_ALONE, Isolation
from tests.deaths import NEVER_S, Death, Mortal, at_last
from tests.fakes import tone, wav_bytes
from tests.tables import batch

PROPERTY = settings(max_examples=40, deadline=None, database=None)


def deadly_decoding(monkeypatch: pytest.MonkeyPatch, store: Mortal) -> None:
    """Bytes that begin with KILL end the process, those that begin with HANG do so late."""
    ours = columns._decode_cell

    def decode(value: Any, hint: str, config: InputConfig) -> Any:
        data = bytes(value.as_buffer())
        if data.startswith(b"KILL"):
            store.die()
        if data.startswith(b"HANG"):
            store.die(after_s=2 * NEVER_S)
        return ours(value, hint, config)

    monkeypatch.setattr(columns, "_decode_cell", decode)


def taken_over(store: Mortal, attempt: Callable[[], Iterator[pa.Table]]) -> list[pa.Table]:
    """What Ray makes of attempts: it keeps what it has, and takes what comes after it."""
    kept: list[pa.Table] = []
    while True:
        try:
            for number, table in enumerate(attempt()):
                if number < len(kept):
                    assert table.equals(kept[number])
                else:
                    kept.append(table)
            return kept
        except Death:
            assert store.deaths < 200


def wav_of(seconds: float) -> bytes:
    return wav_bytes(tone(seconds))


KINDS = st.lists(st.sampled_from(["ok", "ok", "ok", "no audio", "KILL", "HANG"]), max_size=25)


@PROPERTY
@given(KINDS, st.integers(1, 9), st.sampled_from([0.1, 0.3, 60.0]), st.sampled_from([1, 3]))
def test_reading_gives_every_row_once_whatever_decoders_do(
    kinds: list[str], batch_rows: int, chunk_s: float, sorted_chunks: int
) -> None:
    good = [wav_of(0.05 + 0.01 * (n % 4)) for n in range(len(kinds))]
    audio = [
        data if kind == "ok" else kind.encode() for kind, data in zip(kinds, good, strict=True)
    ]
    ids = [f"{n}" for n in range(len(kinds))]
    batches = [
        batch(audio[at : at + batch_rows], ids[at : at + batch_rows])
        for at in range(0, len(kinds), batch_rows)
    ]
    store = Mortal()

    def attempt() -> Iterator[pa.Table]:
        runs = decoded(iter(batches), "here", InputConfig(), chunk_s, store.isolation(NEVER_S))
        yield from in_chunks(runs, chunk_s, sorted_s=sorted_chunks * chunk_s)

    with pytest.MonkeyPatch.context() as patch:
        deadly_decoding(patch, store)
        chunks = taken_over(store, attempt)
    found = {
        row["utterance_id"]: row[ERROR_CODE]
        for chunk in chunks
        for row in unfold(chunk).to_pylist()
    }
    codes = {"ok": "", "no audio": "audio_not_audio", "KILL": "worker_died", "HANG": "row_timeout"}
    assert sum(unfold(chunk).num_rows for chunk in chunks) == len(kinds)
    assert found == {name: codes[kind] for name, kind in zip(ids, kinds, strict=True)}
    bad = [kind for kind in kinds if kind in ("KILL", "HANG")]
    assert store.deaths <= len(bad) * (1 + DEATHS_ALONE)


def test_reading_that_nothing_disturbs_gives_what_it_always_gave() -> None:
    rows = batch([wav_of(0.1), b"", wav_of(0.2), wav_of(0.3)])
    watched = decoded(iter([rows]), "here", InputConfig(), 0.25, Isolation())
    plain = decode_rows(rows, InputConfig(), 0.25)
    assert [(run.to_pylist(), s) for run, s in watched] == [
        (run.to_pylist(), s) for run, s in plain
    ]


def test_no_time_counts_while_what_was_decoded_waits_to_be_taken() -> None:
    store = Mortal()
    rows = batch([wav_of(0.2)] * 4)
    for _ in decoded(iter([rows]), "here", InputConfig(), 0.25, store.isolation(NEVER_S)):
        assert store.records == {}
        store.now_s += 10 * NEVER_S
    assert store.records == {}


def test_a_file_whose_reading_kills_ends_the_job_and_is_named() -> None:
    store = Mortal()

    class Batches(Iterator[pa.RecordBatch]):
        def __next__(self) -> pa.RecordBatch:
            store.die()
            raise AssertionError

    def attempt() -> list[Any]:
        return list(decoded(Batches(), "a.parquet", InputConfig(), 60.0, store.isolation()))

    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        at_last(store, attempt)
    assert store.deaths == 1 + DEATHS_ALONE


def test_a_decoder_that_raises_anything_fails_its_row_alone(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def decode(value: Any, hint: str, config: InputConfig) -> Any:
        raise {b"m": MemoryError(), b"r": RecursionError("deep")}[bytes(value.as_buffer())]

    monkeypatch.setattr(columns, "_decode_cell", decode)
    ((rows, _),) = decoded(iter([batch([b"m", b"r"])]), "here", InputConfig(), 60.0, Isolation())
    assert rows[ERROR_CODE].to_pylist() == ["out_of_memory", "audio_corrupt"]

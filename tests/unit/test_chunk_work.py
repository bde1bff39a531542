from __future__ import annotations

import pyarrow as pa
import pytest

from ray_asr.corpus.chunks import fold
from ray_asr.job.chunk_work import WORK, ChunkSums, Work, of_column, of_metadata, without
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from tests.fakes import PROVENANCE, FakeEngine, decoded_rows, joined, silence, tone, worker_of


def rows(count: int = 2, metadata: dict[str, str] | None = None) -> pa.Table:
    table = pa.table({"duration_ms": pa.array([1000] * count)})
    return table.replace_schema_metadata(metadata)


def test_padding_is_what_batches_have_beside_their_segments() -> None:
    work = Work()
    work.batches([3.0, 1.0, 2.0], [[0, 2], [1]])
    assert (work.speech_s, work.padded_s) == (6.0, 7.0)
    work.batches([], [])
    assert (work.speech_s, work.padded_s) == (6.0, 7.0)


def test_figures_travel_in_metadata_beside_others_and_are_taken_out_again() -> None:
    told = Work(1.5, 6.0, 7.0).in_metadata(rows(metadata={"_precision": "int8"}))
    assert of_metadata(told) == Work(1.5, 6.0, 7.0)
    assert without(told).schema.metadata == {b"_precision": b"int8"}
    assert without(Work().in_metadata(rows())).schema.metadata is None
    assert of_metadata(rows()) is None


def test_figures_travel_in_a_column_of_which_parts_add_up() -> None:
    told = Work(1.5, 6.0, 7.0).in_column(rows(4))
    halves = [of_column(told.slice(0, 2)), of_column(told.slice(2))]
    assert sum(half.work_s for half in halves) == pytest.approx(1.5)
    assert sum(half.padded_s for half in halves) == pytest.approx(7.0)
    assert of_column(rows()) == Work()


def test_what_an_actor_says_of_a_chunk_is_of_that_chunk() -> None:
    worker = worker_of(FakeEngine(), batch_size_s=10.0)
    chunk = fold(decoded_rows({"a": tone(4.0), "b": tone(2.0), "c": silence(1.0)}))
    for _ in range(2):
        (table,) = worker(chunk)
        work = of_metadata(table)
        assert work is not None
        assert work.speech_s == pytest.approx(6.0, abs=0.1)
        assert work.padded_s == pytest.approx(8.0, abs=0.1)
        assert work.work_s > 0
    assert WORK not in table.column_names


def test_pools_apart_say_what_recognition_took() -> None:
    def make() -> FakeEngine:
        return FakeEngine()

    limits = Limits()
    detect = DetectStage(make, 10.0, limits)
    recognize = RecognizeStage(make, 10.0, limits)
    punctuate = PunctuateStage(make, 10.0, limits, "en", PROVENANCE)
    chunk = fold(decoded_rows({"a": joined(tone(4.0), silence(1.0)), "b": tone(2.0)}))
    (found,) = detect(chunk)
    (heard,) = recognize(found)
    (table,) = punctuate(heard)
    work = of_metadata(table)
    assert work is not None
    assert work.speech_s == pytest.approx(6.0, abs=0.1)
    assert work.padded_s == pytest.approx(8.0, abs=0.1)
    assert work.work_s > 0
    assert WORK not in table.column_names


def test_a_run_adds_up_its_chunks_and_notes_new_sizes_of_batches() -> None:
    moments = iter([0.0, 1.0, 2.0, 3.0, 4.0])
    sums = ChunkSums(clock=lambda: next(moments))
    assert sums.to_dict() == {}
    for size, work in ((30.0, Work(1.0, 9.0, 10.0)), (30.0, Work(0.5, 9.0, 9.0)),
                       (42.0, Work(0.0, 0.0, 0.0))):  # fmt: skip
        sums.add(work.in_metadata(rows()), size)
    sums.add(rows(), 60.0)  # of an actor that says nothing
    told = sums.to_dict()
    assert (told["chunks"], told["work_s"], told["padded_s"]) == (3, 1.5, 19.0)
    assert [size["batch_size_s"] for size in told["batch_sizes"]] == [30.0, 42.0]
    assert sum(told["real_time_factors"]["counts"]) == 2
    assert sum(told["padding_shares"]["counts"]) == 2
    assert sums.batch_size_s == 42.0

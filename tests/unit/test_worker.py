from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from ray_asr.corpus.chunks import fold
from ray_asr.errors import ErrorCode, RowError
from ray_asr.job.batch_size import BatchBounds
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import TRANSCRIPT_SCHEMA, Recognition, Span, Transcript, Waveform, Word
from tests.fakes import (
    PROVENANCE,
    FakeEngine,
    decoded_rows,
    heard,
    joined,
    punctuated_text,
    silence,
    text_of,
    tone,
    transcribed,
    worker_of,
)

BAD_AUDIO = RowError(ErrorCode.AUDIO_CORRUPT, "the data cannot be decoded.")


def test_the_engine_is_made_and_loaded_once_in_the_actor() -> None:
    engine = FakeEngine()
    made: list[int] = []

    def make() -> FakeEngine:
        made.append(1)
        return engine

    worker = TranscribeWorker(make, 60.0, "", PROVENANCE)
    for _ in range(3):
        list(worker(fold(decoded_rows({"a": tone(0.2)}))))
    assert (len(made), engine.loaded) == (1, 1)


def test_each_row_gets_the_text_of_its_own_waveform() -> None:
    cells = {f"u{n}": tone(0.2 + 0.1 * (n * 7 % 5), level=0.2 + 0.1 * n) for n in range(8)}
    found = transcribed(FakeEngine(), cells, batch_size_s=1.0)
    for name, waveform in cells.items():
        assert found[name].status == "ok"
        assert found[name].text == heard(waveform)
        assert found[name].duration_ms == len(waveform) // 16
        assert found[name].language == "en"
        assert (found[name].error_code, found[name].error_message) == ("", "")


def test_segments_of_all_rows_share_batches() -> None:
    engine = FakeEngine()
    parts = [part for _ in range(3) for part in (tone(1.0), silence(0.5))]
    transcribed(engine, {"a": joined(*parts), "b": tone(1.0), "c": tone(1.0)}, batch_size_s=60.0)
    assert engine.batches_s == [[1.0] * 5]


def test_batches_stay_within_their_padded_seconds() -> None:
    engine = FakeEngine()
    cells = {str(n): tone(0.1 + 0.1 * (n % 9)) for n in range(30)}
    transcribed(engine, cells, batch_size_s=2.0)
    assert len(engine.batches_s) > 1
    for batch_s in engine.batches_s:
        assert len(batch_s) * max(batch_s) <= 2.0 or len(batch_s) == 1


def test_batches_become_smaller_while_the_engines_memory_is_full() -> None:
    engine = FakeEngine()
    worker = TranscribeWorker(lambda: engine, BatchBounds(8.0, 1.0, 8.0), "", PROVENANCE)
    cells = {str(n): tone(1.0) for n in range(16)}

    def largest_s() -> float:
        engine.batches_s.clear()
        worker.transcribe(decoded_rows(cells))
        return max(len(batch_s) * max(batch_s) for batch_s in engine.batches_s)

    assert largest_s() == 8.0
    engine.memory_taken = 0.95
    assert min(largest_s() for _ in range(8)) < 8.0


def test_text_does_not_depend_on_the_batch() -> None:
    cells = {str(n): tone(0.1 + 0.05 * n, level=0.1 + 0.05 * n) for n in range(10)}
    assert transcribed(FakeEngine(), cells, 1.0) == transcribed(FakeEngine(), cells, 1000.0)


# --- segments


def test_segments_and_words_are_timed_from_the_start_of_the_recording() -> None:
    first, second = tone(0.6, 0.3), tone(0.4, 0.8)
    row = joined(silence(0.5), first, silence(1.0), second, silence(0.2))
    transcript = transcribed(FakeEngine(), {"a": row})["a"]
    assert [(s.start_ms, s.end_ms) for s in transcript.segments] == [(500, 1100), (2100, 2500)]
    for segment, waveform in zip(transcript.segments, (first, second), strict=True):
        alone = FakeEngine().recognize([waveform])[0].words
        assert [word.text for word in segment.words] == [word.text for word in alone]
        assert [
            (w.start_ms - segment.start_ms, w.end_ms - segment.start_ms) for w in segment.words
        ] == [(word.start_ms, word.end_ms) for word in alone]
        assert segment.words[0].start_ms == segment.start_ms
        assert segment.words[-1].end_ms == segment.end_ms


def test_no_word_ends_after_the_recording() -> None:
    class Overruns(FakeEngine):
        def recognize(self, waveforms: list[Waveform]) -> list[Recognition]:
            late = Word("late", 250, 380)  # a model's last frame of features is padded
            return [replace(heard, words=(late,)) for heard in super().recognize(waveforms)]

    row = joined(silence(0.5), tone(0.3))
    (segment,) = transcribed(Overruns(), {"a": row})["a"].segments
    assert [(word.start_ms, word.end_ms) for word in segment.words] == [(750, 800)]


def test_the_text_of_a_row_is_that_of_its_segments() -> None:
    first, second = tone(0.6, 0.3), tone(0.4, 0.8)
    transcript = transcribed(FakeEngine(), {"a": joined(first, silence(1.0), second)})["a"]
    assert transcript.text == punctuated_text(f"{text_of(first)} {text_of(second)}")
    assert [segment.text for segment in transcript.segments] == [
        text_of(first).capitalize(),
        f"{text_of(second)}.",
    ]


def test_a_segment_without_words_keeps_its_place() -> None:
    row = joined(tone(0.5), silence(0.5), tone(0.5))
    spans = [Span(0, 500), Span(500, 1000), Span(1000, 1500)]
    transcript = transcribed(FakeEngine(spans=spans), {"a": row})["a"]
    assert [(s.start_ms, s.end_ms) for s in transcript.segments] == [
        (span.start_ms, span.end_ms) for span in spans
    ]
    assert transcript.segments[1].text == ""
    assert transcript.segments[1].words == ()
    assert transcript.segments[2].text == f"{text_of(tone(0.5))}."


def test_a_span_past_the_end_of_the_recording_is_cut_there() -> None:
    transcript = transcribed(FakeEngine(spans=[Span(0, 99_000)]), {"a": tone(0.5)})["a"]
    assert transcript.text == heard(tone(0.5))


# --- rows without speech


def test_a_silent_row_is_no_speech() -> None:
    found = transcribed(FakeEngine(), {"a": silence(1.5), "b": tone(0.5)})
    assert found["a"] == Transcript("a", "no_speech", duration_ms=1500, language="en")
    assert found["b"].status == "ok"


def test_silent_batch_keeps_one_row_per_input() -> None:
    engine = FakeEngine()
    found = transcribed(engine, {str(n): silence(0.1 * n) for n in range(5)})
    assert {t.status for t in found.values()} == {"no_speech"}
    assert engine.batches_s == []


def test_recognized_text_that_is_empty_is_no_speech() -> None:
    found = transcribed(FakeEngine(hears_nothing=True), {"a": tone(0.5), "b": tone(1.0)})
    assert {t.status for t in found.values()} == {"no_speech"}
    assert all(t.text == "" and t.segments == () for t in found.values())


def test_a_waveform_of_no_samples_is_no_speech() -> None:
    found = transcribed(FakeEngine(), {"a": silence(0.0), "b": tone(0.5)})
    assert (found["a"].status, found["a"].duration_ms) == ("no_speech", 0)
    assert found["b"].status == "ok"


def test_a_chunk_without_rows_gives_no_rows() -> None:
    (table,) = worker_of(FakeEngine())(fold(decoded_rows({})))
    assert table.num_rows == 0
    assert table.column_names == TRANSCRIPT_SCHEMA.names


def test_waveforms_keep_every_sample_on_their_way() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 4801).astype(np.float32)
    seen: list[Waveform] = []
    engine = FakeEngine(spans=[Span(0, 10_000)], fails_on=lambda w: bool(seen.append(w.copy())))
    transcribed(engine, {"gone": BAD_AUDIO, "a": noise})
    np.testing.assert_array_equal(seen[0], noise)


def test_rows_in_any_order_get_the_same_transcripts() -> None:
    cells = {"a": tone(0.5, 0.4), "b": tone(0.7, 0.9), "c": tone(0.6, 0.3)}
    names = list(cells)
    expected = transcribed(FakeEngine(), cells)
    for seed in range(3):
        random.Random(seed).shuffle(names)
        assert transcribed(FakeEngine(), {name: cells[name] for name in names}) == expected

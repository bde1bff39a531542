from __future__ import annotations

import logging
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.corpus.rows import fold
from ray_asr.engine.protocol import Engine
from ray_asr.errors import EngineFatalError, ErrorCode, RowError
from ray_asr.job.batch_size import BatchBounds
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import TRANSCRIPT_SCHEMA, Recognition, Span, Transcript, Waveform, Word
from tests.fakes import (
    PROVENANCE,
    FakeEngine,
    decoded_rows,
    joined,
    level_is,
    level_of,
    punctuated_text,
    silence,
    text_of,
    tone,
    worker_of,
)

BAD_AUDIO = RowError(ErrorCode.AUDIO_CORRUPT, "the data cannot be decoded.")


def transcribed(
    engine: Engine, cells: dict[str, Waveform | RowError], batch_size_s: float = 60.0
) -> dict[str, Transcript]:
    """Transcripts by id, after a look that they stand in the order of the rows."""
    transcripts = worker_of(engine, batch_size_s).transcribe(decoded_rows(cells))
    assert [transcript.utterance_id for transcript in transcripts] == list(cells)
    return {transcript.utterance_id: transcript for transcript in transcripts}


def heard(waveform: Waveform) -> str:
    return punctuated_text(text_of(waveform))


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


# --- rows that fail


def test_a_row_that_was_not_decoded_keeps_its_code_and_message() -> None:
    found = transcribed(FakeEngine(), {"a": tone(0.5), "b": BAD_AUDIO, "c": tone(0.6)})
    assert found["b"] == Transcript(
        "b",
        "failed",
        language="en",
        error_code="audio_corrupt",
        error_message="the data cannot be decoded.",
    )
    assert (found["a"].status, found["c"].status) == ("ok", "ok")


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_comes_through(code: ErrorCode) -> None:
    assert transcribed(FakeEngine(), {"a": RowError(code, "m")})["a"].error_code == code.value


def guilty(name: str, found: dict[str, Transcript]) -> None:
    """Only row `name` has failed, and it says how."""
    assert found[name].status == "failed"
    assert found[name].error_code == "model_failed"
    assert found[name].error_message == "RuntimeError: the fake model broke"
    assert (found[name].text, found[name].segments) == ("", ())
    assert all(t.status == "ok" for n, t in found.items() if n != name)


CELLS = {"a": tone(0.5, 0.4), "bad": tone(0.7, 0.9), "c": tone(0.6, 0.3)}
IS_BAD = level_is(level_of(CELLS["bad"]))


def test_a_batch_that_raises_is_tried_one_by_one_and_only_the_guilty_row_fails() -> None:
    engine = FakeEngine(fails_on=IS_BAD)
    found = transcribed(engine, CELLS)
    guilty("bad", found)
    assert found["bad"].duration_ms == 700
    assert found["a"] == transcribed(FakeEngine(), CELLS)["a"]
    assert [len(batch) for batch in engine.batches_s] == [3, 1, 1, 1]


def test_a_model_that_takes_no_batches_still_does_every_row() -> None:
    found = transcribed(FakeEngine(fails_on_batches=True), CELLS)
    assert found == transcribed(FakeEngine(), CELLS)


def test_other_batches_are_not_tried_again() -> None:
    engine = FakeEngine(fails_on=IS_BAD)
    cells = {**CELLS, **{str(n): tone(0.1, 0.2) for n in range(6)}}
    guilty("bad", transcribed(engine, cells, batch_size_s=2.1))
    sizes = [len(batch) for batch in engine.batches_s]
    assert sizes == [3, 1, 1, 1, 6]


def test_a_row_with_one_bad_segment_fails_and_is_tried_no_further() -> None:
    bad, good = tone(0.5, 0.9), tone(0.4, 0.3)
    engine = FakeEngine(fails_on=level_is(level_of(bad)))
    found = transcribed(
        engine, {"bad": joined(bad, silence(0.5), good, silence(0.5), bad), "b": good}
    )
    guilty("bad", found)
    assert [len(batch) for batch in engine.batches_s] == [4, 1, 1]


def test_voice_activity_detection_that_raises_fails_its_row_alone() -> None:
    guilty("bad", transcribed(FakeEngine(fails_in_vad=IS_BAD), CELLS))


def test_punctuation_that_raises_fails_its_row_alone() -> None:
    bad_text = text_of(CELLS["bad"])
    found = transcribed(FakeEngine(fails_to_punctuate=lambda text: text == bad_text), CELLS)
    guilty("bad", found)
    assert found["a"].text == heard(CELLS["a"])


def test_a_row_error_of_the_engine_keeps_its_own_code() -> None:
    error = RowError(ErrorCode.AUDIO_TOO_LONG, "too long for the model.")
    found = transcribed(FakeEngine(fails_on=IS_BAD, error=error), CELLS)
    assert (found["bad"].error_code, found["bad"].error_message) == (
        "audio_too_long",
        "too long for the model.",
    )
    assert (found["a"].status, found["c"].status) == ("ok", "ok")


def test_a_failed_row_is_logged_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ray_asr.job.worker"):
        transcribed(FakeEngine(fails_in_vad=IS_BAD), CELLS)
    assert ["bad" in record.getMessage() for record in caplog.records] == [True]


def test_a_failed_batch_names_no_row_without_an_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ray_asr.job.worker"):
        transcribed(FakeEngine(fails_on=IS_BAD), CELLS)
    assert not any("row  failed" in record.getMessage() for record in caplog.records)


def test_an_engine_that_is_dead_stops_the_worker() -> None:
    engine = FakeEngine(dies_on=IS_BAD)
    with pytest.raises(EngineFatalError, match="device is gone"):
        transcribed(engine, CELLS)
    assert len(engine.batches_s) == 1


@pytest.mark.parametrize("step", ["fails_in_vad", "fails_on", "fails_to_punctuate"])
def test_a_fatal_error_passes_through_at_every_step(step: str) -> None:
    engine = FakeEngine(**{step: lambda _: True}, error=EngineFatalError("dead."))  # type: ignore[arg-type]
    with pytest.raises(EngineFatalError, match=r"dead\."):
        transcribed(engine, CELLS)


class LosesRows(FakeEngine):
    """An engine that breaks the protocol as FunASR does: an empty text is left out of a batch."""

    def recognize(self, waveforms):  # type: ignore[no-untyped-def]
        found = super().recognize(waveforms)
        return found if len(found) == 1 else found[1:]


def test_a_batch_with_another_number_of_results_is_tried_one_by_one() -> None:
    assert transcribed(LosesRows(), CELLS) == transcribed(FakeEngine(), CELLS)


class LosesPunctuated(FakeEngine):
    def punctuate(self, texts):  # type: ignore[no-untyped-def]
        return super().punctuate(texts) if len(texts) == 1 else []


def test_punctuation_with_another_number_of_texts_is_tried_one_by_one() -> None:
    assert transcribed(LosesPunctuated(), CELLS) == transcribed(FakeEngine(), CELLS)


class PunctuatesAway(FakeEngine):
    def punctuate(self, texts):  # type: ignore[no-untyped-def]
        return ["" for _ in texts]


def test_a_text_is_not_lost_where_punctuation_gives_nothing_back() -> None:
    transcript = transcribed(PunctuatesAway(), {"a": tone(0.5)})["a"]
    assert (transcript.status, transcript.text) == ("ok", text_of(tone(0.5)))


KINDS = st.sampled_from(["ok", "bad", "silent", "empty", "vad", "corrupt", "two"])


@settings(max_examples=25, deadline=None, database=None)
@given(st.lists(KINDS, max_size=14), st.sampled_from([1.0, 2.5, 60.0]), st.booleans())
def test_any_mix_of_rows_gives_one_transcript_each(
    kinds: list[str], batch_size_s: float, alone: bool
) -> None:
    bad, in_vad = tone(0.2, 0.9), tone(0.2, 0.7)
    cells: dict[str, Waveform | RowError] = {}
    for n, kind in enumerate(kinds):
        good = tone(0.1 + 0.02 * n, 0.3)
        cells[f"{n}-{kind}"] = {
            "ok": good,
            "bad": bad,
            "silent": silence(0.3),
            "empty": silence(0.0),
            "vad": in_vad,
            "corrupt": BAD_AUDIO,
            "two": joined(good, silence(0.3), good),
        }[kind]
    engine = FakeEngine(
        fails_on=level_is(level_of(bad)),
        fails_in_vad=level_is(level_of(in_vad)),
        fails_on_batches=alone,
    )
    found = transcribed(engine, cells, batch_size_s)
    status = {"ok": "ok", "two": "ok", "silent": "no_speech", "empty": "no_speech"}
    for n, kind in enumerate(kinds):
        transcript = found[f"{n}-{kind}"]
        assert transcript.status == status.get(kind, "failed")
        assert bool(transcript.text) == (transcript.status == "ok")
        assert bool(transcript.error_code) == (transcript.status == "failed")
        assert len(transcript.segments) == {"ok": 1, "two": 2}.get(kind, 0)


def test_waveforms_keep_every_sample_on_their_way() -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, 4801).astype(np.float32)
    seen: list[Waveform] = []
    engine = FakeEngine(spans=[Span(0, 10_000)], fails_on=lambda w: bool(seen.append(w.copy())))
    transcribed(engine, {"gone": BAD_AUDIO, "a": noise})
    np.testing.assert_array_equal(seen[0], noise)


def test_rows_in_any_order_get_the_same_transcripts() -> None:
    names = list(CELLS)
    expected = transcribed(FakeEngine(), CELLS)
    for seed in range(3):
        random.Random(seed).shuffle(names)
        assert transcribed(FakeEngine(), {name: CELLS[name] for name in names}) == expected


# --- memory


def test_a_batch_that_does_not_fit_is_halved_and_every_row_has_its_text() -> None:
    engine = FakeEngine(fits_s=3.0)
    cells = {str(n): tone(1.0, 0.1 + 0.05 * n) for n in range(10)}
    found = transcribed(engine, cells)
    assert [found[name].text for name in cells] == [heard(w) for w in cells.values()]
    assert [len(batch) for batch in engine.batches_s] == [10, 5, 2, 3, 5, 2, 3]


def test_the_size_that_fitted_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(fits_s=3.0)
    worker = worker_of(engine, 10.0)
    rows = decoded_rows({str(n): tone(1.0) for n in range(10)})
    with caplog.at_level(logging.WARNING):
        worker.transcribe(rows)
    assert "set batch.batch_size_s" in caplog.text
    engine.batches_s.clear()
    worker.transcribe(rows)
    assert max(len(batch) for batch in engine.batches_s) <= 3
    assert sum(len(batch) for batch in engine.batches_s) == 10


def test_a_row_that_does_not_fit_even_alone_fails_and_no_other() -> None:
    engine = FakeEngine(fits_s=1.5)
    found = transcribed(engine, {"a": tone(1.0), "long": tone(2.0), "b": tone(1.2)})
    assert found["long"].error_code == ErrorCode.OUT_OF_MEMORY
    assert (found["a"].status, found["b"].status) == ("ok", "ok")

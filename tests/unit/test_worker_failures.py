"""Rows, batches and engines that fail: what each of them costs, and what it does not."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.errors import EngineFatalError, ErrorCode, RowError
from ray_asr.schema import Transcript, Waveform
from tests.fakes import (
    FakeEngine,
    decoded_rows,
    heard,
    joined,
    level_is,
    level_of,
    silence,
    text_of,
    tone,
    transcribed,
    worker_of,
)

BAD_AUDIO = RowError(ErrorCode.AUDIO_CORRUPT, "the data cannot be decoded.")


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

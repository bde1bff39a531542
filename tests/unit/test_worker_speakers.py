"""Speakers, languages, emotions and events of rows, through the worker's steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from ray_asr.corpus.chunks import fold
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import Recognition, Waveform
from tests.fakes import (
    PROVENANCE,
    FakeEngine,
    decoded_rows,
    joined,
    level_is,
    level_of,
    silence,
    tone,
)
from tests.unit.test_long_recording import encoded, rows_of


class Marking(FakeEngine):
    """Ends a sentence behind each stretch of speech."""

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        return [re.sub(r"(level \d+)", r"\1.", text) for text in texts]


def dialog(*pitches: float, seconds: float = 6.0, pause_s: float = 0.5) -> Waveform:
    return joined(*(part for hz in pitches for part in (tone(seconds, hz=hz), silence(pause_s))))


def fused(engine: FakeEngine, rows: Any, sentences: bool = True) -> list[dict[str, Any]]:
    worker = TranscribeWorker(lambda: engine, 60.0, "en", PROVENANCE, sentences=sentences)
    (table,) = worker(fold(rows))
    return table.to_pylist()


def split(engine: FakeEngine, rows: Any, sentences: bool = True) -> list[dict[str, Any]]:
    chunk = fold(rows)
    for stage in (
        DetectStage(lambda: engine, 60.0, Limits()),
        RecognizeStage(lambda: engine, 60.0, Limits()),
        PunctuateStage(lambda: engine, 60.0, Limits(), "en", PROVENANCE, sentences=sentences),
    ):
        (chunk,) = stage(chunk)
    return chunk.to_pylist()


def who(row: dict[str, Any]) -> list[str]:
    return [segment["speaker"] for segment in row["segments"]]


CELLS = {
    "two": dialog(300.0, 900.0, 300.0, 900.0),
    "silent": silence(1.0),
    "one": dialog(900.0, 900.0, 900.0),
}


@pytest.mark.parametrize("run", [fused, split])
def test_speakers_are_told_apart_within_a_recording(run: Any) -> None:
    two, silent, one = run(Marking(tells_speakers=True), decoded_rows(CELLS))
    assert who(two) == ["0", "1", "0", "1"]
    assert (silent["status"], silent["segments"]) == ("no_speech", [])
    assert who(one) == ["0", "0", "0"]


@pytest.mark.parametrize("run", [fused, split])
def test_nobody_is_named_where_nobody_asked(run: Any) -> None:
    rows = run(Marking(), decoded_rows(CELLS), sentences=False)
    assert {name for row in rows for name in who(row)} == {""}


@pytest.mark.parametrize("run", [fused, split])
def test_a_long_recording_has_the_speakers_it_has_whole(run: Any) -> None:
    waveform = dialog(*([300.0, 900.0, 600.0] * 14), seconds=3.0, pause_s=12.0)
    assert len(waveform) > 600 * 16_000
    (in_pieces,) = run(Marking(tells_speakers=True), rows_of(long=encoded(waveform)))
    (whole,) = run(Marking(tells_speakers=True), decoded_rows({"long": waveform}))
    assert in_pieces == whole
    assert who(whole) == ["0", "1", "2"] * 14


@pytest.mark.parametrize("run", [fused, split])
def test_a_voice_that_breaks_the_model_fails_its_row_alone(run: Any) -> None:
    loud = tone(1.5, 0.9)
    cells = {**CELLS, "bad": joined(loud, silence(0.5))}
    engine = Marking(tells_speakers=True, fails_to_tell=level_is(level_of(loud)))
    rows = {row["utterance_id"]: row for row in run(engine, decoded_rows(cells))}
    assert (rows["bad"]["status"], rows["bad"]["error_code"]) == ("failed", "model_failed")
    assert who(rows["two"]) == ["0", "1", "0", "1"]


@pytest.mark.parametrize("run", [fused, split])
def test_a_long_recording_with_such_a_voice_fails(run: Any) -> None:
    loud = tone(1.5, 0.9)
    waveform = joined(dialog(*([300.0, 900.0] * 20), seconds=3.0, pause_s=12.5), loud, silence(1.0))
    engine = Marking(tells_speakers=True, fails_to_tell=level_is(level_of(loud)))
    (row,) = run(engine, rows_of(long=encoded(waveform)))
    assert (row["status"], row["error_code"]) == ("failed", "model_failed")


# --- what a model says beside words


@pytest.mark.parametrize("run", [fused, split])
def test_language_emotion_and_events_are_columns(run: Any) -> None:
    engine = Marking(heard_as=("zh", "HAPPY", ("BGM", "Laughter")))
    two, silent, _ = run(engine, decoded_rows(CELLS))
    assert (two["language"], two["emotion"]) == ("zh", "HAPPY")
    assert two["audio_events"] == ["BGM", "Laughter"]
    assert (silent["language"], silent["emotion"], silent["audio_events"]) == ("en", "", [])


class Varying(FakeEngine):
    """Hears another language in what is loud, and events only in what it has no words for."""

    def _heard(self, waveform: Waveform) -> Recognition:
        found = super()._heard(waveform)
        if level_of(waveform) > 400:
            return Recognition("", language="ko", emotion="SAD", events=("Applause",))
        language, emotion = ("en", "ANGRY") if level_of(waveform) > 150 else ("zh", "NEUTRAL")
        return Recognition(found.text, found.words, language, emotion, ("BGM",))


def test_what_was_heard_for_the_longest_counts() -> None:
    mixed = joined(tone(2.0, 0.3), silence(0.5), tone(3.0, 0.1), silence(0.5), tone(5.0, 0.9))
    (row,) = fused(Varying(), decoded_rows({"a": mixed}))
    assert (row["language"], row["emotion"]) == ("zh", "NEUTRAL")
    assert row["audio_events"] == ["BGM", "Applause"]


def test_sounds_without_words_are_no_speech_with_events() -> None:
    (row,) = fused(Varying(), decoded_rows({"a": tone(2.0, 0.9)}))
    assert (row["status"], row["text"], row["language"]) == ("no_speech", "", "en")
    assert row["audio_events"] == ["Applause"]


@pytest.mark.parametrize(("told", "said"), [("auto", ""), ("", ""), ("yue", "yue")])
def test_a_model_that_does_not_say_the_language_has_the_one_it_was_told(
    told: str, said: str
) -> None:
    worker = TranscribeWorker(FakeEngine, 60.0, told, PROVENANCE)
    for transcript in worker.transcribe(decoded_rows(CELLS)):
        assert transcript.language == said

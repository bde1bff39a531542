"""A recording of many minutes, in pieces, has the transcript it has whole."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from ray_asr.config import InputConfig
from ray_asr.corpus.chunks import fold, in_chunks, unfold
from ray_asr.corpus.rows import ENCODED, LONG_S, WAVEFORM, decode_rows
from ray_asr.errors import ErrorCode
from ray_asr.job import long_recording
from ray_asr.job.long_recording import Limits
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import SAMPLE_RATE_HZ, Transcript, Waveform
from tests.fakes import PROVENANCE, FakeEngine, decoded_rows, joined, silence, tone


def minutes(count: float, every_s: float = 40.0) -> Waveform:
    """Tones of growing length with silence between them."""
    parts: list[Waveform] = []
    while sum(map(len, parts)) < count * 60 * SAMPLE_RATE_HZ:
        parts += [
            tone(1.0 + 0.3 * (len(parts) % 9), 0.2 + 0.1 * (len(parts) % 5)),
            silence(every_s),
        ]
    return joined(*parts)[: int(count * 60 * SAMPLE_RATE_HZ)]


def encoded(waveform: Waveform) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, waveform, SAMPLE_RATE_HZ, format="WAV", subtype="FLOAT")
    return sink.getvalue()


def batch(**recordings: bytes) -> pa.RecordBatch:
    return pa.record_batch(
        {"utterance_id": list(recordings), "audio": pa.array(recordings.values(), pa.binary())}
    )


def rows_of(**recordings: bytes) -> pa.Table:
    runs = decode_rows(batch(**recordings), InputConfig(), 240.0)
    return pa.concat_tables(unfold(chunk) for chunk in in_chunks(runs, 240.0))


def transcripts(engine: FakeEngine, rows: pa.Table, **limits: float) -> dict[str, Transcript]:
    worker = TranscribeWorker(lambda: engine, 60.0, "en", PROVENANCE, Limits(**limits))
    return {t.utterance_id: t for t in worker.transcribe(rows)}


@pytest.mark.parametrize("streams", [True, False])
def test_a_long_recording_has_the_transcript_it_has_whole(streams: bool) -> None:
    waveform = minutes(11.0)
    rows = rows_of(long=encoded(waveform))
    assert rows[WAVEFORM].null_count == 1
    assert rows[ENCODED].null_count == 0
    in_pieces = transcripts(FakeEngine(streams=streams), rows)["long"]
    whole = transcripts(FakeEngine(), decoded_rows({"long": waveform}))["long"]
    assert in_pieces == whole
    assert len(whole.segments) > 10


def test_speech_across_the_edges_of_pieces_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_recording, "_PIECE_S", 0.7)
    waveform = minutes(10.5, every_s=3.0)
    rows = rows_of(long=encoded(waveform))
    found = transcripts(FakeEngine(), rows, segment_s=10.0)["long"]
    assert found == transcripts(FakeEngine(), decoded_rows({"long": waveform}))["long"]


def test_a_long_recording_stands_alone_and_others_keep_their_order() -> None:
    short = encoded(tone(1.0))
    runs = decode_rows(
        batch(a=short, b=encoded(minutes(10.5)), c=short, d=short), InputConfig(), 240.0
    )
    chunks = [unfold(chunk)["utterance_id"].to_pylist() for chunk in in_chunks(runs, 240.0)]
    assert chunks == [["a"], ["b"], ["c", "d"]]


def test_a_recording_just_short_of_long_is_decoded_at_once() -> None:
    waveform = silence(LONG_S)[:-1]
    rows = rows_of(a=encoded(waveform), b=encoded(silence(LONG_S)))
    assert [value.is_valid for value in rows[WAVEFORM]] == [True, False]


def test_damage_further_on_fails_the_row_and_no_other() -> None:
    waveform = minutes(11.0)
    waveform[-1000] = np.nan
    rows = rows_of(bad=encoded(waveform), good=encoded(tone(1.0)))
    found = transcripts(FakeEngine(), rows)
    assert found["bad"].error_code == ErrorCode.AUDIO_NON_FINITE
    assert found["good"].status == "ok"


def test_the_longest_recording_is_held_to_in_pieces_too() -> None:
    found = transcripts(FakeEngine(), rows_of(a=encoded(minutes(11.0))), recording_s=650.0)["a"]
    assert (found.status, found.error_code) == ("failed", ErrorCode.AUDIO_TOO_LONG)


def test_a_long_recording_passes_through_a_fold() -> None:
    rows = rows_of(a=encoded(minutes(10.2)))
    assert unfold(fold(rows)).equals(rows)

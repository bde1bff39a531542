"""The data contract: what a transcript is, its Arrow schema, units of measure, schema version.

Knows nothing of Ray, models or configuration. Time is int64 milliseconds (`_ms`); waveforms are
float32 mono `(T,)` at 16,000 Hz in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SCHEMA_VERSION = 2
SAMPLE_RATE_HZ = 16_000

STATUS_OK = "ok"
STATUS_NO_SPEECH = "no_speech"
STATUS_FAILED = "failed"

Waveform = npt.NDArray[np.float32]
# Embeddings of a stretch of speech, `(N, D)`: how the voice is, a little further on each time.
Voices = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it is said, from the start of the recording."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech found by voice activity detection."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of a recording in which one speaker speaks."""

    start_ms: int
    end_ms: int
    speaker: str


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was recognized in one waveform, its words timed from the waveform's start.

    Attributes:
        text: without a model's tags.
        words: of the text, where the model times them.
        language: that the model heard; "" where it does not say.
        emotion: that the model heard, in its own word; "" where it does not say.
        events: sounds beside speech, in the model's own words.
    """

    text: str
    words: tuple[Word, ...] = ()
    language: str = ""
    emotion: str = ""
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech with its text: a span of voice activity, or a sentence."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...] = ()
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The outcome of one input row, whatever it was.

    Attributes:
        utterance_id: the row's.
        status: `ok`, `no_speech` or `failed`.
        text: "" unless ok.
        segments: of the text, in order.
        duration_ms: of the recording.
        language: that the model heard, else that it was told.
        error_code: "" unless failed.
        error_message: "" unless failed.
        emotion: that the model heard for the longest; "" where it does not say.
        audio_events: sounds beside speech, each once.
    """

    utterance_id: str
    status: str
    text: str = ""
    segments: tuple[Segment, ...] = ()
    duration_ms: int = 0
    language: str = ""
    error_code: str = ""
    error_message: str = ""
    emotion: str = ""
    audio_events: tuple[str, ...] = ()


_WORD = pa.struct([("text", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())])
_SEGMENT = pa.struct(
    [
        ("start_ms", pa.int64()),
        ("end_ms", pa.int64()),
        ("text", pa.string()),
        ("words", pa.list_(_WORD)),
        ("speaker", pa.string()),
    ]
)
TRANSCRIPT_SCHEMA = pa.schema(
    [
        ("utterance_id", pa.string()),
        ("status", pa.string()),
        ("text", pa.string()),
        ("segments", pa.list_(_SEGMENT)),
        ("duration_ms", pa.int64()),
        ("language", pa.string()),
        ("emotion", pa.string()),
        ("audio_events", pa.list_(pa.string())),
        ("model_id", pa.string()),
        ("model_revision", pa.string()),
        ("config_fingerprint", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a transcript: the columns that are the same for all rows of a run."""

    model_id: str
    model_revision: str
    config_fingerprint: str


def _segment_record(segment: Segment) -> dict[str, Any]:
    return {
        "start_ms": segment.start_ms,
        "end_ms": segment.end_ms,
        "text": segment.text,
        "words": [
            {"text": word.text, "start_ms": word.start_ms, "end_ms": word.end_ms}
            for word in segment.words
        ],
        "speaker": segment.speaker,
    }


def transcripts_to_table(transcripts: Sequence[Transcript], provenance: Provenance) -> pa.Table:
    """Transcripts in order as a table of exactly `TRANSCRIPT_SCHEMA`, one row each."""
    count = len(transcripts)
    columns: dict[str, list[Any]] = {
        "utterance_id": [t.utterance_id for t in transcripts],
        "status": [t.status for t in transcripts],
        "text": [t.text for t in transcripts],
        "segments": [[_segment_record(s) for s in t.segments] for t in transcripts],
        "duration_ms": [t.duration_ms for t in transcripts],
        "language": [t.language for t in transcripts],
        "emotion": [t.emotion for t in transcripts],
        "audio_events": [list(t.audio_events) for t in transcripts],
        "model_id": [provenance.model_id] * count,
        "model_revision": [provenance.model_revision] * count,
        "config_fingerprint": [provenance.config_fingerprint] * count,
        "error_code": [t.error_code for t in transcripts],
        "error_message": [t.error_message for t in transcripts],
    }
    return pa.table(columns, schema=TRANSCRIPT_SCHEMA)

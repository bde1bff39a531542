"""What is known of one row while it is worked on, and its way out of and into Arrow.

Owns the row in work, the columns that carry it from one actor pool to the next, and how it becomes
a transcript. Must not know engines or Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_asr.corpus import rows as columns
from ray_asr.errors import ErrorCode, RayAsrError, RowError
from ray_asr.job.segments import by_sentence, by_span, with_speakers
from ray_asr.schema import (
    SAMPLE_RATE_HZ,
    STATUS_FAILED,
    STATUS_NO_SPEECH,
    STATUS_OK,
    Recognition,
    Span,
    Transcript,
    Turn,
    Waveform,
    Word,
)

SPANS = "_spans"
HEARD = "_heard"
TURNS = "_turns"
DURATION = "_duration_ms"
_SPAN = pa.struct([("start_ms", pa.int64()), ("end_ms", pa.int64())])
_WORD = pa.struct([("text", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())])
_HEARD = pa.struct(
    [
        ("text", pa.string()),
        ("words", pa.list_(_WORD)),
        ("language", pa.string()),
        ("emotion", pa.string()),
        ("events", pa.list_(pa.string())),
    ]
)
_TURN = pa.struct([("start_ms", pa.int64()), ("end_ms", pa.int64()), ("speaker", pa.string())])
PRECISION = "_precision"
_ANY_LANGUAGE = "auto"  # FunASR's word for a model that finds out by itself
IN_WORK = (*columns.TRAVELLING, SPANS, HEARD, TURNS, DURATION, PRECISION)


@dataclass(slots=True)
class Utterance:
    """One row of a chunk.

    Attributes:
        waveform: the decoded audio; None where the row has failed or is long.
        encoded: a long recording's bytes, to be decoded in pieces; None for any other row.
        name: a long recording's name, whose suffix may say its format.
        duration_ms: of the audio; of a long recording once it has been decoded.
        spans: where speech was found; None before it was looked for.
        heard: what was recognized, one for each span.
        turns: who speaks when; none where nobody asked.
        text: the punctuated text of the whole row.
    """

    utterance_id: str
    waveform: Waveform | None = None
    encoded: pa.Buffer | None = None
    name: str = ""
    error: RowError | None = None
    duration_ms: int = 0
    spans: list[Span] | None = None
    heard: list[Recognition] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    text: str = ""

    def cut(self, span: Span) -> Waveform:
        """The samples of one span."""
        if self.waveform is None:
            raise RayAsrError("a row without audio has speech in it: this is a fault in ray_asr.")
        return cut(self.waveform, span)

    def joined(self) -> str:
        """What was recognized in all spans, before punctuation."""
        return " ".join(heard.text for heard in self.heard if heard.text)

    def transcript(self, language: str, sentences: bool = False) -> Transcript:
        """The row's outcome.

        Args:
            language: that the model was told; `auto` is none.
            sentences: whether segments are sentences, and not spans.
        """
        told = "" if language == _ANY_LANGUAGE else language
        if self.error is not None:
            return Transcript(
                self.utterance_id,
                STATUS_FAILED,
                duration_ms=self.duration_ms,
                language=told,
                error_code=str(self.error.code),
                error_message=self.error.message,
            )
        events = tuple(dict.fromkeys(event for heard in self.heard for event in heard.events))
        if not self.text:
            return Transcript(
                self.utterance_id,
                STATUS_NO_SPEECH,
                duration_ms=self.duration_ms,
                language=told,
                audio_events=events,
            )
        cut_up = by_sentence if sentences else by_span
        segments = cut_up(self.text, self.spans or [], self.heard, self.duration_ms)
        return Transcript(
            self.utterance_id,
            STATUS_OK,
            self.text,
            tuple(with_speakers(segments, self.turns)),
            self.duration_ms,
            self._longest("language") or told,
            emotion=self._longest("emotion"),
            audio_events=events,
        )

    def _longest(self, name: str) -> str:
        """What was heard of this kind for the longest time; "" where nothing was."""
        heard_ms: dict[str, int] = {}
        for span, heard in zip(self.spans or [], self.heard, strict=True):
            if heard.text and (value := getattr(heard, name)):
                heard_ms[value] = heard_ms.get(value, 0) + span.end_ms - span.start_ms
        return max(heard_ms, key=heard_ms.__getitem__, default="")


def cut(waveform: Waveform, span: Span) -> Waveform:
    """The samples of `span`."""
    start = span.start_ms * SAMPLE_RATE_HZ // 1000
    return waveform[start : span.end_ms * SAMPLE_RATE_HZ // 1000]


def from_table(table: pa.Table) -> list[Utterance]:
    """The rows of an unfolded chunk, as far as an earlier pool has brought them."""
    travelling = [table.column(name) for name in columns.TRAVELLING]
    found = [_utterance(*record) for record in zip(*travelling, strict=True)]
    for name in (SPANS, HEARD, TURNS, DURATION):
        if name in table.column_names:
            for utterance, value in zip(found, table.column(name).to_pylist(), strict=True):
                _take(utterance, name, value)
    return found


def _utterance(
    utterance_id: Any, waveform: Any, encoded: Any, name: Any, code: Any, message: Any
) -> Utterance:
    found = Utterance(utterance_id.as_py())
    if code.as_py():
        found.error = RowError(ErrorCode(code.as_py()), message.as_py())
    if waveform.is_valid:
        found.waveform = np.frombuffer(waveform.as_buffer(), dtype=np.float32)
        found.duration_ms = len(found.waveform) * 1000 // SAMPLE_RATE_HZ
    if encoded.is_valid:
        found.encoded, found.name = encoded.as_buffer(), name.as_py() or ""
    return found


def _take(utterance: Utterance, name: str, value: Any) -> None:
    if name == SPANS:
        utterance.spans = None if value is None else [Span(**span) for span in value]
    elif name == HEARD:
        utterance.heard = [
            Recognition(
                heard["text"],
                tuple(Word(**word) for word in heard["words"]),
                heard["language"],
                heard["emotion"],
                tuple(heard["events"]),
            )
            for heard in value
        ]
    elif name == TURNS:
        utterance.turns = [Turn(**turn) for turn in value]
    else:
        utterance.duration_ms = value


def to_table(
    utterances: Sequence[Utterance], brought: pa.Table, precision: str, *, keep_audio: bool
) -> pa.Table:
    """Rows in work for the next pool, with the columns that are not ours as `brought` has them.

    Args:
        utterances: the rows, in the order of `brought`.
        brought: the unfolded chunk they came from.
        precision: what the recognizer computes in; "" in front of it.
        keep_audio: whether the next pool needs waveforms and encoded bytes.
    """
    spans = [None if u.spans is None else [_record(span) for span in u.spans] for u in utterances]
    heard = [[_heard_record(recognized) for recognized in u.heard] for u in utterances]
    turns = [[asdict(turn) for turn in u.turns] for u in utterances]
    errors = [u.error for u in utterances]
    ours: dict[str, Any] = {
        columns.ID: brought.column(columns.ID),
        columns.ENCODED_NAME: brought.column(columns.ENCODED_NAME),
        columns.ERROR_CODE: pa.array([str(e.code) if e else "" for e in errors], pa.string()),
        columns.ERROR_MESSAGE: pa.array([e.message if e else "" for e in errors], pa.string()),
        SPANS: pa.array(spans, pa.list_(_SPAN)),
        HEARD: pa.array(heard, pa.list_(_HEARD)),
        TURNS: pa.array(turns, pa.list_(_TURN)),
        DURATION: pa.array([u.duration_ms for u in utterances], pa.int64()),
        PRECISION: pa.array([precision] * len(utterances), pa.string()),
    }
    for name in (columns.WAVEFORM, columns.ENCODED):
        audio = brought.column(name)
        ours[name] = audio if keep_audio else pa.nulls(len(audio), audio.type)
    others = {name: brought.column(name) for name in brought.column_names if name not in IN_WORK}
    return pa.table({**ours, **others})


def duration_ms_of(rows: pa.Table) -> int:
    """The audio of rows on their way, all together, as far as it is decoded."""
    if DURATION in rows.column_names:
        return pc.call_function("sum", [rows.column(DURATION)]).as_py() or 0
    sizes = pc.call_function("binary_length", [rows.column(columns.WAVEFORM)])
    return (pc.call_function("sum", [sizes]).as_py() or 0) // 4 * 1000 // SAMPLE_RATE_HZ


def marked(row: pa.Table, error: RowError) -> pa.Table:
    """One row on its way, failed before its next step: it takes no part in any from here on."""
    duration_ms = duration_ms_of(row)
    replaced = {
        columns.WAVEFORM: pa.nulls(1, row.schema.field(columns.WAVEFORM).type),
        columns.ENCODED: pa.nulls(1, row.schema.field(columns.ENCODED).type),
        columns.ERROR_CODE: pa.array([str(error.code)], pa.string()),
        columns.ERROR_MESSAGE: pa.array([error.message], pa.string()),
        DURATION: pa.array([duration_ms], pa.int64()),
    }
    kept = {name: row.column(name) for name in row.column_names}
    return pa.table({**kept, **replaced})


def _heard_record(heard: Recognition) -> dict[str, Any]:
    return {
        "text": heard.text,
        "words": [_record(word) for word in heard.words],
        "language": heard.language,
        "emotion": heard.emotion,
        "events": list(heard.events),
    }


def _record(span: Span | Word) -> dict[str, Any]:
    timed = {"start_ms": span.start_ms, "end_ms": span.end_ms}
    return timed if isinstance(span, Span) else {"text": span.text, **timed}

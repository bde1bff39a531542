"""Rows → rows inside an actor: detect, group, recognize, punctuate; a bad row harms no other.

Owns the order of the steps for one chunk of rows and the isolation of rows that fail. Must not
know FunASR (it sees the `Engine` protocol) or the cluster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ray_asr.corpus import rows as columns
from ray_asr.engine.protocol import Engine
from ray_asr.errors import EngineFatalError, ErrorCode, RayAsrError, RowError
from ray_asr.job.alignment import cut_like
from ray_asr.job.batching import group_by_padded_seconds, scatter
from ray_asr.schema import (
    SAMPLE_RATE_HZ,
    STATUS_FAILED,
    STATUS_NO_SPEECH,
    STATUS_OK,
    Provenance,
    Recognition,
    Segment,
    Span,
    Transcript,
    Waveform,
    Word,
    transcripts_to_table,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Row:
    """What is known of one row while its chunk is worked on."""

    utterance_id: str
    waveform: Waveform | None
    error: RowError | None
    spans: list[Span] = field(default_factory=list)
    heard: list[Recognition] = field(default_factory=list)
    text: str = ""

    @property
    def duration_ms(self) -> int:
        return 0 if self.waveform is None else len(self.waveform) * 1000 // SAMPLE_RATE_HZ


class TranscribeWorker:
    """One actor's work: an engine of its own, and chunks of rows through it.

    Args:
        make_engine: builds the engine; called once, in the actor.
        batch_size_s: padded audio in one call of the recognizer, in seconds.
        language: what the `language` column says.
        provenance: what every row says of how it was made.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        batch_size_s: float,
        language: str,
        provenance: Provenance,
    ) -> None:
        self._batch_size_s = batch_size_s
        self._language = language
        self._provenance = provenance
        self._engine = make_engine()
        # Ray calls a constructor that raises again and again, and its error comes back as a text:
        # kept until the first call, it ends the job at once and as itself.
        self._load_error: RayAsrError | None = None
        try:
            self._engine.load()
        except RayAsrError as error:
            self._load_error = error

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Folded rows in; the same rows as transcripts out, in order, with what they brought."""
        if self._load_error is not None:
            raise self._load_error
        rows = columns.unfold(chunk)
        transcripts = transcripts_to_table(self.transcribe(rows), self._provenance)
        for name in rows.column_names:
            if name not in columns.TRAVELLING:
                transcripts = transcripts.append_column(rows.field(name), rows.column(name))
        yield transcripts

    def transcribe(self, table: pa.Table) -> list[Transcript]:
        """One transcript for each decoded row, in order, whatever happens to it."""
        rows = [_row(record) for record in _records(table)]
        for row in rows:
            if row.waveform is not None:
                row.spans = self._guarded(row, self._engine.detect_speech, row.waveform) or []
        self._recognize(rows)
        self._punctuate(rows)
        return [self._transcript(row) for row in rows]

    def _guarded(self, row: _Row, step: Callable[..., Any], *arguments: Any) -> Any:
        """`step` for one row; what it raises is the row's error, unless the engine is dead."""
        try:
            return step(*arguments)
        except EngineFatalError:
            raise
        except RowError as error:
            row.error = error
        except Exception as error:  # the one broad except: any model, any row
            logger.warning("%s failed in the model: %r", row.utterance_id, error)
            row.error = RowError(ErrorCode.MODEL_FAILED, f"{type(error).__name__}: {error}")
        return None

    def _recognize(self, rows: list[_Row]) -> None:
        """Segments of all rows in groups of like length, and back to their rows."""
        owners = [row for row in rows for _ in row.spans]
        waveforms = [_cut(row.waveform, span) for row in rows for span in row.spans]
        durations_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]
        groups = group_by_padded_seconds(durations_s, self._batch_size_s)
        results: list[list[Recognition]] = []
        for group in groups:
            together = self._guarded(
                _Row(f"(a batch of {len(group)})", None, None),
                _same_length(self._engine.recognize),
                [waveforms[i] for i in group],
            )
            if together is None:  # find out whose fault it is
                together = [self._alone(owners[i], waveforms[i]) for i in group]
            results.append(together)
        for row, recognition in zip(owners, scatter(groups, results), strict=True):
            row.heard.append(recognition)

    def _alone(self, row: _Row, waveform: Waveform) -> Recognition:
        if row.error is not None:
            return Recognition("")
        alone = self._guarded(row, _same_length(self._engine.recognize), [waveform])
        return alone[0] if alone else Recognition("")

    def _punctuate(self, rows: list[_Row]) -> None:
        for row in rows:
            if row.error is None:
                row.text = " ".join(heard.text for heard in row.heard if heard.text)
        spoken = [row for row in rows if row.text]
        punctuate = _same_length(self._engine.punctuate)
        everyone = _Row(f"(texts of {len(spoken)} rows)", None, None)
        punctuated = self._guarded(everyone, punctuate, [row.text for row in spoken])
        if punctuated is None:
            punctuated = [(self._guarded(r, punctuate, [r.text]) or [""])[0] for r in spoken]
        for row, text in zip(spoken, punctuated, strict=True):
            row.text = text or row.text

    def _transcript(self, row: _Row) -> Transcript:
        if row.error is not None:
            return Transcript(
                row.utterance_id,
                STATUS_FAILED,
                duration_ms=row.duration_ms,
                language=self._language,
                error_code=str(row.error.code),
                error_message=row.error.message,
            )
        if not row.text:
            return Transcript(
                row.utterance_id,
                STATUS_NO_SPEECH,
                duration_ms=row.duration_ms,
                language=self._language,
            )
        texts = cut_like(row.text, [heard.text for heard in row.heard])
        segments = tuple(
            Segment(
                span.start_ms,
                span.end_ms,
                text,
                tuple(_placed(word, span.start_ms, row.duration_ms) for word in heard.words),
            )
            for span, heard, text in zip(row.spans, row.heard, texts, strict=True)
        )
        return Transcript(
            row.utterance_id, STATUS_OK, row.text, segments, row.duration_ms, self._language
        )


def _placed(word: Word, start_ms: int, duration_ms: int) -> Word:
    """A word of a segment on the recording's clock, and not after its end.

    The last frame of features is padded, so that a model may put a word's end some 60 ms too late.
    """
    return Word(
        word.text,
        min(start_ms + word.start_ms, duration_ms),
        min(start_ms + word.end_ms, duration_ms),
    )


def _same_length(step: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """`step` held to the protocol's promise of one result for each position."""

    def checked(items: list[Any]) -> list[Any]:
        results = step(items)
        if len(results) != len(items):
            raise ValueError(f"the engine gave {len(results)} results for {len(items)} inputs")
        return results

    return checked


def _records(table: pa.Table) -> Iterator[tuple[str, Any, str, str]]:
    selected = [table.column(name) for name in columns.TRAVELLING]
    yield from zip(*selected, strict=True)  # type: ignore[misc]


def _row(record: tuple[Any, Any, Any, Any]) -> _Row:
    utterance_id, waveform, code, message = record
    if not waveform.is_valid:
        error = RowError(ErrorCode(code.as_py()), message.as_py())
        return _Row(utterance_id.as_py(), None, error)
    samples = np.frombuffer(waveform.as_buffer(), dtype=np.float32)
    return _Row(utterance_id.as_py(), samples, None)


def _cut(waveform: Waveform | None, span: Span) -> Waveform:
    if waveform is None:
        raise RayAsrError("a row without audio has speech in it: this is a fault in ray_asr.")
    start = span.start_ms * SAMPLE_RATE_HZ // 1000
    return waveform[start : span.end_ms * SAMPLE_RATE_HZ // 1000]

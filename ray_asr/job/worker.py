"""Rows → rows inside an actor: detect, group, recognize, punctuate; a bad row harms no other.

Owns the order of the steps for one chunk of rows, the isolation of rows that fail, and the size of
batches once memory has set it. Must not know FunASR (it sees the `Engine` protocol) or the cluster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

import pyarrow as pa

from ray_asr.corpus.chunks import unfold
from ray_asr.engine.protocol import Engine
from ray_asr.errors import BatchTooLargeError, EngineFatalError, ErrorCode, RayAsrError, RowError
from ray_asr.job.batch_size import BatchBounds, BatchSize
from ray_asr.job.batching import group_by_padded_seconds, scatter
from ray_asr.job.chunk_work import WORK, Work
from ray_asr.job.isolation import Isolation
from ray_asr.job.long_recording import Limits, LongRecording
from ray_asr.job.soundness import are_spans, are_turns, are_voices, checked, is_heard, is_text
from ray_asr.job.utterance import IN_WORK, PRECISION, Utterance, from_table
from ray_asr.schema import (
    SAMPLE_RATE_HZ,
    Provenance,
    Recognition,
    Transcript,
    Voices,
    Waveform,
    transcripts_to_table,
)

T = TypeVar("T")
R = TypeVar("R")

# In the metadata of a table of transcripts: padded seconds that batches had come to by then.
BATCH_SIZE = "_batch_size_s"

logger = logging.getLogger(__name__)


class Steps:
    """The three steps over rows in work, each of them safe from any single row.

    Args:
        engine: what computes.
        batch_size_s: padded audio in one call of the recognizer, in seconds: where it starts and
            how far it may change, or one number; comes down when memory does not hold it.
        limits: how long recordings and their segments may be.
        progress: told of each piece of a long recording, how many seconds it has.
    """

    def __init__(
        self,
        engine: Engine,
        batch_size_s: BatchBounds | float,
        limits: Limits,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._progress = progress
        self._size = BatchSize(batch_size_s)
        self.work = Work()
        self._broken = 0

    @property
    def batch_size_s(self) -> float:
        """Padded seconds that batches have come to."""
        return self._size.settled_s

    def detect(self, rows: Sequence[Utterance]) -> None:
        """Find the speech of every decoded row."""
        decoded = [row for row in rows if row.waveform is not None]
        found = self._each(
            decoded, [row.waveform for row in decoded], self._engine.detect_speech, are_spans
        )
        for row, spans in zip(decoded, found, strict=True):
            row.spans = spans or []

    def recognize(self, rows: Sequence[Utterance]) -> None:
        """Segments of all rows in groups of like length, and back to their rows."""
        spoken = [row for row in rows if row.error is None and row.waveform is not None]
        owners = [row for row in spoken for _ in row.spans or []]
        waveforms = [row.cut(span) for row in spoken for span in row.spans or []]
        for row, heard in zip(owners, self._recognized(owners, waveforms), strict=True):
            row.heard.append(heard)
        self._tell_speakers([row for row in spoken if row.error is None and row.joined()])
        for row in rows:
            if row.encoded is not None and row.error is None:
                self._recognize_long(row)

    def _tell_speakers(self, rows: Sequence[Utterance]) -> None:
        """Who speaks when, in each of the rows; nothing without a model for that."""
        speakers = self._engine.speakers()
        if speakers is None:
            return
        numbers = [number for number, row in enumerate(rows) for _ in row.spans or []]
        waveforms = [row.cut(span) for row in rows for span in row.spans or []]
        owners = [rows[number] for number in numbers]
        voices: list[list[Voices]] = [[] for _ in rows]
        heard = self._each(owners, waveforms, speakers.voices, are_voices)
        for number, of_span in zip(numbers, heard, strict=True):
            if of_span is not None:  # else its row has failed
                voices[number].append(of_span)
        left = [(row, of_row) for row, of_row in zip(rows, voices, strict=True) if not row.error]
        told = self._each(
            [row for row, _ in left],
            [(row.spans, of_row) for row, of_row in left],
            lambda items: [speakers.turns(*item) for item in items],
            are_turns,
        )
        for (row, _), turns in zip(left, told, strict=True):
            row.turns = turns or []

    def punctuate(self, rows: Sequence[Utterance]) -> None:
        """The text of every row in which something was recognized."""
        heard = [row for row in rows if row.error is None and row.joined()]
        texts = [row.joined() for row in heard]
        punctuated = self._each(heard, texts, self._engine.punctuate, is_text)
        for row, text, better in zip(heard, texts, punctuated, strict=True):
            row.text = better or text

    def transcripts(
        self, rows: Sequence[Utterance], language: str, sentences: bool
    ) -> list[Transcript]:
        """Each row's outcome, whatever its parts do to one another when they are put together."""
        outcomes: list[Transcript] = []
        for row in rows:
            outcome, error = attempted(lambda row=row: [row.transcript(language, sentences)])
            if outcome is None:
                self._fail(row, error)
            outcomes += outcome or [row.transcript(language)]
        return outcomes

    def _recognize_long(self, row: Utterance) -> None:
        """A recording that is decoded in pieces, its segments recognized as they are found."""

        def all_of_it() -> list[Recognition]:
            recording = LongRecording(
                row, self._engine, 4 * self.batch_size_s, self._limits, self._progress
            )
            speakers = self._engine.speakers()
            voices: list[Voices] = []
            for waveforms in recording.segments():
                row.heard.extend(self._recognized([row] * len(waveforms), waveforms))
                if speakers is not None and row.error is None:
                    voices += checked(speakers.voices(waveforms), waveforms, are_voices)
            checked([row.spans], [row], are_spans)
            if speakers is not None and row.error is None:
                turns = speakers.turns(row.spans or [], voices)
                (row.turns,) = checked([turns], [row], are_turns)
            return row.heard

        result, error = attempted(all_of_it)
        if result is not None:
            row.heard = result
        else:
            row.spans, row.heard = None, []
            self._fail(row, error)

    def _recognized(
        self, owners: Sequence[Utterance], waveforms: Sequence[Waveform]
    ) -> list[Recognition]:
        durations_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]
        groups = group_by_padded_seconds(durations_s, self._size.current_s)
        self.work.batches(durations_s, groups)
        batches = [[waveforms[i] for i in group] for group in groups]
        started = time.monotonic()
        broken = self._broken
        # Their results are asked for one after the other, while the next batches are prepared.
        outcomes = iter(self._engine.recognize_all(batches))
        results: list[list[Recognition]] = []
        for group, batch in zip(groups, batches, strict=True):
            prepared, _ = attempted(lambda: [next(outcomes)])
            outcome = prepared[0] if prepared else partial(self._engine.recognize, batch)
            results.append(self._of_group([owners[i] for i in group], batch, outcome))
        if groups and broken == self._broken:  # what was done twice says nothing of the size
            share, _ = attempted(lambda: [self._engine.memory_share()])
            self._size.observe(
                max(len(batch) * _longest_s(batch) for batch in batches),
                sum(durations_s),
                time.monotonic() - started,
                share[0] if share else None,
            )
        return scatter(groups, results)

    def _of_group(
        self,
        owners: Sequence[Utterance],
        batch: Sequence[Waveform],
        outcome: Callable[[], list[Recognition]],
    ) -> list[Recognition]:
        """A batch's recognitions; where it fails, those of its halves or of each one alone."""
        result, error = attempted(lambda: checked(outcome(), batch, is_heard))
        if result is not None:
            return result
        self._broken += 1
        if len(batch) == 1:
            self._fail(owners[0], error)
            return [Recognition("")]
        parts = len(batch)
        if isinstance(error, BatchTooLargeError):
            parts = 2
            self._shrink(len(batch) * _longest_s(batch))
        recognized: list[Recognition] = []
        for part in _cut_in(parts, range(len(batch))):
            if all(owners[i].error for i in part):  # lost already: their text goes nowhere
                recognized += [Recognition("")] * len(part)
                continue
            theirs = [batch[i] for i in part]
            again = partial(self._engine.recognize, theirs)
            recognized += self._of_group([owners[i] for i in part], theirs, again)
        return recognized

    def _shrink(self, too_large_s: float) -> None:
        """Batches from now on are at most half of one that did not fit."""
        if self._size.too_large(too_large_s):
            logger.warning(
                "a batch of %.0f padded seconds does not fit the memory: from here on at most "
                "%.0f s; set batch.batch_size_s to that to have it from the start.",
                too_large_s, self.batch_size_s,
            )  # fmt: skip

    def _each(
        self,
        rows: Sequence[Utterance],
        items: Sequence[Any],
        step: Callable[[list[Any]], list[R]],
        is_sound: Callable[[Any], bool],
    ) -> list[R | None]:
        """`step` for all rows at once, or each alone where that fails; None for its failures."""
        if not rows:
            return []
        together, _ = attempted(lambda: checked(step(list(items)), items, is_sound))
        if together is not None:
            return list(together)
        results: list[R | None] = []
        for row, item in zip(rows, items, strict=True):
            alone, error = attempted(lambda item=item: checked(step([item]), [item], is_sound))
            if alone is None:
                self._fail(row, error)
            results.append(alone[0] if alone else None)
        return results

    def _fail(self, row: Utterance, error: BaseException | None) -> None:
        row.error = as_row_error(error, ErrorCode.MODEL_FAILED)
        if row.error.code == ErrorCode.MODEL_FAILED:
            logger.warning("%s failed in the model: %s", row.utterance_id, row.error.message)


def attempted(step: Callable[[], R]) -> tuple[R | None, BaseException | None]:
    """What `step` gives, or what it raises, unless nothing can go on."""
    try:
        return step(), None
    except EngineFatalError:
        raise
    # The one broad except: any model, any row. A model that exits means a process of its own.
    except (Exception, SystemExit) as error:
        return None, error


def as_row_error(error: BaseException | None, code: ErrorCode) -> RowError:
    """What a row says of an error that it alone meets; `code` where that is of no known kind."""
    if isinstance(error, RowError):
        return error
    said, _ = attempted(lambda: str(error))
    message = f"{type(error).__name__}: {said}"
    if isinstance(error, BatchTooLargeError):
        return RowError(ErrorCode.OUT_OF_MEMORY, f"even alone, {said}")
    return RowError(ErrorCode.OUT_OF_MEMORY if isinstance(error, MemoryError) else code, message)


def safely(step: Callable[[], R]) -> R:
    """What the decoding of one row gives.

    Raises:
        RowError: of whatever a decoder that was given any bytes at all may raise.
    """
    result, error = attempted(step)
    if error is not None:
        raise as_row_error(error, ErrorCode.AUDIO_CORRUPT) from error
    return cast(R, result)


class TranscribeWorker:
    """One actor's work: an engine of its own, and chunks of rows through it.

    Args:
        make_engine: builds the engine; called once, in the actor.
        batch_size_s: padded audio in one call of the recognizer, in seconds, and its limits where
            it may change.
        language: what the `language` column says.
        provenance: what every row says of how it was made.
        limits: how long recordings and their segments may be.
        isolation: the rule by which rows that end the process are given up.
        sentences: whether segments are sentences, and not spans.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        batch_size_s: BatchBounds | float,
        language: str,
        provenance: Provenance,
        limits: Limits | None = None,
        isolation: Isolation | None = None,
        sentences: bool = False,
    ) -> None:
        self._language = language
        self._sentences = sentences
        self._provenance = provenance
        self._isolation = isolation or Isolation()
        self._engine = engine = make_engine()
        self._steps = Steps(engine, batch_size_s, limits or Limits(), self._isolation.progress)
        # Ray calls a constructor that raises again and again, and its error comes back as a text:
        # kept until the first call, it ends the job at once and as itself.
        self._load_error = load_error(engine, self._isolation)

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Folded rows in; the same rows as transcripts out, in order, with what they brought."""
        if self._load_error is not None:
            raise self._load_error
        rows, work = unfold(chunk), self._steps.work
        table = work.timed(lambda: self._isolation.chunk(rows, self._transcribed))
        yield work.in_metadata(table)

    def _transcribed(self, rows: pa.Table) -> pa.Table:
        transcripts = self.transcribe(rows)
        precision, batch_size_s = self._engine.precision, self._steps.batch_size_s
        return transcribed(transcripts, self._provenance, rows, precision, batch_size_s)

    def transcribe(self, table: pa.Table) -> list[Transcript]:
        """One transcript for each decoded row, in order, whatever happens to it."""
        rows = from_table(table)
        self._steps.detect(rows)
        self._steps.recognize(rows)
        self._steps.punctuate(rows)
        return self._steps.transcripts(rows, self._language, self._sentences)


def load_error(engine: Engine, isolation: Isolation) -> RayAsrError | None:
    """Load `engine`; what it raised, where it is an error of ours."""
    try:
        with isolation.loading():
            engine.load()
    except RayAsrError as error:
        return error
    return None


def transcribed(
    transcripts: Sequence[Transcript],
    provenance: Provenance,
    brought: pa.Table,
    precision: str,
    batch_size_s: float,
) -> pa.Table:
    """The output contract's columns, and behind them what the rows brought.

    What the recognizer computed in, and with which batches, stands in the schema's metadata: it is
    known there only.
    """
    table = transcripts_to_table(transcripts, provenance)
    for name in brought.column_names:
        if name not in (*IN_WORK, BATCH_SIZE, WORK):
            table = table.append_column(brought.field(name), brought.column(name))
    return table.replace_schema_metadata({PRECISION: precision, BATCH_SIZE: f"{batch_size_s:g}"})


def _longest_s(batch: Sequence[Waveform]) -> float:
    return max(map(len, batch)) / SAMPLE_RATE_HZ


def _cut_in(parts: int, positions: Sequence[int]) -> list[Sequence[int]]:
    """`positions` in `parts` runs of nearly equal length."""
    edges = [round(i * len(positions) / parts) for i in range(parts + 1)]
    return [positions[a:b] for a, b in pairwise(edges)]

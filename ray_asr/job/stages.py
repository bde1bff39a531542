"""The worker's three steps as three actor pools: for machines whose accelerator must not wait.

Owns which step each pool does and which engine parts it loads. Must not know FunASR or the cluster.
The steps are `worker.Steps`, so that the results are those of one worker that does all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from ray_asr.corpus.chunks import fold, unfold
from ray_asr.engine.protocol import Engine
from ray_asr.job.batch_size import BatchBounds
from ray_asr.job.chunk_work import of_column
from ray_asr.job.isolation import Isolation
from ray_asr.job.long_recording import Limits
from ray_asr.job.utterance import PRECISION, from_table, to_table
from ray_asr.job.worker import BATCH_SIZE, Steps, load_error, transcribed
from ray_asr.schema import Provenance


class _Stage:
    """An actor of one pool: an engine with the parts it needs, and the steps.

    Args:
        make_engine: builds the engine; called once, in the actor.
        batch_size_s: padded audio in one call of the recognizer, in seconds, and its limits where
            it may change.
        limits: how long recordings and their segments may be.
        isolation: the rule by which rows that end the process are given up.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        batch_size_s: BatchBounds | float,
        limits: Limits,
        isolation: Isolation | None = None,
    ) -> None:
        self._isolation = isolation or Isolation()
        self._engine = engine = make_engine()
        self._steps = Steps(engine, batch_size_s, limits, self._isolation.progress)
        self._load_error = load_error(engine, self._isolation)

    def _each(self, chunk: pa.Table, step: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """What `step` gives for the rows of `chunk`, all at once or one at a time."""
        if self._load_error is not None:
            raise self._load_error
        return self._isolation.chunk(unfold(chunk), step)


class DetectStage(_Stage):
    """Voice activity; a long recording goes on as it is, to be searched while it is recognized."""

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Folded decoded rows in; the same with the spans of their speech out."""
        yield fold(self._each(chunk, self._detected))

    def _detected(self, brought: pa.Table) -> pa.Table:
        rows = from_table(brought)
        self._steps.detect(rows)
        return to_table(rows, brought, "", keep_audio=True)


class RecognizeStage(_Stage):
    """Recognition of the spans that were found; waveforms go no further."""

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Folded rows with spans in; the same with what was recognized out."""
        work = self._steps.work
        rows = work.timed(lambda: self._each(chunk, self._recognized))
        yield fold(work.in_column(rows))

    def _recognized(self, brought: pa.Table) -> pa.Table:
        rows = from_table(brought)
        self._steps.recognize(rows)
        precision = self._engine.precision
        found = to_table(rows, brought, precision, keep_audio=False)
        sizes = pa.array([self._steps.batch_size_s] * found.num_rows, pa.float64())
        return found.append_column(BATCH_SIZE, sizes)


class PunctuateStage(_Stage):
    """Punctuation, and the transcripts.

    Args:
        make_engine: as for the other stages.
        batch_size_s: as for the other stages.
        limits: as for the other stages.
        language: what the `language` column says.
        provenance: what every row says of how it was made.
        isolation: as for the other stages.
        sentences: whether segments are sentences, and not spans.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        batch_size_s: BatchBounds | float,
        limits: Limits,
        language: str,
        provenance: Provenance,
        isolation: Isolation | None = None,
        sentences: bool = False,
    ) -> None:
        super().__init__(make_engine, batch_size_s, limits, isolation)
        self._language = language
        self._sentences = sentences
        self._provenance = provenance

    def __call__(self, chunk: pa.Table) -> Iterator[pa.Table]:
        """Folded recognized rows in; transcripts out, in order, with what the rows brought."""
        work = of_column(unfold(chunk))
        yield work.in_metadata(self._each(chunk, self._punctuated))

    def _punctuated(self, brought: pa.Table) -> pa.Table:
        rows = from_table(brought)
        self._steps.punctuate(rows)
        transcripts = self._steps.transcripts(rows, self._language, self._sentences)
        precision, batch_size_s = "", 0.0
        if brought.num_rows:
            precision = brought.column(PRECISION)[0].as_py()
            batch_size_s = brought.column(BATCH_SIZE)[0].as_py()
        return transcribed(transcripts, self._provenance, brought, precision, batch_size_s)

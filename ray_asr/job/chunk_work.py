"""What the work on chunks took: told by actors beside their rows, added up by the driver.

Owns the figures of one chunk, how they travel, and their sums over a run, which stay small however
many chunks come. Must not know engines, Ray, or what becomes of the sums.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from ray_asr.results.histograms import by_factors, by_steps

# In the metadata of a table of transcripts, and as a column on the way to it.
WORK = "_chunk_work"
_FIGURES = ("work_s", "speech_s", "padded_s")
_MOST_SIZES = 50


@dataclass(slots=True)
class Work:
    """One chunk in one actor.

    Attributes:
        work_s: on the clock, in seconds.
        speech_s: of the segments that were recognized, in seconds.
        padded_s: of their batches, each segment as long as the longest, in seconds.
    """

    work_s: float = 0.0
    speech_s: float = 0.0
    padded_s: float = 0.0

    def batches(self, durations_s: Sequence[float], groups: Sequence[Sequence[int]]) -> None:
        """Segments of these durations are recognized in these groups."""
        self.speech_s += sum(durations_s)
        self.padded_s += sum(len(group) * max(durations_s[i] for i in group) for group in groups)

    def timed(self, step: Callable[[], pa.Table]) -> pa.Table:
        """What `step` gives for a chunk; its figures are those of this chunk from here on."""
        self.work_s = self.speech_s = self.padded_s = 0.0
        started = time.monotonic()
        table = step()
        self.work_s = time.monotonic() - started
        return table

    def in_metadata(self, table: pa.Table) -> pa.Table:
        """`table` with these figures in its schema's metadata."""
        return table.replace_schema_metadata({**_metadata(table), WORK: json.dumps(asdict(self))})

    def in_column(self, table: pa.Table) -> pa.Table:
        """`table` with these figures in a column, a row's share in each row."""
        shares = [value / max(1, table.num_rows) for value in asdict(self).values()]
        column = pa.array([shares] * table.num_rows, pa.list_(pa.float64()))
        return table.append_column(WORK, column)


def of_column(table: pa.Table) -> Work:
    """What `in_column` put into a table, or what is left of it."""
    work = Work()
    if WORK in table.column_names:
        for shares in table.column(WORK).to_pylist():
            for name, share in zip(_FIGURES, shares or (), strict=False):
                setattr(work, name, getattr(work, name) + share)
    return work


def of_metadata(table: pa.Table) -> Work | None:
    """What `in_metadata` put into a table; None where there is nothing."""
    said = _metadata(table).get(WORK)
    return Work(**json.loads(said)) if said else None


def without(table: pa.Table) -> pa.Table:
    """`table` as it was before `in_metadata`: rows of several chunks end in one file."""
    kept = {name: value for name, value in _metadata(table).items() if name != WORK}
    return table.replace_schema_metadata(kept or None)


def _metadata(table: pa.Table) -> dict[str, str]:
    found = table.schema.metadata or {}
    return {name.decode(): value.decode() for name, value in found.items()}


class ChunkSums:
    """What all chunks of a run took, so far.

    Attributes:
        chunks: that said something.
        batch_size_s: padded seconds of a batch, as the last of them had it; 0 before.
        total: of all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self.chunks = 0
        self.batch_size_s = 0.0
        self.total = Work()
        # Of an actor's seconds for a second of audio; what is outside counts at the ends.
        self._factors = by_factors(1e-5, 100.0)
        self._padding = by_steps(0.0, 1.0, 100)
        self._sizes: list[dict[str, float]] = []

    def add(self, table: pa.Table, batch_size_s: float) -> None:
        """Take the figures of a chunk's transcripts.

        Args:
            table: the transcripts.
            batch_size_s: padded seconds of a batch by then; 0 where that is not known.
        """
        work = of_metadata(table)
        if work is None:
            return
        self.chunks += 1
        for name in _FIGURES:
            setattr(self.total, name, getattr(self.total, name) + getattr(work, name))
        audio_s = int(table["duration_ms"].to_numpy().sum()) / 1000
        if audio_s > 0 and work.work_s > 0:
            self._factors.add([work.work_s / audio_s])
        if work.padded_s > 0:
            self._padding.add([max(0.0, 1 - work.speech_s / work.padded_s)])
        self.batch_size_s = batch_size_s or self.batch_size_s
        known = {size["batch_size_s"] for size in self._sizes}
        if batch_size_s and batch_size_s not in known and len(known) < _MOST_SIZES:
            at_s = round(self._clock() - self._started, 2)
            self._sizes.append({"time_s": at_s, "batch_size_s": batch_size_s})

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON; nothing where no chunk said anything.

        `batch_sizes` has each size of batches with the moment at which it was first met.
        """
        if not self.chunks:
            return {}
        return {
            "chunks": self.chunks,
            **asdict(self.total),
            "batch_sizes": self._sizes,
            "real_time_factors": self._factors.to_dict(),
            "padding_shares": self._padding.to_dict(),
        }

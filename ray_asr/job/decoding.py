"""Batches of input rows → runs of decoded ones, whatever a row does to the process.

Owns what is begun and ended while a reading task reads and decodes. Must not know Ray, or how a
recording is decoded.

What Ray has got of an attempt that died it keeps, and takes what comes after it of the next one:
so what is given out hangs on the rows alone, and on what was said of a row when it was given up.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from ray_asr.config import InputConfig
from ray_asr.corpus.rows import READ_AT_ONCE, decode_rows
from ray_asr.errors import DataError, RowError
from ray_asr.job.isolation import Isolation, Whole
from ray_asr.job.worker import safely


def decoded(
    batches: Iterator[pa.RecordBatch],
    path: str,
    config: InputConfig,
    chunk_s: float,
    isolation: Isolation,
) -> Iterator[tuple[pa.Table, float]]:
    """Runs of decoded rows with their seconds, as `decode_rows` gives them.

    Args:
        batches: rows as they are read, some at a time.
        path: what they are read from.
        config: how they are read.
        chunk_s: seconds of a run.
        isolation: the rule for rows that end the process.

    Raises:
        DataError: reading itself ends the process.
    """
    while True:
        # One for the reading of a batch and for its first run: each is a round trip to the head.
        first = _begin(isolation, chunk_s)
        batch = _read(batches, path, first)
        if batch is None:
            return

        def begin(start: int, first: Whole = first) -> Whole:
            return first if start == 0 else _begin(isolation, chunk_s)

        yield from decode_rows(batch, config, chunk_s, begin, safely)


def _begin(isolation: Isolation, chunk_s: float) -> Whole:
    return isolation.begin("run", READ_AT_ONCE, chunk_s)


def _read(batches: Iterator[pa.RecordBatch], path: str, begun: Whole) -> pa.RecordBatch | None:
    """The next batch that has rows; `begun` goes on with it, and has ended where there is none."""

    def with_rows() -> pa.RecordBatch | None:
        return next((batch for batch in batches if batch.num_rows), None)

    batch = None
    try:
        batch = begun.one("read", lambda: f"reading {path}", None, with_rows)
    except RowError as error:
        raise DataError(
            f"{path} cannot be read: {error.message} Write the file anew, or leave it out."
        ) from error
    finally:
        if batch is None:
            begun.end()
    return batch

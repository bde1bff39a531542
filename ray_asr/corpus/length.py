"""How much audio an input holds, before any of it is transcribed.

Owns the estimate from a sample of rows. Must not know models or Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from ray_asr.config import InputConfig
from ray_asr.corpus.audio import duration_ms
from ray_asr.corpus.rows import ENCODED, ENCODED_NAME, WAVEFORM, decode_rows, read_unit
from ray_asr.corpus.units import Unit
from ray_asr.schema import SAMPLE_RATE_HZ

_UNITS, _ROWS = 8, 192
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Length:
    """How much there is.

    Attributes:
        rows: counted.
        audio_s: estimated, in seconds.
        sampled_rows: rows that were decoded for it.
    """

    rows: int
    audio_s: float
    sampled_rows: int


def estimate_length(
    filesystem: pafs.FileSystem, units: Sequence[Unit], config: InputConfig
) -> Length:
    """The input's length by a few rows of a few units, spread evenly.

    Seconds a byte of encoded audio, where the files' footers tell how much there is; else seconds
    a row.
    """
    chosen = units[:: max(1, len(units) // _UNITS)][:_UNITS]
    seconds, rows, encoded_bytes = 0.0, 0, 0
    for unit in chosen:
        wanted = _ROWS // len(chosen)
        for batch in read_unit(filesystem, unit):
            sample = batch.slice(0, wanted)
            for table, _ in decode_rows(sample, config, float("inf")):
                seconds += _seconds(table)
            rows += sample.num_rows
            encoded_bytes += unit.audio_bytes * sample.num_rows // max(1, unit.num_rows)
            wanted -= sample.num_rows
            if not wanted:
                break
    all_rows = sum(unit.num_rows for unit in units)
    all_bytes = sum(unit.audio_bytes for unit in units)
    if encoded_bytes and all_bytes:
        audio_s = seconds * all_bytes / encoded_bytes
    else:
        audio_s = seconds * all_rows / max(1, rows)
    return Length(all_rows, audio_s, rows)


def _seconds(table: pa.Table) -> float:
    sizes = pc.call_function("binary_length", [table[WAVEFORM]])
    decoded_s = (pc.call_function("sum", [sizes]).as_py() or 0) / _FLOAT32_BYTES / SAMPLE_RATE_HZ
    longer_ms = sum(
        duration_ms(data.as_buffer(), path_hint=name.as_py() or "") or 0
        for data, name in zip(table[ENCODED], table[ENCODED_NAME], strict=True)
        if data.is_valid
    )
    return decoded_s + longer_ms / 1000

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from ray_asr.config import InputConfig
from ray_asr.corpus.length import estimate_length
from ray_asr.corpus.units import list_units
from tests.fakes import tone, wav_bytes, write_input


@pytest.mark.parametrize(("seconds", "rows"), [(1.5, 40), (700.0, 3)])
def test_the_length_of_like_rows_is_their_sum(tmp_path: Path, seconds: float, rows: int) -> None:
    """The second are long: they are not decoded, their headers tell."""
    folder = tmp_path / "in"
    audio = wav_bytes(tone(seconds))
    for name in ("a", "b"):
        write_input(folder / f"{name}.parquet", [audio] * rows)
    filesystem = pafs.LocalFileSystem()
    units = list_units(
        filesystem, str(folder), id_column="utterance_id", audio_column="audio", unit_mb=64
    )
    length = estimate_length(filesystem, units, InputConfig())
    assert length.rows == 2 * rows
    assert length.audio_s == pytest.approx(2 * rows * seconds, rel=0.02)
    assert 0 < length.sampled_rows <= 2 * rows

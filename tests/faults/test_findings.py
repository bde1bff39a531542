"""What fuzzing and the hostile inputs have found, one small file each: it stays found.

A file's name says what must come of it: `audio_corrupt.what-it-is.bin`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.corpus.audio import decode, duration_ms
from ray_asr.errors import RowError

FINDINGS = sorted((Path(__file__).parent / "findings").glob("*.bin"))


def test_there_are_findings_and_they_are_small() -> None:
    assert FINDINGS
    assert sum(path.stat().st_size for path in FINDINGS) < 200_000


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: path.stem)
def test_finding_has_the_outcome_that_its_name_says(path: Path) -> None:
    data, expected = path.read_bytes(), path.name.split(".")[0]
    length_ms = duration_ms(data)
    assert length_ms is None or 0 <= length_ms <= 10**12
    outcome, message = "ok", "."
    try:
        decode(data, max_duration_s=60.0)
    except RowError as error:
        outcome, message = str(error.code), error.message
    assert outcome == expected
    assert message.endswith(".")

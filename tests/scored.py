"""Outputs to score, written on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ray_asr.errors import DataError
from ray_asr.results.score import score


def write(folder: Path, rows: Sequence[Mapping[str, object]], part: str = "part-0") -> str:
    """Rows as one part file; `status` is ok and ids are numbers unless given."""
    folder.mkdir(exist_ok=True)
    full = [{"utterance_id": str(n), "status": "ok", **row} for n, row in enumerate(rows)]
    columns = dict.fromkeys(name for row in full for name in row)
    table = pa.table({name: [row.get(name) for row in full] for name in columns})
    pq.write_table(table, folder / f"{part}.parquet")
    return str(folder)


def uneven(count: int, worse: int = 0) -> list[dict[str, object]]:
    """Rows of 1 to 8 words, in some of which the first one is wrong."""
    return [
        {
            "text": " ".join(["x" if n % 7 == 0 or n % 50 < worse else "a", *["a"] * (n % 8)]),
            "reference_text": " ".join(["a"] * (1 + n % 8)), "speaker": f"s{n % 10}",
        }
        for n in range(count)
    ]  # fmt: skip


def fails(match: str, *args: str, **kwargs: object) -> None:
    """Scoring ends with this sentence."""
    with pytest.raises(DataError, match=match):
        score(*args, **kwargs)  # type: ignore[arg-type]

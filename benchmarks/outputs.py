"""What it takes to look at a large output: seconds and memory of listing, verify and compact.

    python benchmarks/outputs.py --rows 1000000 --rows-in-a-unit 1000

Writes an input whose recordings are a few bytes, and the output of a job that was never run: each
row has a text of 20 timed words. Each step is a process of its own, so that its memory is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

FILES = 10
LOCAL = pafs.LocalFileSystem()
WORDS = [{"text": f"word{n}", "start_ms": 400 * n, "end_ms": 400 * n + 300} for n in range(20)]


def write_input(source: Path, rows: int, rows_in_a_unit: int) -> None:
    source.mkdir()
    draw = random.Random(0)
    for number in range(FILES):
        mine = range(number, rows, FILES)
        table = pa.table(
            {
                "utterance_id": [f"speaker-{n % 97}/recording-{n:09d}.flac" for n in mine],
                "audio": [draw.randbytes(16) for _ in mine],
            }
        )
        path = source / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=rows_in_a_unit, use_dictionary=False)


def write_output(source: Path, output: Path, rows_in_a_unit: int) -> None:
    from ray_asr.corpus.resume import claim_output
    from ray_asr.corpus.units import list_units
    from ray_asr.job.part_files import write_part
    from ray_asr.schema import TRANSCRIPT_SCHEMA

    settings = {
        "config_fingerprint": "0123456789ab",
        "input.audio_column": "audio",
        "input.id_column": "utterance_id",
        "job.unit_mb": 30 * rows_in_a_unit / 2**20,  # one row group, of 20 bytes a row
    }
    claim_output(LOCAL, str(output), settings)
    units = list_units(
        LOCAL, str(source), id_column="utterance_id", audio_column="audio",
        unit_mb=settings["job.unit_mb"],
    )  # fmt: skip
    text = " ".join(word["text"] for word in WORDS)
    segment = {"start_ms": 0, "end_ms": 8000, "text": text, "words": WORDS, "speaker": ""}
    count = max(unit.num_rows for unit in units)
    columns = {
        "status": ["ok"] * count, "text": [text] * count, "segments": [[segment]] * count,
        "duration_ms": [8000] * count, "audio_events": [[]] * count,
        "config_fingerprint": ["0123456789ab"] * count,
    }  # fmt: skip
    rest = {name: [""] * count for name in TRANSCRIPT_SCHEMA.names}
    rows = pa.table({**rest, **columns}, schema=TRANSCRIPT_SCHEMA)
    for unit in units:
        groups = [*range(*unit.row_groups)]
        ids = pq.ParquetFile(unit.path).read_row_groups(groups, ["utterance_id"])
        table = rows.slice(0, ids.num_rows).set_column(0, "utterance_id", ids["utterance_id"])
        write_part(LOCAL, f"{output}/{unit.part_name}", table)


def listed(source: Path, output: Path) -> str:
    from ray_asr.corpus.resume import parts_done, recorded_job

    settings = recorded_job(LOCAL, str(output))
    return f"{len(parts_done(LOCAL, str(output), settings))} parts are done"


def verified(source: Path, output: Path) -> str:
    from ray_asr.job.verify import verify

    return verify(str(output), str(source)).sentence()


def compacted(source: Path, output: Path) -> str:
    from ray_asr.job.compact import compact

    return compact(str(output)).table().replace("\n", "; ")


STEPS: dict[str, Callable[[Path, Path], str]] = {
    "parts_done": listed, "verify": verified, "compact": compacted,
    "parts_done, compacted": listed, "verify, compacted": verified,
}  # fmt: skip


def peak_mib() -> int:
    """The most memory that this process had, and not that of the one that began it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def measured(step: str, source: Path, output: Path, figures: Any) -> None:
    for module in ("resume", "units"):
        __import__(f"ray_asr.corpus.{module}")
    for module in ("verify", "compact"):
        __import__(f"ray_asr.job.{module}")
    before = peak_mib()
    started = time.monotonic()
    said = STEPS[step](source, output)
    figures.put(
        {
            "step": step,
            "seconds": round(time.monotonic() - started, 2),
            "mib_before": before,
            "mib_peak": peak_mib(),
            "said": said,
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rows-in-a-unit", type=int, default=1000)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "in", Path(folder) / "out"
        write_input(source, given.rows, given.rows_in_a_unit)
        write_output(source, output, given.rows_in_a_unit)
        for step in STEPS:
            figures = context.Queue()
            process = context.Process(target=measured, args=(step, source, output, figures))
            process.start()
            sys.stdout.write(json.dumps(figures.get()) + "\n")
            sys.stdout.flush()
            process.join()


if __name__ == "__main__":
    main()

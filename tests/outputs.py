"""Finished outputs made on the spot, without Ray: their rows go through `PartWriter` alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from ray_asr.config import InputConfig
from ray_asr.corpus.resume import claim_output
from ray_asr.corpus.rows import numbered, passed_through_names, read_unit, text_ids
from ray_asr.corpus.units import Unit, list_units
from ray_asr.job.parts import PartWriter
from ray_asr.job.utterance import PRECISION
from ray_asr.schema import Transcript, transcripts_to_table
from tests.fakes import PROVENANCE, write_input

LOCAL = pafs.LocalFileSystem()
INPUT = InputConfig()
SETTINGS = {
    "config_fingerprint": PROVENANCE.config_fingerprint,
    "input.audio_column": INPUT.audio_column,
    "input.id_column": INPUT.id_column,
    "job.unit_mb": 0.0005,  # of the input below: a few rows
}


def write_inputs(
    source: Path, files: Mapping[str, Sequence[Any]], row_group_size: int = 4, **extra: Any
) -> Path:
    """Parquet files by name, with these ids; `take` goes through to the output."""
    draw = random.Random(0)
    for name, ids in files.items():
        audio = [draw.randbytes(100) for _ in ids]
        take = pa.array(range(len(ids)), pa.int32())
        write_input(
            source / name, audio, ids=ids, row_group_size=row_group_size, take=take, **extra
        )
    return source


def units_of(source: Path) -> list[Unit]:
    return list_units(
        LOCAL,
        str(source),
        id_column=INPUT.id_column,
        audio_column=INPUT.audio_column,
        unit_mb=SETTINGS["job.unit_mb"],
    )


def transcript_of(utterance_id: str | None) -> Transcript:
    """What the output says of an id: mostly a text, now and then nothing or a failure."""
    if utterance_id is None:
        return Transcript("", "failed", error_code="id_missing", error_message="no id.")
    kind = sum(utterance_id.encode()) % 5
    if kind == 3:
        return Transcript(utterance_id, "no_speech", duration_ms=500)
    if kind == 4:
        return Transcript(
            utterance_id, "failed", error_code="worker_died", error_message="It died."
        )
    return Transcript(utterance_id, "ok", text=f"text of {utterance_id}", duration_ms=1000)


def rows_of(
    unit: Unit, number: int, say: Callable[[str | None], Transcript] = transcript_of
) -> pa.Table:
    """A unit's rows as they come back from the actors."""
    tables = [batch_rows(batch, say) for batch in read_unit(LOCAL, unit)]
    runs = ((table, 0.0) for table in tables)
    return pa.concat_tables([run for run, _ in numbered(runs, number, unit.chosen)])


def batch_rows(batch: pa.RecordBatch, say: Callable[[str | None], Transcript]) -> pa.Table:
    ids = text_ids(batch, INPUT).to_pylist()
    table = transcripts_to_table([say(utterance_id) for utterance_id in ids], PROVENANCE)
    for free, name in passed_through_names(batch.schema.names, INPUT).items():
        table = table.append_column(free, batch.column(name))
    return table.replace_schema_metadata({PRECISION: "int8"})


def write_output(
    source: Path, output: Path, skip: Callable[[int], bool] = lambda number: False
) -> list[Unit]:
    """What a finished job leaves; units whose number `skip` takes are not done."""
    units = units_of(source)
    claim_output(LOCAL, str(output), SETTINGS)
    (output / "_runs" / "one").mkdir(parents=True, exist_ok=True)
    (output / "_runs" / "one" / "summary.json").write_text("{}")
    done = [unit for number, unit in enumerate(units) if not skip(number)]
    writer = PartWriter(LOCAL, str(output), done)
    for number, unit in enumerate(done):
        writer.add(rows_of(unit, number))
    writer.finish()
    return units


def read(output: Path, columns: list[str] | None = None) -> pa.Table:
    """All rows as readers see them, sorted by id."""
    table = ds.dataset(output, format="parquet").to_table(columns=columns)
    return table.sort_by("utterance_id")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def half_as_many_mb(output: Path) -> float:
    """The size of joined files that leaves about half as many."""
    return 2.2 * max(part.stat().st_size for part in parts(output)) / 2**20

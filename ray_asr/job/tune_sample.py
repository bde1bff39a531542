"""A sample of one's own rows to measure with: a seeded choice, spread over the input.

Owns which rows are chosen and the Parquet files that they are copied to. Must not know Ray, or
what is measured.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import Config
from ray_asr.corpus.rows import ENCODED, ERROR_CODE, decode_rows, read_unit
from ray_asr.corpus.units import Unit, input_units
from ray_asr.errors import DataError
from ray_asr.redaction import redacted

# Of the front of a unit, so that a large one need not be read whole.
_BATCHES_OF_A_UNIT = 4
_MOST_UNITS = 32


@dataclass(frozen=True, slots=True)
class Drawn:
    """A folder of Parquet files.

    Attributes:
        folder: where they are.
        audio_s: decoded, in seconds.
        utterances: rows.
    """

    folder: Path
    audio_s: float
    utterances: int


@dataclass(frozen=True, slots=True)
class _Row:
    table: pa.Table
    seconds: float


def draw_samples(
    source: str, config: Config, seconds: Sequence[float], folder: Path, seed: int = 0
) -> list[Drawn]:
    """Samples of the input at `source`, each of at least so many seconds, the same for one seed.

    Where the input is shorter, its rows are taken again. Recordings of many minutes, which are
    decoded while they are recognized, are left out: one of them would be all of a sample.

    Args:
        source: the Parquet files of the job.
        config: how they are read.
        seconds: of each sample.
        folder: where a folder is made for each.
        seed: of the choice.

    Raises:
        DataError: the input cannot be read, or has no row to measure with.
    """
    filesystem, units = input_units(source, config)
    draw = random.Random(seed)
    chosen = sorted(draw.sample(range(len(units)), min(_MOST_UNITS, len(units))))
    of_units = [_rows(filesystem, units[n], config, draw) for n in chosen]
    # In turn from every unit: `rows` is what the samples are cut from.
    rows = list(_in_turn(of_units, max(seconds)))
    if not rows:
        raise DataError(
            f"{redacted(source)} has no row that the tuner could measure with: it takes decodable "
            "recordings of up to ten minutes; give it another part of the input."
        )
    return [_written(rows, wanted_s, folder / f"sample-{n}") for n, wanted_s in enumerate(seconds)]


def _rows(
    filesystem: pafs.FileSystem, unit: Unit, config: Config, draw: random.Random
) -> Iterator[_Row]:
    """Decodable rows of a unit's front, in a random order."""
    batches: list[pa.RecordBatch] = []
    for batch in read_unit(filesystem, unit):
        batches.append(batch)
        if len(batches) == _BATCHES_OF_A_UNIT:
            break
    table = pa.Table.from_batches(batches)
    order = list(range(table.num_rows))
    draw.shuffle(order)
    for number in order:
        row = table.slice(number, 1)
        (batch,) = row.to_batches()
        for run, run_s in decode_rows(batch, config.input, 0.0):
            if not run[ERROR_CODE][0].as_py() and not run[ENCODED][0].is_valid and run_s > 0:
                yield _Row(row, run_s)


def _in_turn(of_units: Sequence[Iterator[_Row]], wanted_s: float) -> Iterator[_Row]:
    """One row of each unit after the other, until there are so many seconds."""
    going = list(of_units)
    seconds = 0.0
    while going:
        for rows in list(going):
            row = next(rows, None)
            if row is None:
                going.remove(rows)
                continue
            yield row
            seconds += row.seconds
            if seconds >= wanted_s:
                return


def _written(rows: Sequence[_Row], wanted_s: float, folder: Path) -> Drawn:
    """Rows up to `wanted_s`, again from the first where they are too few; a file a schema."""
    folder.mkdir(parents=True)
    taken: list[_Row] = []
    seconds = 0.0
    while seconds < wanted_s:
        row = rows[len(taken) % len(rows)]
        taken.append(row)
        seconds += row.seconds
    schemas = list(dict.fromkeys(row.table.schema.to_string() for row in taken))
    for number, schema in enumerate(schemas):
        same = [row.table for row in taken if row.table.schema.to_string() == schema]
        table = pa.concat_tables(same)
        pq.write_table(table, folder / f"rows-{number}.parquet", row_group_size=256)
    return Drawn(folder, seconds, len(taken))

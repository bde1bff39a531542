"""Transcripts of units → part files, each written whole once the last row of its unit is there.

Owns the exactly-once check of a unit's rows and the writing of parts. Must not know recognition
or the cluster: tables come in, in any order and cut in any way, and files go out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from ray_asr.corpus.compacted import Place
from ray_asr.corpus.rows import ROW, UNIT
from ray_asr.corpus.units import Unit
from ray_asr.errors import RayAsrError
from ray_asr.job.part_files import write_part
from ray_asr.job.replacing import Replacing
from ray_asr.job.utterance import PRECISION
from ray_asr.job.worker import BATCH_SIZE
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK


@dataclass(slots=True)
class Tally:
    """What has been written so far."""

    rows: int = 0
    audio_ms: int = 0
    by_status: dict[str, int] = field(
        default_factory=lambda: {STATUS_OK: 0, STATUS_NO_SPEECH: 0, STATUS_FAILED: 0}
    )

    def add(self, table: pa.Table) -> None:
        """Count the rows of `table`."""
        self.rows += table.num_rows
        self.audio_ms += int(table["duration_ms"].to_numpy().sum())
        for pair in table["status"].value_counts().to_pylist():
            self.by_status[pair["values"]] += pair["counts"]


class PartWriter:
    """Collects rows by unit and writes each complete unit as one part.

    Args:
        filesystem: where the output is.
        folder: the output folder.
        units: the units of this run; a row names its unit by the position in this list.
        written: called after each part; gives the folder of the next ones.
        places: where the parts of units with chosen rows stand, in which these are replaced.

    Attributes:
        received: the rows so far.
        kept: those of them that stand in written parts.
        precisions: what recognizers computed them in.
        batch_size_s: padded seconds of a batch, as the last of them say; 0 where none did.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        units: Sequence[Unit],
        written: Callable[[], str] | None = None,
        places: Mapping[str, Place] | None = None,
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._units = units
        self._written = written or (lambda: folder)
        self._replacing = Replacing(filesystem, folder, units, places or {})
        self._waiting: dict[int, list[pa.Table]] = {}
        self._done: set[int] = set()
        self.received = Tally()
        self.kept = Tally()
        self.precisions: set[str] = set()
        self.batch_size_s = 0.0
        self.written = 0

    def add(self, table: pa.Table) -> None:
        """Take transcripts of one or several units; write the units that they complete."""
        self.received.add(table)
        metadata = table.schema.metadata or {}
        self.precisions |= {metadata.get(PRECISION.encode(), b"").decode()}
        self.batch_size_s = float(metadata.get(BATCH_SIZE.encode(), b"0")) or self.batch_size_s
        for number in table[UNIT].unique().to_pylist():
            if number in self._done:
                raise RayAsrError(
                    f"rows of {self._units[number].path} came back again after their part was "
                    "written: this is a fault in ray_asr."
                )
            mine = table.filter(pc.field(UNIT) == number)
            waiting = self._waiting.setdefault(number, [])
            waiting.append(mine)
            if sum(part.num_rows for part in waiting) >= self._units[number].num_rows:
                # Beside rows of other files, Ray gives them these files' columns, of nulls.
                rows = pa.concat_tables(self._waiting.pop(number), promote_options="default")
                self._write(number, rows)

    def _write(self, number: int, rows: pa.Table) -> None:
        unit = self._units[number]
        order = np.argsort(rows[ROW].to_numpy(), kind="stable")
        numbers = np.asarray(unit.chosen or range(unit.num_rows))
        if not np.array_equal(rows[ROW].to_numpy()[order], numbers):
            raise RayAsrError(
                f"rows of {unit.path} came back {rows.num_rows} instead of {unit.num_rows} times: "
                "this is a fault in ray_asr; nothing of this unit was written."
            )
        part = rows.take(pa.array(order)).drop_columns([UNIT, ROW])
        units_written = 1
        if unit.chosen:
            units_written = self._replacing.take(number, part)
        else:
            write_part(self._filesystem, f"{self._folder}/{unit.part_name}", part)
        self._folder = self._written()
        self.kept.add(part)
        self._done.add(number)
        self.written += units_written

    def finish(self) -> None:
        """Assert that every unit has been written.

        Raises:
            RayAsrError: rows are missing; the parts that are there stay, and the same command
                goes on from them.
        """
        if self.written != len(self._units):
            raise RayAsrError(
                f"{len(self._units) - self.written} of {len(self._units)} units did not come back "
                "whole; run the same command again to do what is missing."
            )

"""Proof that an output holds each row of its input once, as it must be, and nothing else.

Owns what is compared with what, in which order, and in bounded memory: a file's rows pass by a
batch at a time, and of each id 8 bytes stay. Must not know Ray or models.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.config import InputConfig
from ray_asr.corpus.compacted import Place, joined_files, places
from ray_asr.corpus.restart import SWITCH_FILE
from ray_asr.corpus.resume import JOB_FILE, is_part, recorded_job
from ray_asr.corpus.storage import WRITING, open_filesystem
from ray_asr.corpus.units import Unit, list_units
from ray_asr.errors import DataError
from ray_asr.job.continuation import rows_of
from ray_asr.job.findings import Findings, Verification
from ray_asr.job.input_ids import InputIds, SeenIds, of_one_pass, where_they_stand
from ray_asr.job.many_files import for_each
from ray_asr.job.part_files import Rows, batches_of, open_part
from ray_asr.job.row_checks import broken_rows, has_contract, schema_problems
from ray_asr.redaction import redacted
from ray_asr.schema import SCHEMA_VERSION

_THREADS = 8
_IDS_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows of an output file, and the unit that they must be of.

    Attributes:
        place: where they stand; None for a unit that has no part.
        unit: None for rows that are no unit's, or whose unit stands elsewhere too.
        is_foreign: whether they are no unit's.
    """

    place: Place | None
    unit: Unit | None
    is_foreign: bool = False

    def rows(self, there: int) -> int:
        """How many they must be, in a file that has `there`."""
        if self.place is not None and self.place.rows is not None:
            return self.place.rows
        return there if self.unit is None else self.unit.num_rows


def verify(output: str, source: str) -> Verification:
    """Hold an output against its input; changes nothing.

    Args:
        output: the folder of the transcripts, a path or a URI.
        source: the input that it was made of, as it was given to `transcribe`.

    Raises:
        DataError: the output is none of ray_asr, or the input cannot be read.
    """
    started = time.monotonic()
    filesystem, folder = open_filesystem(output)
    config, unit_mb, fingerprint = _how_it_was_made(filesystem, folder)
    where, path = open_filesystem(source)
    units = list_units(
        where, path, id_column=config.id_column, audio_column=config.audio_column, unit_mb=unit_mb
    )
    look = _Look(filesystem, folder, where, config, fingerprint, rows_of(units))
    names, notes = look.listed()
    found = list(places(names, joined_files(filesystem, folder, names)))
    tasks, missing = look.planned(units, found)
    for_each(tasks, look.at, _THREADS, "looked at %d of %d files and their input.")
    notes += look.repeated_ids(units)
    return Verification(
        output=redacted(output),
        source=redacted(source),
        rows_in=rows_of(units),
        rows_out=look.rows_out,
        units=len(units),
        units_missing=len(missing),
        rows_missing=rows_of(missing),
        by_status=dict(look.by_status),
        findings=sorted(look.findings.kept, key=lambda finding: (finding.file, finding.rows)),
        by_kind=dict(look.findings.by_kind),
        notes=notes,
        wall_s=time.monotonic() - started,
    )


def _how_it_was_made(filesystem: pafs.FileSystem, folder: str) -> tuple[InputConfig, float, str]:
    """The columns of an output's input, the size of its units in MiB, and its fingerprint."""
    job = recorded_job(filesystem, folder)
    version = job.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"the output {folder} is of schema version {version!r}, this ray_asr knows version "
            f"{SCHEMA_VERSION}: verify it with the ray_asr that made it."
        )
    try:
        config = InputConfig(str(job["input.id_column"]), str(job["input.audio_column"]))
        return config, float(job["job.unit_mb"]), str(job["config_fingerprint"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder}/{JOB_FILE} does not say how the input was cut ({error!r}): it is not as "
            "ray_asr wrote it; put it back as it was."
        ) from error


class _Look:
    """One look at an output: what has been found, from all threads.

    Args:
        filesystem: where the output is.
        folder: the output.
        source: where the input is.
        config: its columns.
        fingerprint: of the settings that the output was made with.
        rows: of the input.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        source: pafs.FileSystem,
        config: InputConfig,
        fingerprint: str,
        rows: int,
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._source = source
        self._config = config
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._seen = SeenIds(rows)
        self.findings = Findings()
        self.by_status: Counter[str] = Counter()
        self.rows_out = 0

    def listed(self) -> tuple[list[str], list[str]]:
        """The names of the part files, and what there is to note of other files."""
        listing = self._filesystem.get_file_info(pafs.FileSelector(self._folder))
        names = sorted(file.base_name for file in listing)
        parts = [file.base_name for file in listing if file.is_file and is_part(file.base_name)]
        for name in names:
            if not name.startswith(("_", ".")) and name not in parts:
                self.findings.add("foreign_file", name, "it is not ray_asr's, and readers take it")
        if SWITCH_FILE in names:
            detail = (
                "a run with --restart was ended while it took the old one's place: run its command "
                "again without --restart"
            )
            self.findings.add("restart", SWITCH_FILE, detail)
        leftovers = [name for name in names if name.startswith(WRITING)]
        if not leftovers:
            return parts, []
        note = (
            f"{len(leftovers)} files were left half-written ({leftovers[0]}); no reader takes them "
            "for parts, and the next run on this output deletes them."
        )
        return parts, [note]

    def planned(
        self, units: Sequence[Unit], found: Sequence[Place]
    ) -> tuple[list[list[_Stretch]], list[Unit]]:
        """What is looked at together, and the units that have no part."""
        by_part = {unit.part_name: unit for unit in units}
        first: dict[str, Place] = {}
        for place in found:
            other = first.setdefault(place.part, place)
            if other is not place:
                detail = f"the rows of {place.part} stand in {other.file} too"
                self.findings.add("twice", place.file, detail, place.rows or 0)
        tasks: list[list[_Stretch]] = []
        alone = {unit.part_name: _Stretch(None, unit) for unit in units}
        for _, group in itertools.groupby(found, key=lambda place: place.file):
            here = [
                _Stretch(
                    place,
                    by_part.get(place.part) if first[place.part] is place else None,
                    is_foreign=place.part not in by_part,
                )
                for place in group
            ]
            stretch = here[0]
            if (
                stretch.unit is not None
                and stretch.place is not None
                and stretch.place.rows is None
            ):
                alone[stretch.unit.part_name] = stretch
            else:
                tasks.append(here)
                for stretch in here:
                    if stretch.unit is not None:
                        del alone[stretch.unit.part_name]
        groups = of_one_pass([unit for unit in units if unit.part_name in alone])
        tasks += [[alone[unit.part_name] for unit in group] for group in groups]
        return tasks, [unit for unit in units if unit.part_name not in first]

    def at(self, stretches: Sequence[_Stretch]) -> None:
        """Look at rows that stand together, beside their input."""
        inputs = InputIds(self._source, self._config)
        files = itertools.groupby(stretches, key=lambda s: s.place.file if s.place else None)
        try:
            for file, group in files:
                left = list(group)
                if file is not None:
                    try:
                        self._look_into(file, left, inputs)
                    except (pa.ArrowException, OSError) as error:
                        self.findings.add("unreadable", file, f"it cannot be read ({error})")
                for stretch in left:
                    self._ids(inputs, stretch.unit)
        finally:
            inputs.close()

    def _ids(self, inputs: InputIds, unit: Unit | None) -> pa.Array:
        """The unit's ids, remembered: to be called once for each unit."""
        if unit is None:
            return pa.array([], pa.string())
        ids = pa.concat_arrays(list(inputs.of(unit)))
        self._seen.add(ids)
        return ids

    def _look_into(self, file: str, stretches: list[_Stretch], inputs: InputIds) -> None:
        """Look at a file of the output; takes those off `stretches` whose ids have been read."""
        with self._filesystem.open_input_file(f"{self._folder}/{file}") as source:
            part = open_part(source)
            there = part.metadata.num_rows
            with self._lock:
                self.rows_out += there
            expected = sum(stretch.rows(there) for stretch in stretches)
            if there != expected:
                detail = f"it has {there} rows and not {expected}"
                self.findings.add("row_count", file, detail, abs(there - expected))
                return
            rows, first, checked = Rows(batches_of(part)), 0, set[str]()
            while stretches:
                stretch = stretches.pop(0)
                count, unit = stretch.rows(there), stretch.unit
                ids = self._ids(inputs, unit)
                if stretch.is_foreign:
                    detail = "its rows are of input that is not there any more, or has changed"
                    self.findings.add("foreign_part", file, detail, count, [first])
                if unit is not None and unit.path not in checked:
                    checked.add(unit.path)
                    for problem in schema_problems(part.schema_arrow, inputs.passed_through):
                        self.findings.add("schema", file, problem, count)
                if unit is not None and unit.num_rows != count:
                    detail = f"it has {count} rows of a unit that has {unit.num_rows}"
                    self.findings.add("row_count", file, detail, count, [first])
                    unit = None
                for batch in rows.all_of(count):
                    batch.validate(full=True)
                    if unit is not None and has_contract(part.schema_arrow):
                        self._compare(file, batch, ids.slice(0, batch.num_rows), first)
                    ids, first = ids.slice(batch.num_rows), first + batch.num_rows

    def _compare(self, file: str, rows: pa.RecordBatch, ids: pa.Array, first: int) -> None:
        """Hold rows, of which the first is row `first` of the file, against the rules."""
        for kind, detail, broken in broken_rows(rows, ids, self._fingerprint):
            where = np.flatnonzero(broken) + first
            self.findings.add(kind, file, detail, len(where), where.tolist())
        statuses = rows["status"].drop_null().value_counts().to_pylist()
        with self._lock:
            self.by_status.update({pair["values"]: pair["counts"] for pair in statuses})

    def repeated_ids(self, units: Sequence[Unit]) -> list[str]:
        """A note on ids that stand twice in the input, with the names of some."""
        count, hashes = self._seen.repeated(_IDS_NAMED)
        if not count:
            return []
        stand: dict[str, list[str]] = {}

        def look(group: list[Unit]) -> None:
            inputs = InputIds(self._source, self._config)
            try:
                for text, path, row in where_they_stand(inputs, group, hashes):
                    with self._lock:
                        stand.setdefault(text, []).append(f"row {row} of {path}")
            finally:
                inputs.close()

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(look, of_one_pass(units)))
        named = [
            f"{text!r} ({' and '.join(sorted(rows)[:2])})"
            for text, rows in sorted(stand.items())
            if len(rows) > 1
        ]
        return [
            f"{count} rows of the input have the id of another one, so that these ids cannot stand "
            f"in the output once: {', '.join(named)}{', …' if count > len(named) else ''}."
        ]

"""Rows that take the place of others in parts that are there.

Owns how new transcripts of some rows come into a part file: it is written anew whole, under its
name, with all its other rows as they were. Must not know recognition or the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs

from ray_asr.corpus.compacted import Place
from ray_asr.corpus.units import Unit
from ray_asr.errors import RayAsrError
from ray_asr.job.part_files import new_part, open_part, with_metadata
from ray_asr.schema import TRANSCRIPT_SCHEMA


class Replacing:
    """Collects new rows, and writes a file anew once those of all its units are there.

    So a joined file is written once, however many of its parts have new rows.

    Args:
        filesystem: where the output is.
        folder: the output folder.
        units: with the rows that are chosen of each.
        places: where the parts of these units stand, by the part's name.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        folder: str,
        units: Sequence[Unit],
        places: Mapping[str, Place],
    ) -> None:
        self._filesystem = filesystem
        self._folder = folder
        self._units = units
        self._places = places
        self._missing: dict[str, set[int]] = {}
        self._new: dict[str, list[tuple[npt.NDArray[np.int64], pa.Table]]] = {}
        for number, unit in enumerate(units):
            if unit.chosen:
                self._missing.setdefault(places[unit.part_name].file, set()).add(number)

    def take(self, number: int, rows: pa.Table) -> int:
        """Take the new rows of a unit, in the order in which they were chosen.

        Returns:
            How many units are in their file with this one: 0 where others of the file are missing.
        """
        unit = self._units[number]
        place = self._places[unit.part_name]
        new = self._new.setdefault(place.file, [])
        new.append((np.asarray(unit.chosen, np.int64) + place.first, rows))
        self._missing[place.file].discard(number)
        if self._missing[place.file]:
            return 0
        self._write(place.file, self._new.pop(place.file))
        return len(new)

    def _write(self, file: str, new: list[tuple[npt.NDArray[np.int64], pa.Table]]) -> None:
        path = f"{self._folder}/{file}"
        where = np.concatenate([positions for positions, _ in new])
        rows = pa.concat_tables([table.select(TRANSCRIPT_SCHEMA.names) for _, table in new])
        order = np.argsort(where, kind="stable")
        where, rows = where[order], rows.take(pa.array(order))
        with self._filesystem.open_input_file(path) as source:
            part = open_part(source)
            schema = with_metadata([part.schema_arrow, *(table.schema for _, table in new)])
            with new_part(self._filesystem, path, schema) as writer:
                first = 0
                for group in range(part.num_row_groups):
                    old = part.read_row_group(group)
                    begin, end = np.searchsorted(where, [first, first + old.num_rows]).tolist()
                    chosen = rows.slice(begin, end - begin)
                    table = _replaced(file, old, chosen, where[begin:end] - first)
                    writer.write_table(
                        table.replace_schema_metadata(schema.metadata),
                        row_group_size=max(old.num_rows, 1),
                    )
                    first += old.num_rows


def _replaced(file: str, old: pa.Table, new: pa.Table, where: npt.NDArray[np.int64]) -> pa.Table:
    """`old` with the contract's columns of the rows `where` from `new`.

    What a row brought from the input stays: that is the same.
    """
    if not len(where):
        return old
    if not old["utterance_id"].take(pa.array(where)).equals(new["utterance_id"]):
        raise RayAsrError(
            f"new rows of {file} have other ids than those they are to replace: nothing was "
            "written; `ray-asr verify` says what is wrong with the output."
        )
    pick = np.arange(old.num_rows)
    pick[where] = old.num_rows + np.arange(len(where))
    for name in TRANSCRIPT_SCHEMA.names:
        both = pa.chunked_array([*old[name].chunks, *new[name].chunks], old[name].type)
        old = old.set_column(old.schema.get_field_index(name), old.field(name), both.take(pick))
    return old

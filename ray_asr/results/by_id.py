"""What another file says of a row, found by the row's id.

Owns finding rows of one Parquet folder for those of another without holding the ids: 8 bytes of a
hash stand for each. Knows nothing of errors and how they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ray_asr.errors import DataError
from ray_asr.redaction import redacted
from ray_asr.results.bootstrap import name_keys
from ray_asr.results.columns import OpenFilesystem, ParquetColumns

ID, REFERENCE = "utterance_id", "reference_text"
GIVE_REFERENCE = f"give a Parquet file with {ID} and {REFERENCE} as the reference"
BATCH_ROWS = 512
_CHUNK_ROWS = 2**16


class Places:
    """Where each key stands in a list of keys that is given a part at a time."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._keys = np.empty(0, np.uint64)
        self._order = np.empty(0, np.int64)

    def add(self, keys: np.ndarray) -> None:
        """The next keys of the list."""
        self._parts.append(keys)

    def close(self) -> None:
        """All are there; from now on they can be found."""
        keys = np.concatenate([self._keys, *self._parts])
        self._parts = []
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The first place of each key, -1 for those that have none."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        at = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._order[at], -1)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Each place whose key stood before, with the place where it stood first."""
        again = np.flatnonzero(self._keys[1:] == self._keys[:-1]) + 1
        for at in again:
            first = int(np.searchsorted(self._keys, self._keys[at]))
            yield int(self._order[at]), int(self._order[first])


class References:
    """The texts of a separate reference file by id; they are held, at some 30 bytes more each.

    Args:
        where: the Parquet file or folder.
        open_filesystem: gives its filesystem, and the path inside it.

    Raises:
        DataError: it cannot be read, or has two texts for one id.
    """

    def __init__(self, where: str, open_filesystem: OpenFilesystem) -> None:
        self.where = redacted(where)
        self._columns = ParquetColumns(where, "reference", open_filesystem)
        for column in (ID, REFERENCE):
            self._columns.require(column, GIVE_REFERENCE)
        self._places = Places()
        self._chunks: list[pa.Array] = []
        waiting: list[str | None] = []
        for rows in self._columns.batches([ID, REFERENCE], BATCH_ROWS):
            self._places.add(name_keys([str(id_) for id_, _ in rows]))
            waiting += [text for _, text in rows]
            if len(waiting) >= _CHUNK_ROWS:
                self._hold(waiting[:_CHUNK_ROWS])
                waiting = waiting[_CHUNK_ROWS:]
        self._hold(waiting)
        self._places.close()
        self._is_first = np.ones(len(self._places), bool)
        for again, first in self._places.repeated():
            self._is_first[again] = False
            if self._text(again) != self._text(first):
                raise DataError(
                    f"reference {self.where} has two texts for {ID} {self._id(first)}; leave the "
                    "right one"
                )

    def asked(self) -> Asked:
        """The references, each to be asked for once."""
        return Asked(self)

    def _hold(self, texts: list[str | None]) -> None:
        try:
            self._chunks.append(pa.array(texts, pa.large_string()))
        except pa.ArrowException as error:
            raise DataError(
                f"{REFERENCE} of reference {self.where} is no text ({error}); give a column of text"
            ) from None

    def _text(self, place: int) -> str | None:
        return self._chunks[place // _CHUNK_ROWS][place % _CHUNK_ROWS].as_py()

    def _id(self, place: int) -> str:
        for rows in self._columns.batches([ID], BATCH_ROWS):
            if place < len(rows):
                return str(rows[place][0])
            place -= len(rows)
        return ""


class Asked:
    """References of which is known who asked for them."""

    def __init__(self, references: References) -> None:
        self._of = references
        self._taken = np.zeros(len(references._places), bool)

    def take(self, ids: list[str]) -> list[str | None]:
        """The reference of each row, None where there is none.

        Raises:
            DataError: a row's id was asked for before.
        """
        found: list[str | None] = []
        places = self._of._places.find(name_keys(ids)).tolist()
        for id_, place in zip(ids, places, strict=True):
            if place >= 0 and self._taken[place]:
                raise DataError(
                    f"the output has {ID} {id_} twice, so {self._of.where} cannot be matched to "
                    "it; score outputs of one job, whose ids are unique"
                )
            if place >= 0:
                self._taken[place] = True
            found.append(self._of._text(place) if place >= 0 else None)
        return found

    def left(self) -> Iterator[list[tuple[str, str]]]:
        """Ids and references that nobody asked for, some at a time.

        Raises:
            DataError: nobody asked for any.
        """
        if len(self._taken) and not self._taken.any():
            raise DataError(
                f"no {ID} of reference {self._of.where} is in the output (the first one is "
                f"{self._of._id(0)!r}); give the references of this run"
            )
        wanted = self._of._is_first & ~self._taken
        start = 0
        for rows in self._of._columns.batches([ID, REFERENCE], BATCH_ROWS):
            these = wanted[start : start + len(rows)].tolist()
            start += len(rows)
            missing = [
                (str(id_), text)
                for (id_, text), is_wanted in zip(rows, these, strict=True)
                if is_wanted and text is not None
            ]
            if missing:
                yield missing

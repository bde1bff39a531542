"""The rows of an output beside their references, and the errors of each.

Owns which text is held against which, and the counts of a row. Must not know how they are added up.

Every reference counts. A row that is `failed` or `no_speech` has said nothing, so its reference
counts as deletions, and so does a row of a separate reference file that the run has no transcript
of. A reference of "" counts whatever was recognized as insertions; one that is null leaves its row
unscored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ray_asr.errors import DataError
from ray_asr.results.align import align
from ray_asr.results.by_id import BATCH_ROWS, GIVE_REFERENCE, ID, REFERENCE, References
from ray_asr.results.columns import OpenFilesystem, ParquetColumns
from ray_asr.results.counts import ErrorCounts
from ray_asr.results.mistakes import Mistakes
from ray_asr.results.normalize import Wording, unspaced
from ray_asr.results.tally import COUNTS
from ray_asr.schema import STATUS_OK

NO_VALUE = "(none)"
NO_TRANSCRIPT = "(no transcript)"
_TEXT, _STATUS = "text", "status"


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is scored.

    Attributes:
        utterance_id: of the row.
        status: of the row; `(no transcript)` where it is in the reference file alone.
        reference: what was said.
        text: what was recognized.
        values: those in the columns asked for, as text; None for none.
    """

    utterance_id: str
    status: str
    reference: str
    text: str
    values: tuple[str | None, ...]


class OutputRows:
    """The scored rows of an output.

    Args:
        where: folder of part files, a path or an address.
        separate: whether references come from another file than the output.
        columns: what else is wanted of each row.
        open_filesystem: gives the filesystem of `where`, and the path inside it.
        what: what it is called in messages.

    Attributes:
        statuses: how many rows have each status, once they have passed.
        unscored: rows without a reference.
        missing: rows of the reference file that the output has no row for.

    Raises:
        DataError: it cannot be read, or a column is not there.
    """

    def __init__(
        self,
        where: str,
        separate: bool,
        columns: Sequence[str],
        open_filesystem: OpenFilesystem,
        what: str = "output",
    ) -> None:
        self._columns = ParquetColumns(where, what, open_filesystem)
        self._columns.require(
            _TEXT, "give the folder that `ray-asr transcribe` wrote its part files to"
        )
        self._columns.require(ID if separate else REFERENCE, GIVE_REFERENCE)
        for column in columns:
            self._columns.require(column, "group by one of those")
        self._wanted = list(columns)
        self.statuses: Counter[str | None] = Counter()
        self.unscored = self.missing = 0

    def batches(self, references: References | None) -> Iterator[list[Row]]:
        """The rows that have a reference, some at a time.

        Args:
            references: a separate reference file; None for the output's own column.

        Raises:
            DataError: they cannot be matched with the reference file.
        """
        asked = None if references is None else references.asked()
        columns = [ID, _STATUS, _TEXT, REFERENCE, *self._wanted]
        for batch in self._columns.batches(columns, BATCH_ROWS):
            self.statuses.update(row[1] for row in batch)
            texts: list[str | None]
            if asked is None:
                texts = [row[3] for row in batch]
            else:
                texts = asked.take([str(row[0]) for row in batch])
            rows: list[Row] = []
            for (id_, status, text, _, *values), wanted in zip(batch, texts, strict=True):
                if wanted is None:
                    self.unscored += 1
                    continue
                said = text if text is not None and status in (STATUS_OK, None) else ""
                if not (isinstance(wanted, str) and isinstance(said, str)):
                    raise DataError(
                        f"{_TEXT} or {REFERENCE} of row {id_} is no text; give columns of text"
                    )
                found = tuple(None if value is None else str(value) for value in values)
                rows.append(
                    Row("" if id_ is None else str(id_), str(status or ""), wanted, said, found)
                )
            yield rows
        if asked is not None:
            nothing = (NO_TRANSCRIPT,) * len(self._wanted)
            for lost in asked.left():
                self.missing += len(lost)
                yield [Row(id_, NO_TRANSCRIPT, text, "", nothing) for id_, text in lost]


class RowCounter:
    """Counts the errors of rows.

    Args:
        wording: how texts become words.
        mistakes: takes note of what is wrong; None where nobody asks.

    Attributes:
        unspaced: words of the references that are single characters of scripts without blanks.
        rows_wrong: rows with an error in a word.
        rows_in_pieces: rows so long that they were aligned in pieces.
    """

    def __init__(self, wording: Wording, mistakes: Mistakes | None = None) -> None:
        self._wording, self._mistakes = wording, mistakes
        self.unspaced = self.rows_wrong = self.rows_in_pieces = 0

    def count(self, rows: Sequence[Row]) -> tuple[np.ndarray, list[bool]]:
        """The counts of each row `(rows, 8)`, and whether they are exact."""
        counts = np.zeros((len(rows), COUNTS), np.int64)
        exact: list[bool] = []
        for number, row in enumerate(rows):
            words, characters, is_exact = self._row(row)
            counts[number] = (
                words.hits, words.substitutions, words.deletions, words.insertions,
                characters.hits, characters.substitutions, characters.deletions,
                characters.insertions,
            )  # fmt: skip
            exact.append(is_exact)
        return counts, exact

    def _row(self, row: Row) -> tuple[ErrorCounts, ErrorCounts, bool]:
        wording = self._wording
        reference = wording.words(row.reference)
        text = reference if row.text == row.reference else wording.words(row.text)
        self.unspaced += unspaced(reference)
        characters, heard = "".join(reference), "".join(text)
        if reference == text:
            right = ErrorCounts(hits=len(characters))
            is_char = wording.unit == "char"
            return (right if is_char else ErrorCounts(hits=len(reference))), right, True
        said, recognized = wording.compared(reference), wording.compared(text)
        alignment = align(said, recognized)
        words = alignment.counts()
        by_character = alignment if wording.unit == "char" else align(characters, heard)
        is_exact = alignment.is_exact and by_character.is_exact
        self.rows_in_pieces += not is_exact
        if words.errors:
            self.rows_wrong += 1
            if self._mistakes is not None:
                self._mistakes.add(row.utterance_id, row.status, said, recognized, alignment, words)
        return words, by_character.counts(), is_exact

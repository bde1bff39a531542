"""Word and character error rates of a finished run against reference texts.

Owns the score and the order in which it comes about. Must not know Ray or the engine, nor how it is
shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ray_asr.blocks import Block
from ray_asr.errors import ConfigError, DataError
from ray_asr.redaction import redacted
from ray_asr.results.bootstrap import Bootstrap, Interval, name_keys, row_keys
from ray_asr.results.by_id import GIVE_REFERENCE, References
from ray_asr.results.columns import OpenFilesystem, by_pyarrow
from ray_asr.results.comparison import Comparison, Rival
from ray_asr.results.counts import ErrorCounts
from ray_asr.results.mistakes import MOST_WORST, Confusions, Mistakes, WorstRow
from ray_asr.results.normalize import BASIC, Unit, Wording, normalize, steps_of
from ray_asr.results.replacements import read_replacements
from ray_asr.results.score_details import NewFile, details_file
from ray_asr.results.score_rows import NO_TRANSCRIPT, NO_VALUE, OutputRows, Row, RowCounter
from ray_asr.results.score_table import score_blocks
from ray_asr.results.tally import GroupScore, Tally
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH
from ray_asr.shown import Shown

__all__ = ["ErrorCounts", "GroupScore", "Score", "Unit", "normalize", "score"]

_MOST_CONFUSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Score(Shown):
    """What a run reached.

    Attributes:
        wer: errors of all scored rows, in words; what a word is hangs on `unit`.
        cer: errors in characters; blanks don't count as characters.
        groups: column → value → the rows that have that value in that column.
        rows_scored: rows with a reference, those without a transcript included.
        rows_unscored: rows of the run whose reference is null or not in the reference file.
        rows_failed: rows of the run that failed, scored or not.
        rows_no_speech: rows of the run in which no speech was found, scored or not.
        rows_missing: rows of the reference file that the run has no row for.
        rows_wrong: scored rows with an error in a word.
        rows_in_pieces: scored rows so long that their errors may be fewer than counted.
        metric: what `wer` is by the references: WER where all words stand between blanks, CER where
            all are single characters, MER (mixed) where some are.
        unit: `auto`, `word` or `char`.
        normalization: what was done to both texts first, in order.
        replacements: how many words were replaced by others.
        bootstrap: how the intervals were found.
        wer_interval: of the rate of `wer`; None where none was asked for or can be said.
        cer_interval: of that of `cer`.
        confusions: the most frequent mistakes.
        worst: the rows with most errors.
        comparison: with another output.
    """

    wer: ErrorCounts
    cer: ErrorCounts
    groups: Mapping[str, Mapping[str, GroupScore]] = field(default_factory=dict)
    rows_scored: int = 0
    rows_unscored: int = 0
    rows_failed: int = 0
    rows_no_speech: int = 0
    rows_missing: int = 0
    rows_wrong: int = 0
    rows_in_pieces: int = 0
    metric: str = "WER"
    unit: Unit = "auto"
    normalization: tuple[str, ...] = BASIC
    replacements: int = 0
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    wer_interval: Interval | None = None
    cer_interval: Interval | None = None
    confusions: Confusions = field(default_factory=Confusions)
    worst: tuple[WorstRow, ...] = ()
    comparison: Comparison | None = None

    @property
    def total(self) -> GroupScore:
        """All scored rows."""
        return GroupScore(
            self.rows_scored, self.wer, self.cer, self.wer_interval, self.cer_interval
        )

    def blocks(self) -> list[Block]:
        """A line for all rows and one for each group, what they mean, and what went wrong."""
        return score_blocks(self)

    def to_dict(self) -> dict[str, Any]:
        """The score for JSON."""
        total = self.total.to_dict()
        return {
            "metric": self.metric,
            "unit": self.unit,
            "normalization": list(self.normalization),
            "replacements": self.replacements,
            "rows_scored": self.rows_scored,
            "rows_unscored": self.rows_unscored,
            "rows_failed": self.rows_failed,
            "rows_no_speech": self.rows_no_speech,
            "rows_missing": self.rows_missing,
            "rows_wrong": self.rows_wrong,
            "rows_in_pieces": self.rows_in_pieces,
            "bootstrap": self.bootstrap.to_dict(),
            "wer": total["wer"],
            "cer": total["cer"],
            "groups": {
                column: {value: group.to_dict() for value, group in values.items()}
                for column, values in self.groups.items()
            },
            "comparison": None if self.comparison is None else self.comparison.to_dict(),
            "confusions": self.confusions.to_dict(),
            "worst": [row.to_dict() for row in self.worst],
        }


def score(
    output: str,
    reference: str | None = None,
    *,
    by: Sequence[str] = (),
    unit: Unit = "auto",
    normalize: str = "basic",
    replacements: str | Mapping[str, str] | None = None,
    against: str | None = None,
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    bootstrap_by: str | None = None,
    seed: int = 0,
    confusions: int = 10,
    worst: int = 0,
    details: str | None = None,
    open_filesystem: OpenFilesystem = by_pyarrow,
    new_file: NewFile | None = None,
) -> Score:
    """Score the transcripts of a run.

    Args:
        output: folder of part files, a path or an address.
        reference: Parquet file or folder with `utterance_id` and `reference_text`; its texts are
            held in memory. Without it the output's own `reference_text` is used.
        by: columns of the output; the rows of each value of each are also scored alone.
        unit: what a word is, see `normalize.words`.
        normalize: what is done to both texts first, see `normalize.steps_of`.
        replacements: words and what they count as, or a file of them (`read_replacements`).
        against: another output of the same input, to compare with; 33 bytes a row are held.
        confidence: of the intervals.
        bootstrap_samples: resamples that the intervals are read off; 0 for none.
        bootstrap_by: a column whose values are resampled with all their rows, such as a speaker.
        seed: of the resamples.
        confusions: how many of the most frequent mistakes of each kind are kept.
        worst: how many of the rows with most errors are kept.
        details: a Parquet file to write, with the counts of each row.
        open_filesystem: gives the filesystem of any of these, and the path inside it.
        new_file: opens a file that is seen once it is whole.

    Raises:
        DataError: if there is nothing to read, nothing to compare with, or no such column.
        ConfigError: if an argument cannot work.
    """
    bootstrap = Bootstrap(bootstrap_samples, confidence, seed, bootstrap_by)
    asked = (("confusions", confusions, _MOST_CONFUSIONS), ("worst", worst, MOST_WORST))
    for name, value, most in asked:
        if not 0 <= value <= most:
            raise ConfigError(f"{name} is {value}: use 0 for none, or up to {most:,}")
    if isinstance(replacements, str):
        replacements = read_replacements(replacements, open_filesystem)
    wording = Wording(unit, steps_of(normalize), replacements)
    by = list(dict.fromkeys(by))
    columns = [*by] if bootstrap_by is None else list(dict.fromkeys([*by, bootstrap_by]))
    rows = _Rows(columns, bootstrap_by)
    found = OutputRows(output, reference is not None, columns, open_filesystem)
    references = None if reference is None else References(reference, open_filesystem)
    rival = None
    if against is not None:
        rival = Rival(redacted(against), bootstrap)
        other = OutputRows(
            against, reference is not None, [], open_filesystem, "output to compare with"
        )
        counter = RowCounter(wording)
        for batch in other.batches(references):
            ids, has_id = rows.ids(batch)
            rival.learn(ids[has_id], counter.count(batch)[0][has_id])
        rival.close()

    mistakes = Mistakes(confusions, worst)
    counter, tally = RowCounter(wording, mistakes), Tally(by, bootstrap)
    places = [columns.index(column) for column in by]
    with details_file(details, output, by, new_file) as sink:
        for batch in found.batches(references):
            counts, exact = counter.count(batch)
            keys = rows.keys(batch)
            values = [[_shown(row.values[at]) for at in places] for row in batch]
            tally.add(counts, values, keys)
            if rival is not None:
                ids, has_id = rows.ids(batch)
                rival.meet(ids[has_id], counts[has_id], keys[has_id])
            if sink is not None:
                sink.add(batch, counts, exact)
        if not tally.rows:
            raise DataError(
                f"none of the {found.unscored:,} rows of {redacted(output)} has a reference; "
                f"{GIVE_REFERENCE}"
            )
    total = tally.total()
    return Score(
        wer=total.wer,
        cer=total.cer,
        groups=tally.groups(),
        rows_scored=total.rows,
        rows_unscored=found.unscored,
        rows_failed=found.statuses[STATUS_FAILED],
        rows_no_speech=found.statuses[STATUS_NO_SPEECH],
        rows_missing=found.missing,
        rows_wrong=counter.rows_wrong,
        rows_in_pieces=counter.rows_in_pieces,
        metric=_metric(unit, counter.unspaced, total.wer.reference_units),
        unit=unit,
        normalization=wording.steps,
        replacements=wording.replacements,
        bootstrap=bootstrap,
        wer_interval=total.wer_interval,
        cer_interval=total.cer_interval,
        confusions=mistakes.confusions(),
        worst=mistakes.worst(),
        comparison=None if rival is None else rival.comparison(),
    )


def _shown(value: str | None) -> str:
    return NO_VALUE if value is None else value


def _metric(unit: Unit, unspaced: int, words: int) -> str:
    """What an error rate in these words is called."""
    if unit == "char" or (unit == "auto" and unspaced == words > 0):
        return "CER"
    return "MER" if unit == "auto" and unspaced else "WER"


class _Rows:
    """Keys of rows as they pass.

    Args:
        columns: what each row has values of.
        bootstrap_by: the column that rows are drawn by; None to draw them one by one.
    """

    def __init__(self, columns: Sequence[str], bootstrap_by: str | None) -> None:
        self._at = None if bootstrap_by is None else columns.index(bootstrap_by)
        self._passed = 0

    def keys(self, rows: Sequence[Row]) -> np.ndarray:
        """What each row is drawn by: where it has no value to be drawn by, itself."""
        keys = row_keys(self._passed, len(rows))
        self._passed += len(rows)
        if self._at is None:
            return keys
        values = [row.values[self._at] for row in rows]
        has_value = [value not in (None, NO_TRANSCRIPT) for value in values]
        return np.where(has_value, name_keys([value or "" for value in values]), keys)

    def ids(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the rows' ids, and which rows have one."""
        names = [row.utterance_id for row in rows]
        return name_keys(names), np.array([name != "" for name in names], bool)

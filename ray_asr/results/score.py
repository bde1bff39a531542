"""Word and character error rates of a finished run against reference texts.

Owns reading transcripts for scoring, what counts as a word, and the counting; alignments are
jiwer's. Must not know Ray or the engine.

Every reference counts. A row that is `failed` or `no_speech` has said nothing, so its reference
counts as deletions, and so does a row of a separate reference file that the run has no transcript
of. A reference of "" counts whatever was recognized as insertions; one that is null leaves its row
unscored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import jiwer

from ray_asr.errors import ConfigError, DataError
from ray_asr.redaction import redacted
from ray_asr.results.columns import OpenFilesystem, ParquetColumns, by_pyarrow
from ray_asr.results.normalize import Unit, normalize, words
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK

NO_VALUE = "(none)"
NO_TRANSCRIPT = "(no transcript)"
_ID, _TEXT, _STATUS, _REFERENCE = "utterance_id", "text", "status", "reference_text"
_GIVE_REFERENCE = f"give a Parquet file with {_ID} and {_REFERENCE} as the reference"
_BATCH_ROWS = 512


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Counts of an alignment, in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference_units(self) -> int:
        """Words or characters in the references."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors for each unit of the references (1.0 is 100 %); NaN where they have none."""
        return self.errors / self.reference_units if self.reference_units else math.nan

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    def to_dict(self) -> dict[str, float | int | None]:
        """The counts for JSON, which has no NaN: `rate` is None where there is none."""
        return {
            "rate": None if math.isnan(self.rate) else self.rate,
            "errors": self.errors,
            "reference_units": self.reference_units,
            "hits": self.hits,
            "substitutions": self.substitutions,
            "deletions": self.deletions,
            "insertions": self.insertions,
        }


@dataclass(frozen=True, slots=True)
class GroupScore:
    """Error counts of some scored rows."""

    rows: int = 0
    wer: ErrorCounts = ErrorCounts()
    cer: ErrorCounts = ErrorCounts()

    def __add__(self, other: GroupScore) -> GroupScore:
        return GroupScore(self.rows + other.rows, self.wer + other.wer, self.cer + other.cer)

    def to_dict(self) -> dict[str, Any]:
        """The group for JSON."""
        return {"rows": self.rows, "wer": self.wer.to_dict(), "cer": self.cer.to_dict()}


@dataclass(frozen=True, slots=True)
class Score:
    """What a run reached.

    Attributes:
        wer: word errors of all scored rows.
        cer: character errors of all scored rows; blanks don't count as characters.
        groups: column → value → the rows that have that value in that column.
        rows_scored: rows with a reference, those without a transcript included.
        rows_unscored: rows of the run whose reference is null or not in the reference file.
        rows_failed: rows of the run that failed, scored or not.
        rows_no_speech: rows of the run in which no speech was found, scored or not.
        rows_missing: rows of the reference file that the run has no row for.
    """

    wer: ErrorCounts
    cer: ErrorCounts
    groups: Mapping[str, Mapping[str, GroupScore]] = field(default_factory=dict)
    rows_scored: int = 0
    rows_unscored: int = 0
    rows_failed: int = 0
    rows_no_speech: int = 0
    rows_missing: int = 0

    def table(self) -> str:
        """The score for a terminal: a line for all rows, then one for each group."""
        lines = {"all": GroupScore(self.rows_scored, self.wer, self.cer)}
        for column, values in self.groups.items():
            lines.update({f"{column}={value}": group for value, group in values.items()})
        width = max(map(len, lines))
        header = (
            f"{'':{width}} {'rows':>8} {'WER':>8} {'words':>9} {'sub':>7} {'del':>7} {'ins':>7}"
        )
        shown = [f"{header} {'CER':>8} {'chars':>9}"]
        for name, group in lines.items():
            wer, cer = group.wer, group.cer
            shown.append(
                f"{name:{width}} {group.rows:8,} {_percent(wer)} {wer.reference_units:9,}"
                f" {wer.substitutions:7,} {wer.deletions:7,} {wer.insertions:7,}"
                f" {_percent(cer)} {cer.reference_units:9,}"
            )
        shown.append(
            f"unscored {self.rows_unscored:,}, failed {self.rows_failed:,}, "
            f"no speech {self.rows_no_speech:,}, without a transcript {self.rows_missing:,}"
            " (references of the last three count as deletions)"
        )
        return "\n".join(shown)

    def to_dict(self) -> dict[str, Any]:
        """The score for JSON."""
        return {
            "rows_scored": self.rows_scored,
            "rows_unscored": self.rows_unscored,
            "rows_failed": self.rows_failed,
            "rows_no_speech": self.rows_no_speech,
            "rows_missing": self.rows_missing,
            "wer": self.wer.to_dict(),
            "cer": self.cer.to_dict(),
            "groups": {
                column: {value: group.to_dict() for value, group in values.items()}
                for column, values in self.groups.items()
            },
        }


def _percent(counts: ErrorCounts) -> str:
    return f"{'-':>8}" if math.isnan(counts.rate) else f"{100 * counts.rate:6.2f} %"


def _count(references: list[list[str]], hypotheses: list[list[str]]) -> list[ErrorCounts]:
    """Error counts of each pair, by jiwer's alignments."""
    output = jiwer.process_words(
        [" ".join(units) for units in references], [" ".join(units) for units in hypotheses]
    )
    counted: list[ErrorCounts] = []
    for chunks in output.alignments:
        counts = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
        for chunk in chunks:
            counts[chunk.type] += max(
                chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
            )
        counted.append(ErrorCounts(*counts.values()))
    return counted


def _score_pairs(pairs: list[tuple[str, str]], unit: Unit) -> list[GroupScore]:
    """One score for each (reference, recognized text)."""
    if not pairs:
        return []
    normal = [(normalize(reference), normalize(text)) for reference, text in pairs]
    wer = _count([words(r, unit) for r, _ in normal], [words(t, unit) for _, t in normal])
    cer = _count([words(r, "char") for r, _ in normal], [words(t, "char") for _, t in normal])
    return [GroupScore(1, *counts) for counts in zip(wer, cer, strict=True)]


class _Tally:
    """Adds up scored rows, overall and by the values of columns."""

    def __init__(self, by: Sequence[str]) -> None:
        self.total = GroupScore()
        self.groups: dict[str, dict[str, GroupScore]] = {column: {} for column in by}

    def add(self, rows: list[tuple[str, str, list[str]]], unit: Unit) -> None:
        """Score rows of (reference, recognized text, the value in each group column)."""
        pairs = [(reference, text) for reference, text, _ in rows]
        for scored, (_, _, values) in zip(_score_pairs(pairs, unit), rows, strict=True):
            self.total += scored
            for group, value in zip(self.groups.values(), values, strict=True):
                group[value] = group.get(value, GroupScore()) + scored


class _References:
    """The texts of a separate reference file by id, each to be asked for once."""

    def __init__(self, where: str, open_filesystem: OpenFilesystem) -> None:
        columns = ParquetColumns(where, "reference", open_filesystem)
        for column in (_ID, _REFERENCE):
            columns.require(column, _GIVE_REFERENCE)
        self._where = where
        self._texts: dict[str, str | None] = {}
        self._taken: set[str] = set()
        for rows in columns.batches([_ID, _REFERENCE], _BATCH_ROWS):
            for id_, text in rows:
                if self._texts.setdefault(str(id_), text) != text:
                    raise DataError(
                        f"reference {redacted(where)} has two texts for {_ID} {id_}; leave the "
                        "right one"
                    )

    def take(self, id_: str) -> str | None:
        """The reference of a row, None where there is none."""
        if id_ in self._taken:
            raise DataError(
                f"the output has {_ID} {id_} twice, so {self._where} cannot be matched to it; "
                "score outputs of one job, whose ids are unique"
            )
        self._taken.add(id_)
        return self._texts.get(id_)

    def left(self) -> Iterator[str]:
        """The references of rows that nobody asked for."""
        if self._texts and not self._taken & self._texts.keys():
            raise DataError(
                f"no {_ID} of reference {self._where} is in the output (the first one is "
                f"{next(iter(self._texts))!r}); give the references of this run"
            )
        for id_, text in self._texts.items():
            if text is not None and id_ not in self._taken:
                yield text


def score(
    output: str,
    reference: str | None = None,
    *,
    by: Sequence[str] = (),
    unit: Unit = "auto",
    open_filesystem: OpenFilesystem = by_pyarrow,
) -> Score:
    """Score the transcripts of a run.

    Args:
        output: folder of part files, a path or an address.
        reference: Parquet file or folder with `utterance_id` and `reference_text`; its ids and
            texts are held in memory. Without it the output's own `reference_text` is used.
        by: columns of the output; the rows of each value of each are also scored alone.
        unit: what a word is, see `words`.
        open_filesystem: gives the filesystem of either, and the path inside it.

    Raises:
        DataError: if there is nothing to read, nothing to compare with, or no such column.
        ConfigError: if `unit` is unknown.
    """
    if unit not in get_args(Unit):
        raise ConfigError(f"unit is {unit!r}; it can be {', '.join(get_args(Unit))}")
    columns = ParquetColumns(output, "output", open_filesystem)
    columns.require(_TEXT, "give the folder that `ray-asr transcribe` wrote its part files to")
    columns.require(_REFERENCE if reference is None else _ID, _GIVE_REFERENCE)
    for column in by:
        columns.require(column, "group by one of those")
    references = None if reference is None else _References(reference, open_filesystem)

    tally, status_rows, unscored = _Tally(by), Counter[str](), 0
    for batch in columns.batches([_ID, _STATUS, _TEXT, _REFERENCE, *by], _BATCH_ROWS):
        rows: list[tuple[str, str, list[str]]] = []
        for id_, status, text, own_reference, *values in batch:
            status_rows[status] += 1
            wanted = own_reference if references is None else references.take(str(id_))
            if wanted is None:
                unscored += 1
                continue
            said = text if text is not None and status in (STATUS_OK, None) else ""
            groups = [NO_VALUE if value is None else str(value) for value in values]
            rows.append((wanted, said, groups))
        tally.add(rows, unit)
    missing = list(references.left()) if references else []
    tally.add([(text, "", [NO_TRANSCRIPT] * len(by)) for text in missing], unit)
    if not tally.total.rows:
        raise DataError(
            f"none of the {unscored:,} rows of {redacted(output)} has a reference; "
            f"{_GIVE_REFERENCE}"
        )
    return Score(
        wer=tally.total.wer,
        cer=tally.total.cer,
        groups={column: dict(sorted(values.items())) for column, values in tally.groups.items()},
        rows_scored=tally.total.rows,
        rows_unscored=unscored,
        rows_failed=status_rows[STATUS_FAILED],
        rows_no_speech=status_rows[STATUS_NO_SPEECH],
        rows_missing=len(missing),
    )

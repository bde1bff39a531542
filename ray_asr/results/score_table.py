"""A score as it is shown.

Owns what is said of a score and in which order. Must not know terminals or HTML, nor how a score
comes about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ray_asr.blocks import Block, Cell, Grid, Said
from ray_asr.results.bootstrap import Interval
from ray_asr.results.mistakes import CUT, Pair, WorstRow
from ray_asr.results.normalize import STEPS
from ray_asr.terminal import cells, cut, one_line

if TYPE_CHECKING:
    from ray_asr.results.comparison import Difference
    from ray_asr.results.score import Score
    from ray_asr.results.tally import GroupScore

_MOST_VALUES = 50  # of a column
_NAME = 40  # columns of a terminal
_LINE = 78
_MISSING = "***"
_UNITS = {
    "WER": "word, between blanks",
    "CER": "character",
    "MER": "word, between blanks, or character where a script has no blanks",
}


def score_blocks(score: Score) -> list[Block]:
    """All that there is to see of a score."""
    return [
        _rates(score),
        Said(
            f"unscored {score.rows_unscored:,}, failed {score.rows_failed:,}, "
            f"no speech {score.rows_no_speech:,}, without a transcript {score.rows_missing:,}"
            " (references of the last three count as deletions)"
        ),
        *_meaning(score),
        *_compared(score),
        *_confusions(score),
        *(block for row in score.worst for block in _worst(row)),
    ]


def _rates(score: Score) -> Grid:
    has_intervals = score.bootstrap.samples > 0
    # Where words are single characters, the second rate would be the first one again.
    has_characters = score.metric != "CER"
    interval = [f"{100 * score.bootstrap.confidence:g} % interval"] if has_intervals else []
    units = "words" if has_characters else "chars"
    head = ["", "rows", score.metric, *interval, units, "sub", "del", "ins"]
    if has_characters:
        head += ["CER", *interval, "chars"]
    rows: list[list[Cell]] = []
    for name, group in _lines(score):
        row: list[Cell] = [name, f"{group.rows:,}", _percent(group.wer.rate)]
        row += [_interval(group.wer_interval)] if has_intervals else []
        row += [
            f"{count:,}"
            for count in (
                group.wer.reference_units,
                group.wer.substitutions,
                group.wer.deletions,
                group.wer.insertions,
            )
        ]
        if has_characters:
            row.append(_percent(group.cer.rate))
            row += [_interval(group.cer_interval)] if has_intervals else []
            row.append(f"{group.cer.reference_units:,}")
        rows.append(row)
    return Grid(head, rows)


def _lines(score: Score) -> Iterator[tuple[str, GroupScore]]:
    """A name and its counts for each line; of a column with many values those with most rows."""
    yield "all", score.total
    for column, values in score.groups.items():
        shown = sorted(values, key=lambda value: (-values[value].rows, value))[:_MOST_VALUES]
        for value in sorted(shown):
            yield _name(f"{column}={value}"), values[value]


def _meaning(score: Score) -> Iterator[Said]:
    yield Said(f"{score.metric}: errors per {_UNITS[score.metric]}")
    wrong = _percent(score.rows_wrong / max(score.rows_scored, 1))
    yield Said(f"rows with an error: {score.rows_wrong:,} of {score.rows_scored:,}, {wrong}")
    steps = [STEPS[step] for step in score.normalization]
    if score.replacements:
        place = steps.index(STEPS["fillers"]) if "fillers" in score.normalization else len(steps)
        steps.insert(place, f"{score.replacements:,} replacements")
    yield Said(f"compared after: {'; '.join(steps) or 'nothing, split at blanks'}")
    drawn = score.bootstrap
    if drawn.samples:
        what = "rows" if drawn.by is None else f"all rows of a {_name(drawn.by)}"
        yield Said(
            f"intervals: bootstrap, {drawn.samples:,} resamples of {what}, seed {drawn.seed}"
        )
    if score.rows_in_pieces:
        yield Said(
            f"long rows: {score.rows_in_pieces:,} were aligned in pieces; the errors counted there "
            "can be more than the fewest possible",
            "warning",
        )
    for column, values in score.groups.items():
        if len(values) > _MOST_VALUES:
            yield Said(
                f"{_name(column)}: {len(values) - _MOST_VALUES:,} more values are in the JSON"
            )


def _compared(score: Score) -> Iterator[Block]:
    found = score.comparison
    if found is None:
        return
    head = ["", "this", "other", "difference"]
    has_intervals = score.bootstrap.samples > 0
    if has_intervals:
        head += [f"{100 * score.bootstrap.confidence:g} % interval", "P(better)", "P(worse)"]
    rows: list[list[Cell]] = []
    kinds = [(score.metric, found.wer)]
    kinds += [("CER", found.cer)] if score.metric != "CER" else []
    for name, difference in kinds:
        row: list[Cell] = [
            name,
            _percent(difference.rate),
            _percent(difference.other_rate),
            _toned(difference),
        ]
        if has_intervals:
            row += [
                _interval(difference.interval, "+"),
                _chance(difference.better),
                _chance(difference.worse),
            ]
        rows.append(row)
    yield Grid(head, rows)
    yield Said(
        f"against {found.against}: {found.rows:,} rows of both, better in {found.rows_better:,}, "
        f"worse in {found.rows_worse:,}; only here {found.rows_only_here:,}, only there "
        f"{found.rows_only_there:,}"
    )


def _toned(difference: Difference) -> Cell:
    """A difference, marked where its interval leaves out 0."""
    text = _percent(difference.difference, "+")
    if difference.interval is None or difference.interval.low <= 0 <= difference.interval.high:
        return text
    return text, "good" if difference.interval.high < 0 else "bad"


def _confusions(score: Score) -> Iterator[Block]:
    found = score.confusions
    columns: list[list[tuple[str, int]]] = [
        [(f"{_name(said)} → {_name(heard)}", count) for said, heard, count in found.substitutions],
        [(_name(word), count) for word, count in found.deletions],
        [(_name(word), count) for word, count in found.insertions],
    ]
    length = max(map(len, columns))
    if not length:
        return
    rows: list[list[Cell]] = []
    for number in range(length):
        row: list[Cell] = []
        for column in columns:
            word, count = column[number] if number < len(column) else ("", 0)
            row += [word, f"{count:,}" if count else ""]
        rows.append(row)
    yield Grid(["substituted", "times", "deleted", "times", "inserted", "times"], rows, "lrlrlr")
    if not found.is_exact:
        yield Said("times: at least so often; there were too many different mistakes to keep all")


def _worst(row: WorstRow) -> Iterator[Block]:
    """A row's words in two lines, those that belong together above each other."""
    yield Said("")
    yield Said(
        f"{_name(row.utterance_id) or '(no id)'}: {row.counts.errors:,} errors in "
        f"{row.counts.reference_units:,}"
        + (f", {_name(row.status)}" if row.status not in ("ok", "") else "")
    )
    for pairs in _broken(row.pairs):
        yield Grid(
            [],
            [
                ["said", *(_cell(pair, 0) for pair in pairs)],
                ["recognized", *(_cell(pair, 1) for pair in pairs)],
            ],
            "l" * (len(pairs) + 1),
        )


def _broken(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Pairs in lines that a terminal has room for."""
    line: list[Pair] = []
    taken = len("recognized")
    for pair in pairs:
        width = 2 + max(cells(one_line(word)) if word else len(_MISSING) for word in pair)
        if line and taken + width > _LINE:
            yield line
            line, taken = [], len("recognized")
        line.append(pair)
        taken += width
    if line:
        yield line


def _cell(pair: Pair, side: int) -> Cell:
    word = pair[side] or _MISSING
    return word if pair[0] == pair[1] or pair == (CUT, CUT) else (word, "bad")


def _name(text: str) -> str:
    """Others' words as a name on one line."""
    return cut(one_line(text), _NAME)


def _percent(rate: float, sign: str = "") -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:{sign}.2f} %"


def _interval(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    return f"{100 * interval.low:{sign}.2f} to {100 * interval.high:{sign}.2f}"


def _chance(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"

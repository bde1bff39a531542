"""The verbs about what a finished run came to, as functions; `ray_asr.verbs` has them too.

Owns their signatures. Importing it starts nothing and imports neither Ray nor a model library. Must
not know how a verb is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray_asr.results.score import Score, Unit


def score(
    output: str | PathLike[str],
    reference: str | PathLike[str] | None = None,
    *,
    by: Sequence[str] = (),
    unit: Unit = "auto",
    normalize: str = "basic",
    replacements: str | Mapping[str, str] | None = None,
    against: str | PathLike[str] | None = None,
    confidence: float = 0.95,
    bootstrap_samples: int = 1000,
    bootstrap_by: str | None = None,
    seed: int = 0,
    confusions: int = 10,
    worst: int = 0,
    details: str | PathLike[str] | None = None,
) -> Score:
    """Word and character error rates of a finished run against reference texts.

    Args:
        output: the folder of the transcripts.
        reference: Parquet with `utterance_id` and `reference_text`; None: they are in the output.
        by: columns of the output whose values are also scored alone.
        unit: `auto` (words, and characters where a script has no blanks), `word` or `char`.
        normalize: what is done to both texts first: `none`, `basic`, or single steps with commas.
        replacements: words and what they count as, or a file of lines with a tab between the two.
        against: another output of the same input, to compare with.
        confidence: of the intervals.
        bootstrap_samples: resamples that intervals are read off; 0 for no intervals.
        bootstrap_by: a column whose values are resampled with all their rows, such as a speaker.
        seed: of the resamples.
        confusions: how many of the most frequent mistakes of each kind to keep.
        worst: how many of the rows with most errors to keep.
        details: a Parquet file to write, with the counts of each row.

    Raises:
        ConfigError: an argument cannot work.
        DataError: there is nothing to read or to compare with.
    """
    from ray_asr.corpus.storage import open_filesystem, whole_file
    from ray_asr.results import score as scoring

    def path(given: str | PathLike[str] | None) -> str | None:
        return None if given is None else fspath(given)

    return scoring.score(
        fspath(output),
        path(reference),
        by=by,
        unit=unit,
        normalize=normalize,
        replacements=replacements,
        against=path(against),
        confidence=confidence,
        bootstrap_samples=bootstrap_samples,
        bootstrap_by=bootstrap_by,
        seed=seed,
        confusions=confusions,
        worst=worst,
        details=path(details),
        open_filesystem=open_filesystem,
        new_file=lambda where: whole_file(*open_filesystem(where)),
    )

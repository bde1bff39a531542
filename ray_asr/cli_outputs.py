"""The verbs of the command line about an output that is there.

Owns their options and what is printed. Must not hold logic: each verb calls one function of the
package.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from ray_asr.cli_form import JSON, Place, Verb, show
from ray_asr.cli_options import ADDRESS, config_of, settings_flags
from ray_asr.errors import ErrorCode, ExitCode


@click.command(cls=Verb)
@click.argument("output", type=Place())
@click.option(
    "--reference",
    default=None,
    type=Place(),
    help="Parquet with utterance_id and reference_text.",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Also by the values of a column.")
@click.option(
    "--unit",
    type=click.Choice(["auto", "word", "char"]),
    default="auto",
    show_default=True,
    help="What is counted. auto: words, and characters where a script has no blanks.",
)
@click.option(
    "--normalize",
    default="basic",
    show_default=True,
    metavar="STEPS",
    help="none, basic, or with commas nfkc, case, accents, apostrophes, punctuation, symbols, "
    "fillers; a - before one leaves it out.",
)
@click.option(
    "--replacements",
    default=None,
    type=Place(),
    metavar="FILE",
    help="Lines of words, a tab, and the words that they count as.",
)
@click.option(
    "--against",
    default=None,
    type=Place(),
    metavar="OUTPUT",
    help="Compare with another output of the same input.",
)
@click.option("--confidence", default=0.95, show_default=True, help="Of the intervals.")
@click.option(
    "--bootstrap-samples",
    default=1000,
    show_default=True,
    help="Resamples that intervals are read off; 0: no intervals.",
)
@click.option(
    "--bootstrap-by",
    default=None,
    metavar="COLUMN",
    help="Resample all rows of a value together, such as those of a speaker.",
)
@click.option("--seed", default=0, show_default=True, help="Of the resamples.")
@click.option(
    "--confusions", default=10, show_default=True, help="Most frequent mistakes of each kind."
)
@click.option("--worst", default=0, show_default=True, help="Rows with most errors, with texts.")
@click.option(
    "--details",
    default=None,
    type=Place(),
    metavar="FILE",
    help="Write a Parquet file with the counts of each row.",
)
@JSON
def score(output: str, as_json: bool, **given: Any) -> None:
    """Word and character error rates of a finished run against reference texts.

    Says how sure they are, what was done to the texts first, and the most frequent mistakes. See
    docs/scoring.md.

    Examples:
      ray-asr score transcripts/ --by set
      ray-asr score new/ --against old/ --bootstrap-by speaker --worst 5
    """
    from ray_asr.verbs import score as score_run

    show(score_run(output, **given), as_json)


@click.command(cls=Verb)
@click.argument("output", type=Place())
@click.argument("source", type=Place(), metavar="INPUT")
@JSON
def verify(output: str, source: str, as_json: bool) -> None:
    """Prove that an output has each row of its INPUT exactly once, sound, and nothing else.

    Changes nothing. Ends with 3 where that is not so, and says what is not, and where.

    Example: ray-asr verify transcripts/ shards/
    """
    from ray_asr.job.verify import verify as look

    result = look(output, source)
    show(result, as_json)
    if not result.proven:
        raise click.exceptions.Exit(int(ExitCode.INPUT_DATA))


@click.command(cls=Verb)
@click.argument("output", type=Place())
@click.option(
    "--to",
    default="",
    type=Place(),
    metavar="FOLDER",
    help="A new output, instead of in place.",
)
@click.option("--target-mb", default=256.0, show_default=True, help="MiB in a joined file.")
@JSON
def compact(output: str, to: str, target_mb: float, as_json: bool) -> None:
    """Join small part files, so that no reader ever sees a row twice or not at all.

    In place, on a local or shared disk of Linux that can exchange folders: who lists the output
    afterwards finds the joined files, and who listed it before and opens a file afterwards is told
    that it is not there. Elsewhere use --to: the new output is complete once its _job.json is
    there. The same transcribe command goes on with either.

    Example: ray-asr compact transcripts/
    """
    from ray_asr.job.compact import compact as join

    show(join(output, to, target_mb), as_json)


@click.command(cls=Verb, goes_on=True)
@click.argument("output", type=Place())
@click.option(
    "--input",
    "source",
    default="",
    type=Place(),
    help="The input. Default: that of the last run.",
)
@click.option(
    "--code",
    "codes",
    multiple=True,
    type=click.Choice([code.value for code in ErrorCode]),
    help="Only rows that failed with it. Default: all.",
)
@settings_flags(
    "device", "ncpu", "trust_model", "num_actors", "num_gpus", "batch_size_s", "row_timeout_s"
)
@ADDRESS
@JSON
def retry(
    output: str,
    source: str,
    codes: tuple[str, ...],
    address: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Transcribe only the failed rows of an output again, each in its place.

    It runs with the settings of the last run; those that decide transcripts cannot be others. Rows
    that fail again stay failed, whatever job.max_failed_ratio says.

    Example: ray-asr retry transcripts/ --code worker_died --row-timeout-s 1800
    """
    from ray_asr.job.retry import retry as try_again

    change = partial(config_of, config_file, sets, flags)
    show(try_again(output, change, source, codes, address), as_json)

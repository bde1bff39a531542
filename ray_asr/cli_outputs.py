"""The verbs of the command line about an output that is there.

Owns their options and what is printed. Must not hold logic: each verb calls one function of the
package.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Protocol

import click

from ray_asr.cli_options import ADDRESS, config_of, say, settings_flags
from ray_asr.errors import ErrorCode, ExitCode

_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


class _Result(Protocol):
    def to_dict(self) -> dict[str, Any]: ...
    def table(self) -> str: ...


def _show(result: _Result, as_json: bool) -> None:
    if as_json:
        say(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    else:
        say(result.table())


@click.command()
@click.argument("output")
@click.option("--reference", default=None, help="Parquet with utterance_id and reference_text.")
@click.option("--by", multiple=True, metavar="COLUMN", help="Also by the values of a column.")
@click.option("--unit", type=click.Choice(["auto", "word", "char"]), default="auto")
@_JSON
def score(
    output: str, reference: str | None, by: tuple[str, ...], unit: str, as_json: bool
) -> None:
    """Word and character error rates of a finished run against reference texts.

    Example: ray-asr score transcripts/ --by set
    """
    from ray_asr.verbs import score as score_run

    result = score_run(output, reference, by=by, unit=unit)  # type: ignore[arg-type]
    _show(result, as_json)


@click.command()
@click.argument("output")
@click.argument("source", metavar="INPUT")
@_JSON
def verify(output: str, source: str, as_json: bool) -> None:
    """Prove that an output has each row of its INPUT exactly once, sound, and nothing else.

    Changes nothing. Ends with 3 where that is not so, and says what is not, and where.

    Example: ray-asr verify transcripts/ shards/
    """
    from ray_asr.job.verify import verify as look

    result = look(output, source)
    _show(result, as_json)
    if not result.proven:
        raise click.exceptions.Exit(int(ExitCode.INPUT_DATA))


@click.command()
@click.argument("output")
@click.option("--to", default="", metavar="FOLDER", help="A new output, instead of in place.")
@click.option("--target-mb", default=256.0, show_default=True, help="MiB in a joined file.")
@_JSON
def compact(output: str, to: str, target_mb: float, as_json: bool) -> None:
    """Join small part files, so that no reader ever sees a row twice or not at all.

    In place, on a local or shared disk of Linux that can exchange folders: who lists the output
    afterwards finds the joined files, and who listed it before and opens a file afterwards is told
    that it is not there. Elsewhere use --to: the new output is complete once its _job.json is
    there. The same transcribe command goes on with either.

    Example: ray-asr compact transcripts/
    """
    from ray_asr.job.compact import compact as join

    _show(join(output, to, target_mb), as_json)


@click.command()
@click.argument("output")
@click.option("--input", "source", default="", help="The input. Default: that of the last run.")
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
@_JSON
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
    _show(try_again(output, change, source, codes, address), as_json)

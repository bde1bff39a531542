"""The verbs of the command line that make something of an output for others to read.

Owns their options. Must not hold logic: each verb calls one function of the package.
"""

from __future__ import annotations

from typing import Any

import click

from ray_asr.cli_form import JSON, Place, Verb, show

_FORMATS = ("jsonl", "txt", "srt", "vtt", "kaldi", "nemo", "lhotse", "hf")
_STATUSES = ("ok", "no_speech", "failed", "all")


@click.command(cls=Verb)
@click.argument("output", type=Place())
@click.argument("destination", type=Place())
@click.option("--format", type=click.Choice(_FORMATS), default="jsonl", show_default=True)
@click.option(
    "--status", multiple=True, type=click.Choice(_STATUSES), default=("ok",), show_default=True,
    help="Only rows with it; may be given again.",
)  # fmt: skip
@click.option("--id", "ids", multiple=True, help="Only this row; may be given again.")
@click.option("--language", default="", help="Of the text, where a row does not say it.")
@click.option(
    "--input", "source", default="", type=Place(), help="The job's input, for recordings' paths."
)
@click.option("--audio-column", default="", help="Column of those paths. Default: audio_path.")
@click.option("--audio-root", default="", type=Place(), help="What relative ones start from.")
@click.option("--sampling-rate", default=0, help="Of the recordings' files, for lhotse.")
@click.option(
    "--speakers/--no-speakers",
    default=False,
    show_default=True,
    help="Say who speaks (txt, srt, vtt).",
)
@click.option("--max-line-chars", default=0, help="In a subtitle. Default: 42, Chinese 16.")
@click.option("--max-lines", default=2, show_default=True, help="In a subtitle.")
@click.option("--max-cps", default=0.0, help="Characters a second. Default: 17, Chinese 9.")
@click.option("--min-cue-s", default=0.833, show_default=True, help="That a subtitle is shown.")
@click.option("--max-cue-s", default=7.0, show_default=True, help="That a subtitle is shown.")
@click.option("--gap-s", default=0.083, show_default=True, help="Between two subtitles.")
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@JSON
def export(output: str, destination: str, as_json: bool, **options: Any) -> None:
    """Write the transcripts of a run in another format.

    DESTINATION is a file for jsonl, txt and nemo (compressed where it ends in .gz), and a folder
    for the others: srt and vtt have a file for each row, kaldi a data folder, lhotse its manifests,
    hf what datasets.load_dataset reads.

    Examples:
    ray-asr export transcripts/ transcripts.jsonl
    ray-asr export transcripts/ subtitles/ --format srt --max-line-chars 37
    ray-asr export transcripts/ data/train/ --format kaldi --audio-root recordings/
    """
    from ray_asr.verbs import export as export_run

    show(export_run(output, destination, **options), as_json)


@click.command(cls=Verb)
@click.argument("output", type=Place())
@click.option("--run", default="", help="Its id. Default: the newest that did something.")
@click.option("--out", default="", type=Place(), help="Default: report.html in the run's folder.")
@click.option(
    "--input",
    "source",
    default="",
    type=Place(),
    help="The input, to listen to. Default: recorded.",
)
@click.option("--price-per-cpu-hour", type=float, default=None, help="Of one core, any currency.")
@click.option("--price-per-gpu-hour", type=float, default=None, help="Of one GPU, any currency.")
@click.option("--baseline", default="", type=Place(), help="Of ray-asr tune. Default: recorded.")
@click.option("--bench", default="", type=Place(), help="What ray-asr bench --json wrote.")
@JSON
def report(output: str, as_json: bool, **options: Any) -> None:
    """Write one HTML page about a run: what ran and why, rows, plots, transcripts, cost.

    The page is complete in itself and opens from a disk. Each transcribe run writes one at its end;
    this writes it anew, with prices, a baseline or a benchmark beside it.

    Examples:
    ray-asr report transcripts/
    ray-asr report transcripts/ --price-per-cpu-hour 0.05 --out report.html
    ray-asr report s3://bucket/transcripts --baseline baseline.json --out report.html
    """
    from ray_asr.verbs import report as report_run

    show(report_run(output, **options), as_json)

"""The command line: parse, call one function, exit code.

Owns the verbs that run a job, logging and exit codes. Verbs about an output that is there are in
`cli_outputs` and `cli_results`, those that measure in `cli_measuring`, options that several have in
`cli_options`, the form of help, results and errors in `cli_form`. Must not hold logic: each verb
calls one function of the package.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

import click

from ray_asr import __version__, cli_measuring, cli_outputs, cli_results
from ray_asr.cli_form import (
    JSON,
    Place,
    StoppedError,
    Verbs,
    complain,
    say,
    show,
    usage_sentence,
)
from ray_asr.cli_options import ADDRESS, config_of, with_settings_flags
from ray_asr.errors import ConfigError, ExitCode, RayAsrError
from ray_asr.job.quiet_ray import quiet_end
from ray_asr.live import LiveHandler
from ray_asr.redaction import redacted
from ray_asr.terminal import PrintableFormatter, paint_for, wants_color

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


def _configure_logging(verbose: bool) -> None:
    # Ray Data announces every plan and progress bar, and a page for every error that it hands on;
    # what matters of a run is said by us.
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "INFO" if verbose else "CRITICAL")
    handler = LiveHandler(sys.stderr)
    line = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
    handler.setFormatter(PrintableFormatter(line, "%H:%M:%S", paint_for(sys.stderr)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("ray_asr").setLevel(logging.DEBUG if verbose else logging.INFO)


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="ray-asr")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def cli(verbose: bool) -> None:
    """Distributed speech recognition on Ray and FunASR.

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 unexpected, 2 configuration, 3
    input data, 4 does not fit the cluster, 5 too many failed rows, 130 stopped by Ctrl-C.
    """
    _configure_logging(verbose)


@cli.command(goes_on=True)
@click.option("--output", type=Place(), default=None, help="Keep what the job writes here.")
@ADDRESS
@JSON
def demo(output: str | None, address: str | None, as_json: bool) -> None:
    """Run the whole job on embedded speech with the embedded models, and score it.

    Examples:
    ray-asr demo
    ray-asr demo --output demo-output/
    """
    from ray_asr.job.demo import run_demo

    show(run_demo(output, address), as_json)


@cli.command()
@click.argument("source", type=Place())
@click.argument("destination", type=Place())
@click.option("--shard-mb", default=512.0, show_default=True, help="MiB in one shard.")
@click.option("--row-group-mb", default=32.0, show_default=True, help="MiB in one row group.")
@ADDRESS
@JSON
def pack(
    source: str,
    destination: str,
    shard_mb: float,
    row_group_mb: float,
    address: str | None,
    as_json: bool,
) -> None:
    """Pack a folder, wav.scp, JSONL manifest or Parquet into Parquet shards.

    Examples:
    ray-asr pack recordings/ shards/
    ray-asr pack data/train/wav.scp s3://bucket/shards
    """
    from ray_asr.corpus.pack import pack as pack_corpus
    from ray_asr.job.pipeline import connect

    summary = pack_corpus(
        source,
        destination,
        shard_mb=shard_mb,
        row_group_mb=row_group_mb,
        connect=lambda: connect(address),
    )
    show(summary, as_json)


@cli.command()
@click.argument("source", required=False, type=Place())
@with_settings_flags
@click.option("--measure/--no-measure", default=True, show_default=True, help="Load models once.")
@click.option("--price-per-cpu-hour", type=float, default=None, help="Of one core, any currency.")
@click.option("--price-per-gpu-hour", type=float, default=None, help="Of one GPU, any currency.")
@ADDRESS
@JSON
def plan(
    source: str | None,
    address: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    measure: bool,
    price_per_cpu_hour: float | None,
    price_per_gpu_hour: float | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Say what transcribe would start, why each number, and what it would take; a dry run.

    Examples:
    ray-asr plan shards/ --model paraformer-zh
    ray-asr plan shards/ --price-per-cpu-hour 0.05
    """
    from ray_asr.job.dry_run import dry_run

    report = dry_run(
        source,
        config_of(config_file, sets, flags),
        address,
        measure=measure,
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
    )
    show(report, as_json)


@cli.command(goes_on=True)
@click.argument("source", type=Place())
@click.argument("output", type=Place())
@with_settings_flags
@click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier run left.")
@ADDRESS
@JSON
def transcribe(
    source: str,
    output: str,
    restart: bool,
    address: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Transcribe Parquet files; the same command again does only what is missing.

    Examples:
    ray-asr transcribe shards/ transcripts/ --model paraformer-zh --ncpu 4
    ray-asr transcribe s3://b/shards s3://b/out --set control.baseline=b.json
    """
    from ray_asr.job.pipeline import transcribe_path

    config = config_of(config_file, sets, flags)
    show(transcribe_path(source, output, config, address, restart=restart), as_json)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete verbs, options, settings and paths.

    Examples:
    eval "$(ray-asr completion bash)"
    ray-asr completion zsh > ~/.ray-asr-completion.zsh
    ray-asr completion fish > ~/.config/fish/completions/ray-asr.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise ConfigError(f"click knows no completion for {shell}: use bash, zsh or fish.")
    say(made(cli, {}, "ray-asr", "_RAY_ASR_COMPLETE").source())


for _verb in (
    cli_measuring.tune, cli_measuring.bench, cli_outputs.score, cli_measuring.simulate,
    cli_outputs.verify, cli_outputs.compact, cli_outputs.retry, cli_results.export,
    cli_results.report,
):  # fmt: skip
    cli.add_command(_verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        # What a verb ends with by `click.exceptions.Exit` is given back, and not raised.
        code = cli.main(
            args=arguments,
            prog_name="ray-asr",
            standalone_mode=False,
            color=wants_color(sys.stdout),
        )
    except click.exceptions.Abort as stopped:
        complain(f"{stopped}." if isinstance(stopped, StoppedError) else "stopped.")
        sys.exit(_INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        complain(usage_sentence(error))
        sys.exit(error.exit_code)
    except RayAsrError as error:
        complain(redacted(str(error)))
        sys.exit(int(error.exit_code))
    finally:
        quiet_end()
    sys.exit(code if isinstance(code, int) else int(ExitCode.DONE))


if __name__ == "__main__":
    main()

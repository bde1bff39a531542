"""The command line: parse, call one function, exit code.

Owns the verbs that run something, logging and exit codes. The verbs about an output that is there
are in `cli_outputs`, the options that several have in `cli_options`. Must not hold logic: each verb
calls one function of the package.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import click

from ray_asr import __version__, cli_outputs
from ray_asr.cli_options import ADDRESS, config_of, say, with_settings_flags
from ray_asr.errors import ExitCode, RayAsrError
from ray_asr.redaction import redacted
from ray_asr.terminal import PrintableFormatter


def _configure_logging(verbose: bool) -> None:
    # Ray Data announces every plan and progress bar, and a page for every error that it hands on;
    # what matters of a run is said by us.
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "INFO" if verbose else "CRITICAL")
    handler = logging.StreamHandler(sys.stderr)
    line = "%(asctime)s %(levelname).1s %(name)s: %(message)s"
    handler.setFormatter(PrintableFormatter(line, "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("ray_asr").setLevel(logging.DEBUG if verbose else logging.INFO)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ray-asr")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def cli(verbose: bool) -> None:
    """Distributed speech recognition on Ray and FunASR.

    Exit codes: 0 done, 1 unexpected, 2 configuration, 3 input data, 4 does not fit the cluster,
    5 too many failed rows.
    """
    _configure_logging(verbose)


@cli.command()
@click.option("--output", type=click.Path(), default=None, help="Keep what the job writes here.")
@ADDRESS
def demo(output: str | None, address: str | None) -> None:
    """Run the whole job on embedded speech with the embedded models, and score it.

    Example: ray-asr demo
    """
    from ray_asr.job.demo import run_demo

    say(run_demo(output, address))


@cli.command()
@click.argument("source")
@click.argument("destination")
@click.option("--shard-mb", default=512.0, show_default=True, help="MiB in one shard.")
@click.option("--row-group-mb", default=32.0, show_default=True, help="MiB in one row group.")
@ADDRESS
def pack(
    source: str, destination: str, shard_mb: float, row_group_mb: float, address: str | None
) -> None:
    """Pack a folder, wav.scp, JSONL manifest or Parquet into Parquet shards.

    Example: ray-asr pack recordings/ shards/
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
    say(summary.table())


@cli.command()
@click.argument("source", required=False)
@with_settings_flags
@click.option("--measure/--no-measure", default=True, show_default=True, help="Load models once.")
@click.option("--price-per-cpu-hour", type=float, default=None, help="Of one core, any currency.")
@click.option("--price-per-gpu-hour", type=float, default=None, help="Of one GPU, any currency.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@ADDRESS
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

    Example: ray-asr plan shards/ --price-per-cpu-hour 0.05
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
    if as_json:
        say(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        say(report.table())


@cli.command()
@click.argument("source")
@click.argument("output")
@with_settings_flags
@click.option("--restart", is_flag=True, help="Begin anew, whatever an earlier run left.")
@ADDRESS
def transcribe(
    source: str,
    output: str,
    restart: bool,
    address: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    **flags: Any,
) -> None:
    """Transcribe Parquet files; the same command again does only what is missing.

    Example: ray-asr transcribe shards/ transcripts/ --model paraformer-zh --ncpu 4
    """
    from ray_asr.job.pipeline import transcribe_path

    config = config_of(config_file, sets, flags)
    say(transcribe_path(source, output, config, address, restart=restart).table())


@cli.command()
@click.option(
    "--model",
    default="untrained",
    show_default=True,
    help='A folder, a name, "demo", or "untrained" (Paraformer-large, random weights).',
)
@click.option("--minutes", default=6.0, show_default=True, help="Minutes of audio.")
@click.option("--hours", type=float, default=None, help="Hours of audio, instead of minutes.")
@click.option("--repeat", default=3, show_default=True, help="Repetitions of all cases, in turn.")
@click.option("--cases", default="", help="Names of cases, with commas; all unless given.")
@click.option("--quick", is_flag=True, help="A minute of audio, once, nothing tuned.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda, for every case.")
@click.option("--container", default="FLAC", show_default=True, help="FLAC or WAV.")
@click.option("--vad-model", default="", help="Voice activity model; none unless given.")
@click.option("--punc-model", default="", help="Punctuation model; none unless given.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="SECTION.SETTING=VALUE",
    help="A setting of ray_asr's own cases.",
)
@click.option("--cache", default="", help="Keeps models and exports. Default: ~/.cache/ray_asr.")
@click.option("--timeout-s", default=3600.0, show_default=True, help="For one run of one case.")
@click.option("--json", "json_file", default=None, type=click.Path(), help="Write all figures.")
def bench(cases: str, hours: float | None, json_file: str | None, **options: Any) -> None:
    """Compare settings, peers, ray_asr and the bare model on the same audio, in turn.

    Example: ray-asr bench --minutes 10 --json bench.json
    """
    from ray_asr.job.bench import BenchOptions, run_bench

    names = [name.strip() for name in cases.split(",") if name.strip()]
    if hours is not None:
        options["minutes"] = 60 * hours
    say(run_bench(BenchOptions(cases=names, **options), json_file))


@cli.command()
@click.argument("source")
@with_settings_flags
@click.option("--sample-minutes", default=3.0, show_default=True, help="Of audio for each actor.")
@click.option("--budget-minutes", default=10.0, show_default=True, help="No run begins later.")
@click.option("--repeat", default=3, show_default=True, help="Repetitions of the best settings.")
@click.option("--precisions", default="", help="To be tried, with commas; texts hang on them.")
@click.option("--out", default="baseline.json", show_default=True, help="The baseline's file.")
@click.option("--check", is_flag=True, help="Measure that file's best setting again.")
@click.option("--tolerance", default=0.1, show_default=True, help="For --check, a share.")
@click.option("--work-folder", default="", help="That every node sees, where there are several.")
@ADDRESS
def tune(
    source: str,
    address: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    sample_minutes: float,
    budget_minutes: float,
    repeat: int,
    precisions: str,
    out: str,
    check: bool,
    tolerance: float,
    work_folder: str,
    **flags: Any,
) -> None:
    """Measure settings on a sample of your audio and keep the best as a baseline.

    With --check it exits with 1 where the baseline's best has become slower than the tolerance.

    Example: ray-asr tune shards/ --out baseline.json
    """
    from ray_asr.job.tune import TuneOptions, run_tune

    tried = tuple(name.strip() for name in precisions.split(",") if name.strip())
    options = TuneOptions(
        sample_minutes, budget_minutes, repeat, tried, out, check, tolerance, work_folder
    )
    result = run_tune(source, config_of(config_file, sets, flags), options, address)
    say(result.text)
    if result.slower:
        raise click.exceptions.Exit(int(ExitCode.UNEXPECTED))


@cli.command()
@click.argument("source", required=False)
@with_settings_flags
@click.option("--run", default="", help="Folder of a finished run: OUTPUT/_runs/<run_id>.")
@click.option("--audio-hours", type=float, default=0.0, help="Of a job that has no input yet.")
@click.option("--nodes", type=int, default=0, help="Like the measured ones. Default: as many.")
@click.option("--actors-per-node", type=int, default=0, help="Default: as many as were measured.")
@click.option("--nodes-at-start", type=int, default=0, help="Others come when asked. Default: all.")
@click.option("--node-start-s", type=float, default=60.0, show_default=True, help="Of the others.")
@click.option("--workloads", default=50, show_default=True, help="Jobs on paper, without a job.")
@click.option("--seed", default=0, show_default=True, help="Of these.")
@click.option("--price-per-actor-hour", default=0.0, show_default=True, help="Any currency.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def simulate(
    source: str | None,
    config_file: str | None,
    sets: tuple[str, ...],
    run: str,
    audio_hours: float,
    nodes: int,
    actors_per_node: int,
    nodes_at_start: int,
    node_start_s: float,
    workloads: int,
    seed: int,
    price_per_actor_hour: float,
    as_json: bool,
    **flags: Any,
) -> None:
    """Predict a job on a cluster that need not be there, from a baseline; or compare policies.

    SOURCE, --run or --audio-hours name the job, and control.baseline what `ray-asr tune` measured
    of a node. Without a job, fifty jobs on paper are run under each policy: ours, Ray's rule, fixed
    sizes, and the best size in hindsight.

    Example: ray-asr simulate shards/ --set control.baseline=baseline.json --nodes 16
    """
    if source is not None or run or audio_hours:
        from ray_asr.job.forecast import ForecastOptions, forecast

        options = ForecastOptions(
            run, audio_hours, nodes, actors_per_node, nodes_at_start, node_start_s,
            price_per_actor_hour,
        )  # fmt: skip
        result = forecast(source, config_of(config_file, sets, flags), options)
    else:
        from ray_asr.control.simulate import SimulationOptions, run_simulation

        result = run_simulation(SimulationOptions(workloads, seed, price_per_actor_hour))
    if as_json:
        say(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    else:
        say(result.table())


for command in (cli_outputs.score, cli_outputs.verify, cli_outputs.compact, cli_outputs.retry):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    try:
        # What a verb ends with by `click.exceptions.Exit` is given back, and not raised.
        code = cli.main(args=arguments, prog_name="ray-asr", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RayAsrError as error:
        say(f"ray-asr: {redacted(str(error))}", err=True)
        sys.exit(int(error.exit_code))
    sys.exit(code if isinstance(code, int) else int(ExitCode.DONE))


if __name__ == "__main__":
    main()

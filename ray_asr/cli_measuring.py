"""The verbs of the command line that measure and predict.

Owns their options. Must not hold logic: each verb calls one function of the package.
"""

from __future__ import annotations

from typing import Any

import click

from ray_asr.cli_form import JSON, Place, Verb, show
from ray_asr.cli_options import ADDRESS, config_of, with_settings_flags
from ray_asr.errors import ExitCode

_TO_STDOUT = "-"


@click.command(cls=Verb)
@click.option(
    "--model",
    default="untrained",
    show_default=True,
    type=Place(),
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
@click.option(
    "--cache", default="", type=Place(), help="Keeps models and exports. Default: ~/.cache/ray_asr."
)
@click.option("--timeout-s", default=3600.0, show_default=True, help="For one run of one case.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value=_TO_STDOUT,
    default=None,
    type=Place(),
    metavar="[FILE]",
    help="JSON instead of a table; with FILE, all figures there besides.",
)
def bench(cases: str, hours: float | None, json_file: str | None, **options: Any) -> None:
    """Compare settings, peers, ray_asr and the bare model on the same audio, in turn.

    Examples:
    ray-asr bench --quick
    ray-asr bench --minutes 10 --json bench.json
    """
    from ray_asr.job.bench import BenchOptions, run_bench

    names = [name.strip() for name in cases.split(",") if name.strip()]
    if hours is not None:
        options["minutes"] = 60 * hours
    as_json = json_file == _TO_STDOUT
    file = None if as_json else json_file
    show(run_bench(BenchOptions(cases=names, **options), file), as_json)


@click.command(cls=Verb)
@click.argument("source", type=Place())
@with_settings_flags
@click.option("--sample-minutes", default=3.0, show_default=True, help="Of audio for each actor.")
@click.option("--budget-minutes", default=10.0, show_default=True, help="No run begins later.")
@click.option("--repeat", default=3, show_default=True, help="Repetitions of the best settings.")
@click.option("--precisions", default="", help="To be tried, with commas; texts hang on them.")
@click.option(
    "--out", default="baseline.json", show_default=True, type=Place(), help="The baseline's file."
)
@click.option("--check", is_flag=True, help="Measure that file's best setting again.")
@click.option("--tolerance", default=0.1, show_default=True, help="For --check, a share.")
@click.option(
    "--work-folder", default="", type=Place(), help="That every node sees, where there are several."
)
@ADDRESS
@JSON
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
    as_json: bool,
    **flags: Any,
) -> None:
    """Measure settings on a sample of your audio and keep the best as a baseline.

    With --check it exits with 1 where the baseline's best has become slower than the tolerance.

    Examples:
    ray-asr tune shards/ --out baseline.json
    ray-asr tune shards/ --out baseline.json --check
    """
    from ray_asr.job.tune import TuneOptions, run_tune

    tried = tuple(name.strip() for name in precisions.split(",") if name.strip())
    options = TuneOptions(
        sample_minutes, budget_minutes, repeat, tried, out, check, tolerance, work_folder
    )
    result = run_tune(source, config_of(config_file, sets, flags), options, address)
    show(result, as_json)
    if result.slower:
        raise click.exceptions.Exit(int(ExitCode.UNEXPECTED))


@click.command(cls=Verb)
@click.argument("source", required=False, type=Place())
@with_settings_flags
@click.option(
    "--run", default="", type=Place(), help="Folder of a finished run: OUTPUT/_runs/<run_id>."
)
@click.option("--audio-hours", type=float, default=0.0, help="Of a job that has no input yet.")
@click.option("--nodes", type=int, default=0, help="Like the measured ones. Default: as many.")
@click.option("--actors-per-node", type=int, default=0, help="Default: as many as were measured.")
@click.option("--nodes-at-start", type=int, default=0, help="Others come when asked. Default: all.")
@click.option("--node-start-s", type=float, default=60.0, show_default=True, help="Of the others.")
@click.option("--workloads", default=50, show_default=True, help="Jobs on paper, without a job.")
@click.option("--seed", default=0, show_default=True, help="Of these.")
@click.option("--price-per-actor-hour", default=0.0, show_default=True, help="Any currency.")
@JSON
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

    Examples:
    ray-asr simulate
    ray-asr simulate shards/ --set control.baseline=baseline.json --nodes 16
    """
    if source is not None or run or audio_hours:
        from ray_asr.job.forecast import ForecastOptions, forecast

        options = ForecastOptions(
            run, audio_hours, nodes, actors_per_node, nodes_at_start, node_start_s,
            price_per_actor_hour,
        )  # fmt: skip
        show(forecast(source, config_of(config_file, sets, flags), options), as_json)
    else:
        from ray_asr.control.simulate import SimulationOptions, run_simulation

        show(run_simulation(SimulationOptions(workloads, seed, price_per_actor_hour)), as_json)

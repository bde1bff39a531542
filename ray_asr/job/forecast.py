"""How long a job would take on a cluster that need not be there: `ray-asr simulate` for one job.

Owns the questions asked of the input, of a finished run and of the baseline. Starts no Ray. Must
not know how a run is simulated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import Baseline, Entry, load_baseline
from ray_asr.control.batch_bounds import batches_in_a_chunk
from ray_asr.control.prediction import (
    Bounds,
    PaperCluster,
    Prediction,
    RealRun,
    predict,
    setting_like,
)
from ray_asr.corpus.length import estimate_length
from ray_asr.corpus.storage import open_filesystem
from ray_asr.corpus.units import input_units
from ray_asr.errors import ConfigError, DataError
from ray_asr.redaction import redacted
from ray_asr.yaml_text import parse_yaml

_AUTOMATIC = ("auto", 0, 0.0)


@dataclass(frozen=True, slots=True)
class ForecastOptions:
    """Which job, and where.

    Attributes:
        run: the folder of a finished run, `OUTPUT/_runs/<run_id>`.
        audio_hours: of a job that has no input yet.
        nodes: as many as were measured where 0.
        actors_each: that a node holds; 0: as the run's plan, or as many as were measured on one.
        nodes_at_start: see `PaperCluster`.
        node_s: likewise.
        price_per_actor_hour: likewise.
    """

    run: str = ""
    audio_hours: float = 0.0
    nodes: int = 0
    actors_each: int = 0
    nodes_at_start: int = 0
    node_s: float = 0.0
    price_per_actor_hour: float = 0.0


def forecast(
    source: str | None, config: Config, options: ForecastOptions | None = None
) -> Prediction:
    """What a job would take, by a baseline of nodes like the ones that it would run on.

    Args:
        source: the Parquet files of the job; None where a run or audio-hours are given.
        config: `control.baseline` names what was measured; actors, cores, batch, precision and
            stages where they are set, else the fastest that was measured.
        options: the job, where there is no input, and the cluster.

    Raises:
        ConfigError: there is no baseline, or it is of other models or settings than the run.
        DataError: the input or the run cannot be read.
        PlanError: the cluster cannot hold what is asked for.
    """
    options = options or ForecastOptions()
    if options.audio_hours < 0:
        raise ConfigError(f"audio_hours is {options.audio_hours:g}: use more than 0.")
    if sum((source is not None, bool(options.run), options.audio_hours > 0)) != 1:
        raise ConfigError("name one job: an input, a finished run, or its audio-hours.")
    if not config.control.baseline:
        raise ConfigError(
            "a job is predicted from what was measured: run `ray-asr tune`, and name its file with "
            "--set control.baseline=baseline.json."
        )
    baseline = load_baseline(config.control.baseline)
    if options.run:
        return _of_run(baseline, options)
    if options.audio_hours > 0:
        audio_s = 3600 * options.audio_hours
    else:
        audio_s = _audio_s(source or "", config)
    engine, wanted = config.engine, {}
    for name, value in (
        ("ncpu", engine.ncpu),
        ("precision", engine.precision),
        ("stages", config.job.stages),
        ("batch_size_s", config.batch.batch_size_s),
    ):
        if value not in _AUTOMATIC:
            wanted[name] = value
    setting = setting_like(baseline, wanted) if wanted else baseline.best()
    cluster = _cluster(options, baseline, 0)
    return predict(baseline, setting, audio_s, _chunk_s(setting), cluster, _asked(config))


def _audio_s(source: str, config: Config) -> float:
    filesystem, units = input_units(source, config)
    return estimate_length(filesystem, units, config.input).audio_s


def _chunk_s(setting: Entry) -> float:
    return batches_in_a_chunk(setting.batch_size_s) * setting.batch_size_s


def _cluster(options: ForecastOptions, baseline: Baseline, actors_each: int) -> PaperCluster:
    return PaperCluster(
        nodes=options.nodes or baseline.hardware.nodes,
        actors_each=options.actors_each or actors_each,
        nodes_at_start=options.nodes_at_start,
        node_s=options.node_s,
        price_per_actor_hour=options.price_per_actor_hour,
    )


def _of_run(baseline: Baseline, options: ForecastOptions) -> Prediction:
    """The job of a finished run; on as many nodes as were measured it is held against the run."""
    summary, plan, config = _read_run(options.run)
    if summary["model_id"] != baseline.models.model:
        raise ConfigError(
            f"the run is of the model {summary['model_id']}, and the baseline of "
            f"{baseline.models.model}: run `ray-asr tune` with the run's."
        )
    wanted = {
        "ncpu": summary["ncpu"],
        "precision": summary["precision"],
        "stages": plan["stages"],
        "batch_size_s": plan["batch_size_s"],
    }
    setting = setting_like(baseline, wanted)
    actors, nodes = plan["recognize"], baseline.hardware.nodes
    # Actors that waited for a node that never came took no part.
    most = max(actors["start"], summary["actors_max"])
    cluster = _cluster(options, baseline, math.ceil(most / nodes))
    bounds, real = _asked(config), None
    if not (options.nodes or options.actors_each or options.nodes_at_start):
        start = bounds.start if bounds.autoscale else actors["start"]
        bounds = Bounds(actors["least"], most, start, bounds.autoscale)
        real = RealRun(summary["run_id"], summary["wall_s"])
    chunk_s = _chunk_s(setting)
    return predict(baseline, setting, summary["audio_s"], chunk_s, cluster, bounds, real)


def _asked(config: Config) -> Bounds:
    """What the settings ask for, wherever the job runs."""
    control = config.control
    return Bounds(
        control.min_actors or 1, control.max_actors, config.job.num_actors, control.autoscale
    )


def _read_run(folder: str) -> tuple[dict[str, Any], dict[str, Any], Config]:
    """Summary, plan and settings of a finished run."""
    filesystem, path = open_filesystem(folder)

    def text(name: str) -> str:
        with filesystem.open_input_stream(f"{path}/{name}") as stream:
            return bytes(stream.read()).decode("utf-8")

    try:
        summary, plan = json.loads(text("summary.json")), json.loads(text("plan.json"))
        sections = parse_yaml(text("config.yaml"))
        settings = {
            f"{section}.{name}": value
            for section, leaves in sections.items()
            for name, value in leaves.items()
        }
        needed = {"model_id", "ncpu", "precision", "audio_s", "wall_s", "run_id", "actors_max"}
        if not isinstance(summary, Mapping) or not needed.issubset(summary):
            raise ValueError("summary.json is not a run's")
        if not summary["audio_s"]:
            raise DataError(f"the run {redacted(folder)} recognized no audio: name another one.")
        return dict(summary), dict(plan), with_settings(Config(), settings)
    except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DataError(
            f"{redacted(folder)} is not the folder of a finished run ({error}): name "
            "OUTPUT/_runs/<run_id>."
        ) from error

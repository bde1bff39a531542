"""What a job would start and take, without starting it: `ray-asr plan`.

Owns the questions that the dry run asks of the cluster, the input and the model. Must not know how
a plan is made.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from ray_asr.config import Config
from ray_asr.control.plan import make_plan
from ray_asr.control.plan_text import PlanReport, plan_report
from ray_asr.corpus.length import estimate_length
from ray_asr.corpus.units import input_units
from ray_asr.errors import ConfigError
from ray_asr.job.cluster import cluster_resources, model_footprint
from ray_asr.job.pipeline import check_models, connect
from ray_asr.job.steering import matching_baseline
from ray_asr.live import Live

logger = logging.getLogger(__name__)


def dry_run(
    source: str | None,
    config: Config,
    address: str | None = None,
    *,
    measure: bool = True,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
) -> PlanReport:
    """The plan of `transcribe` with these settings, and what it would take.

    Args:
        source: the input, for time and cost; None for the plan alone.
        config: as for the job.
        address: of the cluster (see `pipeline.connect`).
        measure: load the models once in a process on the cluster, for their memory and time.
        price_per_cpu_hour: of one core for an hour, in any currency.
        price_per_gpu_hour: of one GPU for an hour.

    Raises:
        ConfigError, DataError: as the job raises them.
        PlanError: the job does not fit; says what is missing.
    """
    for name, price in (("cpu", price_per_cpu_hour), ("gpu", price_per_gpu_hour)):
        if price is not None and price < 0:
            raise ConfigError(f"--price-per-{name}-hour is {price:g}: use 0 or more.")
    config = check_models(config)
    audio_s = None
    if source is not None:
        filesystem, units = input_units(source, config)
        audio_s = estimate_length(filesystem, units, config.input).audio_s
    connect(address, config)
    cluster = cluster_resources()
    baseline = matching_baseline(config, cluster)
    footprint = None
    if measure:
        one_core = replace(config.engine, ncpu=max(1, config.engine.ncpu))
        with Live(logger) as live:
            live.say("the models are loaded once, for their memory and their time")
            footprint = model_footprint(one_core, config.job.num_gpus)
    plan = make_plan(cluster, footprint, config, baseline)
    return plan_report(plan, cluster, audio_s, baseline, price_per_cpu_hour, price_per_gpu_hour)

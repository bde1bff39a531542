"""How much of the cluster a run takes, from its plan to what it did with it.

Owns the plan of a run and what becomes of it while it runs. Must not know rows or models.
"""

from __future__ import annotations

import logging

from ray_asr.config import Config
from ray_asr.control.baseline import Baseline, load_baseline
from ray_asr.control.plan import ClusterResources, Plan, make_plan
from ray_asr.job.cluster import cluster_resources
from ray_asr.job.tune_machine import hardware_of, models_of

logger = logging.getLogger(__name__)


def plan_run(config: Config) -> Plan:
    """The plan for the Ray cluster that this process is connected to.

    Raises:
        ConfigError: the baseline cannot be read.
        PlanError: the job does not fit; says what is missing.
    """
    cluster = cluster_resources()
    plan = make_plan(cluster, None, config, matching_baseline(config, cluster))
    for warning in plan.warnings:
        logger.warning("%s", warning)
    return plan


def matching_baseline(config: Config, cluster: ClusterResources) -> Baseline | None:
    """The baseline that the settings name, where it is of this hardware and these models.

    Raises:
        ConfigError: it cannot be read.
    """
    if not config.control.baseline:
        return None
    baseline = load_baseline(config.control.baseline)
    differs = baseline.matches(hardware_of(cluster), models_of(config))
    if differs:
        logger.warning(
            "the baseline %s is not used: %s. Run `ray-asr tune` here to have one.",
            config.control.baseline, "; ".join(differs),
        )  # fmt: skip
        return None
    logger.info("the baseline %s is used.", config.control.baseline)
    return baseline

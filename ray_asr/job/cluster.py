"""What the nodes of a Ray cluster really have, asked of a process on each of them.

Owns the question, and what is done about nodes that do not answer. Must not know what is planned
from the answers.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_asr.config import EngineConfig
from ray_asr.control.capacity import ClusterResources, Node
from ray_asr.engine.cores import cpu_quota, layout, memory_limit_gb, offered_cores
from ray_asr.engine.footprint import MeasuredFootprint, measure_footprint
from ray_asr.engine.threads import thread_environment
from ray_asr.errors import PlanError, RayAsrError
from ray_asr.job.staging import Staging, before_loading, staging_of

_GB = 2**30

logger = logging.getLogger(__name__)


def cluster_resources(timeout_s: float = 60.0) -> ClusterResources:
    """What processes on each alive node may really use; all nodes are asked at the same time.

    A node that does not answer is taken at Ray's word, with a warning; one that dies meanwhile is
    left out.

    Args:
        timeout_s: for all answers together: a node may have to start a process first.
    """
    nodes = _alive()
    asked = {node_id: _ask(node_id) for node_id in nodes}
    waiting = list(asked.values())
    answered, late = (
        ray.wait(waiting, num_returns=len(waiting), timeout=timeout_s) if waiting else ([], [])
    )
    for reference in late:
        ray.cancel(reference, force=True)
    answers = {node_id: _answer(ref) for node_id, ref in asked.items() if ref in set(answered)}
    alive = _alive()
    silent = [node_id for node_id in alive if answers.get(node_id) is None]
    if silent:
        logger.warning(
            "%d of %d node(s) did not say within %.0f s what their processes may use: there Ray's "
            "count of CPUs and memory is taken as it is.", len(silent), len(alive), timeout_s,
        )  # fmt: skip
    store = sum(node.get("object_store_memory", 0.0) for node in alive.values())
    return ClusterResources(
        tuple(_node(resources, answers.get(node_id)) for node_id, resources in alive.items()),
        store / _GB,
    )


def model_footprint(
    config: EngineConfig, num_gpus: float = 0.0, timeout_s: float = 600.0
) -> MeasuredFootprint:
    """What an actor's models take, measured once in a process of its own on some node.

    Args:
        config: as the actors will have it, `ncpu` at least 1.
        num_gpus: as the actors will have them.
        timeout_s: for a place, the models' way there, and the measurement.

    Raises:
        ConfigError, EngineFatalError, BatchTooLargeError: as the engine raises them.
        PlanError: no node has had room for it, or its process died.
    """
    # One call a process: what it leaves in memory goes with it.
    task = ray.remote(max_calls=1)(_measured).options(
        num_cpus=config.ncpu,
        num_gpus=num_gpus or None,
        max_retries=0,
        runtime_env={"env_vars": thread_environment(config.ncpu)},
    )
    reference = task.remote(config, staging_of(config))
    wants = f"{config.ncpu} CPU(s)" + (f" and {num_gpus:g} GPU" if num_gpus else "")
    try:
        return ray.get(reference, timeout=timeout_s)
    except GetTimeoutError as error:
        ray.cancel(reference, force=True)
        raise PlanError(
            f"the model was not measured within {timeout_s:.0f} s: no node may have had {wants} "
            "free, or the model does not come; look at `ray status`."
        ) from error
    except RayError as error:
        cause: BaseException | None = getattr(error, "cause", None)
        if isinstance(cause, RayAsrError):
            raise cause from error
        raise PlanError(
            f"the process that measured the model ended ({type(error).__name__}): a node with more "
            f"memory is needed for an actor with {wants}."
        ) from error


def _measured(config: EngineConfig, staging: Staging) -> MeasuredFootprint:
    before_loading(staging)
    return measure_footprint(config)


def _alive() -> dict[str, dict[str, float]]:
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _ask(node_id: str) -> Any:
    """The answer to come of a task that takes nothing, on one node and no other."""
    place = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(own_machine).options(
        num_cpus=0, max_retries=0, scheduling_strategy=place
    ).remote()  # fmt: skip


def _answer(reference: Any) -> dict[str, float] | None:
    try:
        return ray.get(reference)
    except RayError as error:
        logger.debug("a node did not answer: %s", error)
        return None


def _node(resources: dict[str, float], seen: dict[str, float] | None) -> Node:
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if seen is None:
        memory_gb = (resources.get("memory", 0.0) + resources.get("object_store_memory", 0)) / _GB
        return Node(cpus, cpus, memory_gb=memory_gb, gpus=gpus)
    return Node(
        ray_cpus=cpus,
        cores=seen["cores"],
        physical_cores=int(seen["physical_cores"]),
        numa_nodes=int(seen["numa_nodes"]),
        memory_gb=seen["memory_gb"],
        gpus=gpus,
        gpu_memory_gb=seen["gpu_memory_gb"] if gpus else 0.0,
    )


def own_machine() -> dict[str, float]:
    """What this process may use; runs on a node, of which it needs no more than a moment."""
    cores = layout(offered_cores())
    quota = cpu_quota()
    memory_gb = psutil.virtual_memory().available / _GB
    limit_gb = memory_limit_gb()
    return {
        "cores": min(float(len(cores)), quota or float(len(cores))),
        "physical_cores": len({core.physical for core in cores}),
        "numa_nodes": len({core.numa_node for core in cores}),
        "memory_gb": min(memory_gb, limit_gb or memory_gb),
        "gpu_memory_gb": smallest_gpu_gb(_gpu_totals()),
    }


def _gpu_totals() -> str:
    """The GPUs' memory as the driver's own tool says it, a line each; "" without the tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout if asked.returncode == 0 else ""


def smallest_gpu_gb(totals: str) -> float:
    """The least of lines of MiB, in GiB; 0 where there is none."""
    return min(_mib(totals.splitlines()), default=0.0) / 1024


def _mib(lines: Iterable[str]) -> list[float]:
    return [float(line) for line in lines if line.strip().isdecimal()]

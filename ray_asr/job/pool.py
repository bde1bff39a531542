"""How many actors a cluster holds, and with how many cores each.

Owns the fit of one job to a cluster's cores and GPUs. Must not know Ray, FunASR or rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray_asr.config import Config
from ray_asr.errors import PlanError

_CORES_WELL_USED = 0.75
# A recognizer of 220 M parameters in float32, its batch, and what Ray and Python take.
_ACTOR_GB = 4.0
# Detection and punctuation of one core keep up with a part of a GPU only.
_DETECTORS_A_GPU_ACTOR, _PUNCTUATORS_A_GPU_ACTOR = 4, 2


@dataclass(frozen=True, slots=True)
class Pool:
    """How many actors recognize, with how many cores each, on which machines' account.

    Attributes:
        actors: recognizing actors.
        ncpu: cores of each.
        detectors: actors for voice activity, a core each; 0 where the recognizing ones do it.
        punctuators: actors for punctuation, a core each; 0 where the recognizing ones do it.
    """

    actors: int
    ncpu: int
    detectors: int = 0
    punctuators: int = 0

    @property
    def split(self) -> bool:
        """Whether the steps have pools of their own."""
        return self.detectors > 0


def fit_pool(
    node_cpus: Sequence[float],
    node_gpus: Sequence[float],
    config: Config,
    memory_gb: float | None = None,
) -> Pool:
    """The actors that a cluster holds with at least one core left for reading.

    Args:
        node_cpus: the CPUs of each node.
        node_gpus: the GPUs of each node, in the same order.
        config: `engine.ncpu`, `job.num_actors`, `job.num_gpus` and `job.stages`; 0 means "as many
            as fit".
        memory_gb: what the nodes' processes may use together; None where that is not known.

    Raises:
        PlanError: not one actor fits; says what is missing.
    """
    stages, job = config.job.stages, config.job
    both = bool(config.engine.vad_model and config.engine.punc_model)
    wants_split = stages == "split" or (stages == "auto" and job.num_gpus > 0 and both)
    total = sum(node_cpus)

    def fitting(ncpu: int, kept: int) -> int:
        fit = 0
        for cpus, gpus in zip(node_cpus, node_gpus, strict=True):
            on_node = int(cpus // ncpu)
            if job.num_gpus:
                on_node = min(on_node, int(gpus / job.num_gpus + 1e-9))
            fit += on_node
        return min(fit, max(0, int((total - kept) // ncpu)))

    def chosen_ncpu(kept: int) -> int:
        def wasteful(ncpu: int) -> bool:
            return fitting(ncpu, kept) * ncpu < _CORES_WELL_USED * (total - kept)

        if config.engine.ncpu:
            return config.engine.ncpu
        # Two actors of one core do more than one of two, which wait for each other in every layer
        # (docs/performance.md); but each holds a copy of the model.
        enough = memory_gb is not None and fitting(1, kept) * _ACTOR_GB <= memory_gb
        if enough and not job.num_gpus:
            return 1
        # Fewer, wider actors hold fewer copies; but not at the price of idle cores.
        return next((n for n in (4, 3, 2) if not wasteful(n)), 1)

    kept = 3 if wants_split else 1  # for reading, and for one detector and one punctuator
    ncpu = chosen_ncpu(kept)
    needed = max(job.num_actors, 1)
    if wants_split and stages == "auto" and fitting(ncpu, kept) < needed:
        wants_split, kept = False, 1
        ncpu = chosen_ncpu(kept)
    fit = fitting(ncpu, kept)
    if fit < needed:
        gpus_each = f" and {job.num_gpus:g} GPU" if job.num_gpus else ""
        beside = "1 core for reading"
        if wants_split:
            beside += ", 1 for detection and 1 for punctuation (job.stages=split)"
        raise PlanError(
            f"{needed} actor(s) with {ncpu} cores{gpus_each} each and {beside} do not "
            f"fit the cluster ({', '.join(f'{c:g}' for c in node_cpus)} cores and "
            f"{', '.join(f'{g:g}' for g in node_gpus)} GPUs a node): lower engine.ncpu or "
            "job.num_actors, or add nodes."
        )
    actors = job.num_actors or fit
    if not wants_split:
        return Pool(actors, ncpu)
    if not job.num_gpus:  # on CPUs recognition is what takes long: one of each keeps up
        return Pool(actors, ncpu, 1, 1)
    spare = int(total) - actors * ncpu - 1
    punctuators = max(1, min(_PUNCTUATORS_A_GPU_ACTOR * actors, spare // 4))
    detectors = max(1, min(_DETECTORS_A_GPU_ACTOR * actors, (spare - punctuators) // 2))
    return Pool(actors, ncpu, detectors, punctuators)

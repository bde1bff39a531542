"""One job on one cluster: what is given, and what an actor takes of it.

Owns the inputs of a plan, an actor's memory, and the notes that are taken while numbers are chosen.
Must not know Ray, nor which number follows from which.
"""

from __future__ import annotations

from ray_asr.config import Config
from ray_asr.control.capacity import ClusterResources, Need, actors_on, actors_that_fit
from ray_asr.control.measured import Baseline, BaselineEntry, Footprint

# Without a measured footprint: a recognizer of 220 M parameters in float32, its batch, and what
# Ray and Python take.
ASSUMED_ACTOR_GB = 4.0
# Of a GPU's memory: the rest is for what its allocator cannot use.
_GPU_MEMORY_SHARE = 0.9


class Case:
    """What a plan is made from (see `plan.make_plan`), with `reasons` and `warnings` so far."""

    def __init__(
        self,
        cluster: ClusterResources,
        footprint: Footprint | None,
        config: Config,
        baseline: Baseline | None,
    ) -> None:
        self.cluster, self.footprint, self.config = cluster, footprint, config
        self.entry: BaselineEntry | None = None if baseline is None else baseline.best()
        self.reserve = config.control.reserve_cores
        self.num_gpus = config.job.num_gpus
        self.device = config.engine.device.split(":")[0]
        # No batch may be smaller than the longest segment that comes.
        with_vad = bool(config.engine.vad_model)
        self.longest_s = config.engine.max_single_segment_time / 1000 if with_vad else 1.0
        self.reasons: dict[str, str] = {}
        self.warnings: list[str] = []

    @property
    def needed(self) -> int:
        """The fewest actors that the configuration takes to begin with."""
        return max(self.config.job.num_actors, self.config.control.min_actors, 1)

    def actor_gb(self, batch_s: float) -> float:
        """Host memory of an actor at the most, in GiB: as it loads, or with one batch in work."""
        footprint = self.footprint
        if footprint is None:
            return ASSUMED_ACTOR_GB
        computing_gb = footprint.memory_gb + footprint.gb_per_padded_s * batch_s
        return max(computing_gb, footprint.loading_gb)

    def need(self, ncpu: int, batch_s: float) -> Need:
        """What an actor of so many cores takes of a node."""
        measured = self.footprint is not None
        return Need(ncpu, self.num_gpus, self.actor_gb(batch_s), measured)

    def fit(self, ncpu: int, batch_s: float, beside: int) -> int:
        """Actors of so many cores that the nodes hold, `beside` others of one core."""
        return actors_that_fit(self.cluster, self.need(ncpu, batch_s), self.reserve, beside)

    def largest_gb(self) -> float:
        """Host memory for actors of the largest node, in GiB; 0: not known."""
        return max(map(self.cluster.memory_for_actors_gb, self.cluster.nodes), default=0.0)

    def least_gb_each(self, ncpu: int, batch_s: float) -> float:
        """Host memory of each actor where most of them share a node's, in GiB; 0: not known."""
        need = self.need(ncpu, batch_s)
        shares = [
            self.cluster.memory_for_actors_gb(node) / together
            for node in set(self.cluster.nodes)
            if (together := actors_on(self.cluster, node, need, self.reserve))
        ]
        return min((share for share in shares if share), default=self.largest_gb())

    def gpu_gb(self) -> float:
        """An actor's part of the smallest GPU's memory, in GiB; 0: not known, or no GPU."""
        known = [node.gpu_memory_gb for node in self.cluster.nodes if node.gpu_memory_gb]
        return min(known, default=0.0) * _GPU_MEMORY_SHARE * min(1.0, self.num_gpus)

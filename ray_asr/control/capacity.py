"""How many actors a cluster's nodes hold: cores, hyper-threads, NUMA nodes, memory and GPUs.

Owns the description of a cluster and the arithmetic of what fits on a node. Pure. Must not know
Ray, the configuration, or what is chosen from what fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Of a node's memory beside the object store, what actors may take: the rest is the system's,
# Ray's own processes' and the reading tasks'.
MEMORY_SHARE = 0.85
# One core in so many is kept where nothing is said. Decoding takes a few percent of what
# recognition takes on a CPU; a GPU is fed by its node's cores. A core of a small machine that is
# kept for reading alone idles (docs/performance.md).
_ONE_CORE_IN, _ONE_CORE_IN_WITH_GPUS = 16, 8
_RULE_KEEPS_ONE_IN = 8
AUTOMATIC = -1
_NODES_LISTED = 8


@dataclass(frozen=True, slots=True)
class Node:
    """One machine (or container) as its processes see it.

    Attributes:
        ray_cpus: what Ray grants there; a Ray of one's own claims one more than there are cores.
        cores: logical CPUs that processes may really use, by affinity and cgroup quota.
        physical_cores: those cores with hyper-threads counted once; 0: as many as `cores`.
        numa_nodes: parts with memory of their own over which the cores spread.
        memory_gb: what processes may use, in GiB; 0: not known.
        gpus: as Ray grants them.
        gpu_memory_gb: of each GPU, in GiB; 0: not known.
    """

    ray_cpus: float
    cores: float
    physical_cores: int = 0
    numa_nodes: int = 1
    memory_gb: float = 0.0
    gpus: float = 0.0
    gpu_memory_gb: float = 0.0

    @property
    def computing(self) -> int:
        """Cores that compute: what is really there, the two threads of a core counted once."""
        if self.cores <= 0:
            return 0
        return max(1, int(min(self.cores, self.physical_cores or self.cores)))

    @property
    def of_one_memory(self) -> int:
        """Cores that compute on one NUMA node."""
        return self.computing // max(1, self.numa_nodes)

    @property
    def hyper_threaded(self) -> bool:
        """Whether there are threads beside the computing cores, for reading and the system."""
        return int(self.cores) > self.computing


@dataclass(frozen=True, slots=True)
class ClusterResources:
    """The nodes that are there, and Ray's object store.

    Attributes:
        nodes: all that are alive.
        object_store_gb: of all nodes together, in GiB; 0: not known.
    """

    nodes: tuple[Node, ...]
    object_store_gb: float = 0.0

    @property
    def cores(self) -> float:
        """Logical CPUs that processes may really use."""
        return sum(node.cores for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs as Ray grants them."""
        return sum(node.gpus for node in self.nodes)

    @property
    def cpu_slots(self) -> int:
        """Whole CPUs that Ray grants."""
        return sum(int(node.ray_cpus) for node in self.nodes)

    def memory_for_actors_gb(self, node: Node) -> float:
        """What actors may take of a node's memory, in GiB; 0: not known."""
        known_gb = sum(other.memory_gb for other in self.nodes)
        if not node.memory_gb:
            return 0.0
        store_gb = self.object_store_gb * node.memory_gb / known_gb
        return max(0.0, node.memory_gb - store_gb) * MEMORY_SHARE

    def as_claimed(self) -> ClusterResources:
        """The same with Ray's word taken for every node's cores: what Ray would place."""
        claimed = [
            replace(node, cores=node.ray_cpus, physical_cores=0, numa_nodes=1)
            for node in self.nodes
        ]
        return replace(self, nodes=tuple(claimed))

    def described(self) -> str:
        """Cores and GPUs of each node, in words."""
        if len(self.nodes) <= _NODES_LISTED:
            return (
                f"{_listed([node.computing for node in self.nodes])} cores and "
                f"{_listed([node.gpus for node in self.nodes])} GPUs a node"
            )
        kinds = Counter((node.computing, node.gpus) for node in self.nodes).most_common(4)
        shown = ", ".join(f"{n} nodes of {c} cores and {g:g} GPUs" for (c, g), n in kinds)
        return f"{len(self.nodes)} nodes, most of them {shown}"


@dataclass(frozen=True, slots=True)
class Need:
    """What one recognizing actor takes of a node.

    Attributes:
        ncpu: cores.
        num_gpus: GPUs, whole or 1/n.
        memory_gb: of the host, in GiB; 0: not asked about.
        measured: whether the memory is known; an assumption never refuses a node's first actor.
    """

    ncpu: int
    num_gpus: float = 0.0
    memory_gb: float = 0.0
    measured: bool = False


def even_share(cores: int, processes: int) -> int:
    """Cores of each process by the rule of thumb: share evenly, after one core in eight is kept.

    Of 80 cores, 10 processes get 7 each and 10 are kept for the system.
    """
    return max(1, (cores - cores // _RULE_KEEPS_ONE_IN) // max(1, processes))


def kept_cores(node: Node, reserve: int) -> int:
    """Cores of a node on which no actor computes.

    Args:
        node: where.
        reserve: cores to keep; `AUTOMATIC`: one in sixteen, one in eight where there are GPUs, and
            none where the second threads of the cores are there for reading anyway.
    """
    if reserve != AUTOMATIC:
        return min(reserve, node.computing)
    if node.hyper_threaded:
        return 0
    return node.computing // (_ONE_CORE_IN_WITH_GPUS if node.gpus else _ONE_CORE_IN)


def actors_on(cluster: ClusterResources, node: Node, need: Need, reserve: int = AUTOMATIC) -> int:
    """Actors that one node holds."""
    granted = min(int(node.ray_cpus), node.computing - kept_cores(node, reserve))
    held = granted // need.ncpu
    if 1 < need.ncpu <= node.of_one_memory:  # no actor's cores lie on two sides of a machine
        held = min(held, node.of_one_memory // need.ncpu * node.numa_nodes)
    if need.num_gpus:
        held = min(held, int(node.gpus / need.num_gpus + 1e-9))
    memory_gb = cluster.memory_for_actors_gb(node)
    if need.memory_gb and memory_gb:
        by_memory = int(memory_gb / need.memory_gb + 1e-9)
        held = min(held, by_memory if need.measured else max(1, by_memory))
    return max(0, held)


def actors_that_fit(
    cluster: ClusterResources, need: Need, reserve: int = AUTOMATIC, beside: int = 0
) -> int:
    """Actors that all nodes hold, with one of Ray's CPUs left for reading.

    Actors on every CPU would starve the reading tasks, and the job would stand still.

    Args:
        cluster: the nodes.
        need: what an actor takes.
        reserve: cores of each node to keep (see `kept_cores`).
        beside: actors of one core each for other stages.
    """
    kinds = Counter(cluster.nodes)
    on_nodes = sum(n * actors_on(cluster, node, need, reserve) for node, n in kinds.items())
    slots = (cluster.cpu_slots - beside - 1) // need.ncpu
    really = sum(max(node.computing, int(node.cores)) for node in cluster.nodes) - beside
    return max(0, min(on_nodes, slots, really // need.ncpu))


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers) or "no"

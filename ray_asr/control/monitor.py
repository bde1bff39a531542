"""A run as it is seen: samples of every node, kept, exported as metrics, and at hand.

Owns the samplers on the nodes, and where their samples go. Must not know recognition. The driver's
own node is sampled by the driver: a sample takes 0.1 ms, a process of Ray's that does nothing 1 %
of a core. Another node is sampled while it has actors of ours: to Ray's autoscaler a node with any
actor is in use, a sampler too, and it would never go.

Metrics are exported by the driver, under names that begin with `asr_` (Ray puts `ray_` in front);
`docs/grafana/ray_asr.json` is a dashboard of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError
from ray.util.metrics import Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_asr.control.sampling import Sample, Sampler

_NODES_EVERY_S = 5.0
_LATE_S = 10.0  # a node that has not answered for so long is left out of what is latest

SAMPLES_SCHEMA = pa.schema(
    [
        ("time_s", pa.float64()),
        ("node", pa.string()),
        ("cpu_percent", pa.float64()),
        ("actors_cpu_percent", pa.float64()),
        ("actors", pa.int64()),
        ("busy_share", pa.float64()),
        ("load_1m", pa.float64()),
        ("memory_share", pa.float64()),
        ("gpu_percent", pa.float64()),
        ("gpu_memory_share", pa.float64()),
        ("core_groups", pa.list_(pa.struct({"group": pa.string(), "cpu_percent": pa.float64()}))),
        ("actors_busy", pa.list_(pa.struct({"actor": pa.string(), "busy_share": pa.float64()}))),
        ("running", pa.int64()),
        ("loading", pa.int64()),
        ("queued", pa.int64()),
        ("in_flight", pa.int64()),
        ("rows", pa.int64()),
        ("audio_s", pa.float64()),
        ("left_s", pa.float64()),
        ("batch_size_s", pa.float64()),
        ("padded_s", pa.float64()),
        ("speech_s", pa.float64()),
        ("work_s", pa.float64()),
    ]
)
# Of a node, of its parts, and of the run; what each means stands in `sampling.Sample` and `Run`.
NODE_GAUGES = (
    "cpu_percent", "actors_cpu_percent", "actors", "busy_share", "load_1m", "memory_share",
    "gpu_percent", "gpu_memory_share",
)  # fmt: skip
# A metric for each part of a node: the column, what tells its parts apart, and what they have.
PART_GAUGES = {
    "group_cpu_percent": ("core_groups", "group", "cpu_percent"),
    "actor_busy_share": ("actors_busy", "actor", "busy_share"),
}
RUN_GAUGES = (
    "running", "loading", "queued", "in_flight", "rows", "audio_s", "left_s", "batch_size_s",
    "padded_s", "speech_s", "work_s",
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """What the driver knows of the run at one moment.

    Attributes:
        running: recognizing actors that take work.
        loading: recognizing actors that load, or wait for a place.
        queued: chunks that wait for the recognizing pool.
        in_flight: chunks that its actors have.
        rows: delivered so far.
        audio_s: delivered so far, in seconds of audio.
        left_s: until the end, at the pace so far, in seconds; None before the first row.
        batch_size_s: padded seconds of a batch, as the last chunk had it; 0 before.
        padded_s: computed so far, segments as long as their batch made them, in seconds.
        speech_s: of these, what was speech, in seconds.
        work_s: that actors have worked on what was delivered, in seconds.
    """

    running: int = 0
    loading: int = 0
    queued: int = 0
    in_flight: int = 0
    rows: int = 0
    audio_s: float = 0.0
    left_s: float | None = None
    batch_size_s: float = 0.0
    padded_s: float = 0.0
    speech_s: float = 0.0
    work_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Latest:
    """All nodes together, as the last samples have them; None where nothing has come yet."""

    cpu_percent: float | None = None
    busy_share: float | None = None
    memory_share: float | None = None
    gpu_percent: float | None = None
    gpu_memory_share: float | None = None


class Monitor:
    """Watches from `start` to `stop`; also a context manager.

    Args:
        ncpu: cores granted to each of our actors.
        interval_s: between two samples of a node.
        nodes: says the ids of those that have actors of ours now.
        actors: says the process ids of our actors by the node's id, those that are gone included.
    """

    def __init__(
        self,
        ncpu: float,
        interval_s: float = 1.0,
        nodes: Callable[[], Collection[str]] = frozenset,
        actors: Callable[[], Mapping[str, Collection[int]]] = dict[str, set[int]],
    ) -> None:
        self._ncpu, self._interval_s = ncpu, interval_s
        self._nodes, self._actors = nodes, actors
        self._pids: Mapping[str, Collection[int]] = {}
        self.run = Run()
        self._samplers: dict[str, Any] = {}
        self._own_node = ""
        self._own_sampler: Sampler | None = None
        self._asked: dict[Any, str] = {}
        self._latest: dict[str, tuple[float, Sample]] = {}
        self._records: list[dict[str, Any]] = []
        self._gauges = {
            name: Gauge(f"asr_{name}", f"ray_asr: {name} of a node", tag_keys=("node",))
            for name in NODE_GAUGES
        } | {name: Gauge(f"asr_{name}", f"ray_asr: {name} of the run") for name in RUN_GAUGES}
        self._part_gauges = {
            name: Gauge(f"asr_{name}", f"ray_asr: {name}", tag_keys=("node", part))
            for name, (_, part, _) in PART_GAUGES.items()
        }
        self._parts: dict[tuple[str, str], set[str]] = {}
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="asr-monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=2 * self._interval_s + 5)
        for sampler in self._samplers.values():
            ray.kill(sampler)
        self._samplers.clear()

    def time_s(self) -> float:
        """Since it was made: the time of its samples."""
        return time.monotonic() - self._started

    def latest(self) -> Latest:
        """The cluster now: means of CPU and GPU, the fullest memory."""
        now = time.monotonic()
        samples = [sample for at, sample in list(self._latest.values()) if now - at < _LATE_S]
        gpus = [s.gpu_percent for s in samples if s.gpu_percent is not None]
        gpu_memory = [s.gpu_memory_share for s in samples if s.gpu_memory_share is not None]
        return Latest(
            cpu_percent=_mean([s.cpu_percent for s in samples]),
            busy_share=_mean([one.busy_share for s in samples for one in s.actors_busy]),
            memory_share=max((s.memory_share for s in samples), default=None),
            gpu_percent=_mean(gpus),
            gpu_memory_share=max(gpu_memory, default=None),
        )

    def table(self) -> pa.Table:
        """Every sample so far, a row for each node and moment (`SAMPLES_SCHEMA`)."""
        return pa.Table.from_pylist(list(self._records), schema=SAMPLES_SCHEMA)

    def mean(self, name: str) -> float | None:
        """The mean of a sampled number over all nodes and moments; None where there was none."""
        return _mean([record[name] for record in list(self._records) if record[name] is not None])

    def _watch(self) -> None:
        nodes_next = 0.0
        while not self._ended.wait(self._interval_s):
            now = time.monotonic()
            try:
                if now >= nodes_next:
                    nodes_next = now + _NODES_EVERY_S
                    self._look_at_nodes()
                self._collect()
                self._ask()
                if self._own_sampler is not None:
                    pids = self._pids.get(self._own_node, ())
                    self._keep(self._own_node, self._own_sampler.sample(pids))
            except RayError as error:
                logger.warning("the monitor missed a sample (%s).", type(error).__name__)

    def _look_at_nodes(self) -> None:
        self._pids = self._actors()
        if self._own_sampler is None:
            self._own_node = ray.get_runtime_context().get_node_id()
            self._own_sampler = Sampler(self._ncpu)
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        wanted = alive.intersection(self._nodes()) - {self._own_node}
        for node_id in set(self._samplers) - wanted:
            ray.kill(self._samplers.pop(node_id))
            self._latest.pop(node_id, None)
        for node_id in wanted - set(self._samplers):
            here = NodeAffinitySchedulingStrategy(node_id, soft=False)
            self._samplers[node_id] = (
                ray.remote(Sampler)
                .options(num_cpus=0, scheduling_strategy=here, max_concurrency=1)
                .remote(self._ncpu)
            )

    def _ask(self) -> None:
        waiting = set(self._asked.values())
        for node_id, sampler in self._samplers.items():
            if node_id not in waiting:  # one that is slow is asked no more often than it answers
                pids = list(self._pids.get(node_id, ()))
                self._asked[sampler.sample.remote(pids)] = node_id

    def _collect(self) -> None:
        if not self._asked:
            return
        references = list(self._asked)
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        for reference in ready:
            node_id = self._asked.pop(reference)
            try:
                sample: Sample = ray.get(reference)
            except RayError:  # its node is gone, or the sampler: another is started there
                self._samplers.pop(node_id, None)
                continue
            self._keep(node_id, sample)

    def _keep(self, node_id: str, sample: Sample) -> None:
        now = time.monotonic()
        self._latest[node_id] = now, sample
        of_node, of_run = asdict(sample), asdict(self.run)
        node = node_id[:8]
        self._records.append({"time_s": now - self._started, "node": node, **of_node, **of_run})
        for name in NODE_GAUGES:
            if of_node[name] is not None:
                self._gauges[name].set(of_node[name], tags={"node": node})
        for name in RUN_GAUGES:
            if of_run[name] is not None:
                self._gauges[name].set(of_run[name])
        for name, (column, part, figure) in PART_GAUGES.items():
            figures = {one[part]: one[figure] for one in of_node[column]}
            gone = self._parts.get((node, name), set()) - figures.keys()
            self._parts[node, name] = set(figures)
            for which, value in {**dict.fromkeys(gone, 0.0), **figures}.items():
                self._part_gauges[name].set(value, tags={"node": node, part: which})


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None

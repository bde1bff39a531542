"""Clusters on paper and what was measured of a model, for tests of plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray_asr.config import Config, with_settings
from ray_asr.control.plan import ClusterResources, Node, Plan, make_plan


@dataclass(frozen=True)
class Measured:
    """A footprint: a model of 2 GB, and 10 MB for each padded second."""

    memory_gb: float = 2.0
    loading_gb: float = 2.0
    gb_per_padded_s: float = 0.01
    gpu_memory_gb: float = 0.0
    gpu_gb_per_padded_s: float = 0.0
    load_s: float = 7.0
    precision: str = "int8"


@dataclass(frozen=True)
class Entry:
    ncpu: int = 2
    actors: int = 3
    batch_size_s: float = 45.0
    precision: str = "fp32"
    stages: str = "fused"
    x_real_time: float = 90.0


@dataclass(frozen=True)
class Fastest:
    """A baseline with one entry."""

    entry: Entry = Entry()

    def best(self) -> Entry:
        return self.entry

    def steady_best(self) -> float:
        return self.entry.x_real_time


def cluster(*nodes: Node, store_gb: float = 0.0) -> ClusterResources:
    return ClusterResources(nodes, store_gb)


def machine(cores: int, memory_gb: float = 0.0, **more: Any) -> Node:
    return Node(float(cores), float(cores), memory_gb=memory_gb, **more)


def plan_for(
    nodes: ClusterResources | Node,
    footprint: Measured | None = None,
    baseline: Fastest | None = None,
    **settings: Any,
) -> Plan:
    resources = cluster(nodes) if isinstance(nodes, Node) else nodes
    return make_plan(resources, footprint, with_settings(Config(), settings), baseline)


def on_gpus(share: float = 1.0, **settings: Any) -> dict[str, Any]:
    return {"device": "cuda", "num_gpus": share, **settings}

"""How many actors nodes hold beside a CPU that reads, and what is hoped for."""

from __future__ import annotations

import pytest

from ray_asr.control.cluster_nodes import ClusterNodes, room_of


@pytest.mark.parametrize(
    ("nodes", "num_cpus", "num_gpus", "room"),
    [
        ([], 1.0, 0.0, 0),
        ([{"CPU": 3.0}], 1.0, 0.0, 2),
        ([{"CPU": 4.0}], 0.25, 0.0, 12),
        ([{"CPU": 2.0}, {"CPU": 2.0}], 1.0, 0.0, 3),
        ([{"CPU": 9.0}], 4.0, 0.0, 2),  # one is left anyhow
        ([{"CPU": 8.0}], 4.0, 0.0, 1),
        ([{"CPU": 8.0}, {"CPU": 2.0}], 4.0, 0.0, 2),  # the small node reads
        ([{"CPU": 0.0}, {"CPU": 8.0}], 2.0, 0.0, 3),  # a head that computes nothing
        ([{"CPU": 16.0, "GPU": 2.0}], 2.0, 1.0, 2),
        ([{"CPU": 4.0, "GPU": 4.0}], 1.0, 0.5, 3),
        ([{"CPU": 8.0}], 2.0, 1.0, 0),
        ([{"CPU": 1.0}], 2.0, 0.0, 0),
    ],
)
def test_room_leaves_a_cpu_to_read_with(
    nodes: list[dict[str, float]], num_cpus: float, num_gpus: float, room: int
) -> None:
    assert room_of(nodes, num_cpus, num_gpus) == room


def test_what_the_nodes_do_not_hold_is_not_made() -> None:
    nodes = ClusterNodes(1.0, 0.0)
    assert nodes.want(4, 0.0) == 4, "nothing is known yet"
    nodes.room = 2
    assert [nodes.want(actors, 1.0) for actors in (1, 2, 3, 8)] == [1, 2, 2, 2]
    assert nodes.node_s(8) == 0.0, "without an autoscaler that this module knows no node comes"

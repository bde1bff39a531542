"""Fifty jobs on paper, from a seed: what the policy is measured on.

Owns what each workload is. Must not know policies. Each has at least two chunks for an actor that
its cluster could hold: with fewer, the fastest pool and the cheapest are different pools, and no
policy is near to both.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from ray_asr.control.paper_job import Curve, Workload

_Draw = random.Random


def roofline(alone: float, knee: float, most: int, sharp: float, falls: float = 0.0) -> Curve:
    """A node whose actors share something that is full with `knee` of them.

    Args:
        alone: speed of one actor, in seconds of audio a second.
        knee: actors that fill what they share (memory bandwidth, a GPU, physical cores).
        most: actors to give speeds for.
        sharp: 2 is a gentle bend, 12 a corner.
        falls: share of the speed that each actor beyond the knee costs.
    """
    speeds: list[float] = []
    for actors in range(1, most + 1):
        shared = actors / (1 + (actors / knee) ** sharp) ** (1 / sharp)
        speeds.append(alone * shared * max(0.2, 1 - falls * max(0.0, actors - knee)))
    return Curve(tuple(speeds))


def even(alone: float, most: int, share: float = 1.0) -> Curve:
    """A node whose actors barely disturb each other: each more brings `share` of the one before."""
    speeds = [alone * sum(share**i for i in range(actors)) for actors in range(1, most + 1)]
    return Curve(tuple(speeds))


def _chunks(draw: _Draw, count: int, mean_s: float, spread: float) -> tuple[float, ...]:
    """Lengths with a log-normal spread about a mean, in seconds of audio."""
    middle = math.log(mean_s) - spread * spread / 2
    return tuple(draw.lognormvariate(middle, spread) for _ in range(count))


def _sized(draw: _Draw, actors: int, rounds: float, spread: float) -> tuple[float, ...]:
    """Chunks of about a minute: as many as `actors` at work take `rounds` each for."""
    return _chunks(draw, round(actors * rounds), draw.uniform(45, 75), spread)


def _one_machine(draw: _Draw) -> Workload:
    room = draw.choice([3, 4, 6, 8])
    curve = even(draw.uniform(8, 25), room, draw.uniform(0.98, 1.0))
    return Workload(
        name=f"one machine, {room} actors",
        chunks_s=_sized(draw, room, draw.uniform(60, 200), 0.25),
        curve=curve,
        load_s=draw.uniform(10, 30),
        nodes=1,
        room=room,
        core_share=0.9 / room,
    )


def _knee(draw: _Draw) -> Workload:
    room, nodes = draw.choice([6, 8, 8]), draw.choice([1, 1, 2])
    knee = draw.uniform(2.5, 0.6 * room)
    curve = roofline(draw.uniform(8, 25), knee, room, draw.uniform(12, 20), draw.uniform(0, 0.01))
    return Workload(
        name=f"knee at {knee:.1f} of {room}, {nodes} node(s)",
        chunks_s=_sized(draw, math.ceil(knee) * nodes, draw.uniform(350, 600), 0.3),
        curve=curve,
        load_s=draw.uniform(5, 20),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


def _falling(draw: _Draw) -> Workload:
    room, nodes = 8, draw.choice([1, 2, 4])
    knee = draw.uniform(3.0, 5.0)
    curve = roofline(draw.uniform(8, 25), knee, room, 12, draw.uniform(0.01, 0.03))
    return Workload(
        name=f"slower beyond {knee:.1f} of {room}, {nodes} node(s)",
        chunks_s=_sized(draw, math.ceil(knee) * nodes, draw.uniform(250, 450), 0.3),
        curve=curve,
        load_s=draw.uniform(5, 20),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


def _cluster(draw: _Draw) -> Workload:
    nodes, room = draw.choice([8, 16, 32]), draw.choice([2, 4])
    curve = even(draw.uniform(10, 40), room, draw.uniform(0.97, 1.0))
    return Workload(
        name=f"{nodes} nodes with {room}",
        chunks_s=_sized(draw, nodes * room, draw.uniform(40, 80), 0.3),
        curve=curve,
        load_s=draw.uniform(10, 40),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


def _cluster_knee(draw: _Draw) -> Workload:
    nodes, room = draw.choice([8, 12, 16]), draw.choice([4, 6])
    knee = draw.uniform(0.45, 0.65) * room
    curve = roofline(draw.uniform(10, 40), knee, room, draw.uniform(12, 20), draw.uniform(0, 0.02))
    return Workload(
        name=f"{nodes} nodes, knee at {knee:.1f} of {room}",
        chunks_s=_sized(draw, math.ceil(knee) * nodes, draw.uniform(150, 250), 0.3),
        curve=curve,
        load_s=draw.uniform(5, 15),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


def _gpus(draw: _Draw) -> Workload:
    nodes, room = draw.choice([64, 128, 256]), draw.choice([1, 2])
    curve = even(draw.uniform(300, 900), room, 0.9)
    return Workload(
        name=f"{nodes} GPU nodes with {room}",
        chunks_s=_chunks(draw, round(nodes * room * draw.uniform(15, 25)), 3600, 0.3),
        curve=curve,
        load_s=draw.uniform(20, 60),
        nodes=nodes,
        room=room,
        core_share=0.1,
        gpu=True,
    )


def _cloud(draw: _Draw) -> Workload:
    nodes, room = draw.choice([16, 32, 64]), draw.choice([1, 2])
    curve = even(draw.uniform(100, 300), room, 1.0)
    return Workload(
        name=f"{nodes} cloud nodes that come when asked",
        chunks_s=_chunks(draw, round(nodes * room * draw.uniform(60, 100)), 2400, 0.3),
        curve=curve,
        load_s=draw.uniform(5, 9),
        nodes=nodes,
        room=room,
        nodes_at_start=draw.choice([1, 2, 4]),
        node_s=draw.uniform(45, 120),
        core_share=0.4,
    )


def _spot(draw: _Draw) -> Workload:
    nodes, room = draw.choice([8, 16, 32]), draw.choice([2, 4])
    curve = even(draw.uniform(10, 40), room, 1.0)
    rounds, load_s = draw.uniform(80, 160), draw.uniform(8, 20)
    chunks = _sized(draw, nodes * room, rounds, 0.3)
    lasts_s = sum(chunks) / curve.speeds[-1] / nodes
    losses = sorted(draw.uniform(0.1, 0.85) * lasts_s for _ in range(draw.randint(2, 6)))
    return Workload(
        name=f"{nodes} nodes with {room}, {len(losses)} lost",
        chunks_s=chunks,
        curve=curve,
        load_s=load_s,
        nodes=nodes,
        room=room,
        node_s=draw.uniform(30, 90),
        losses=tuple((at_s, draw.randrange(nodes)) for at_s in losses),
        core_share=0.9 / room,
    )


def _heavy(draw: _Draw) -> Workload:
    nodes, room = draw.choice([2, 4, 8]), draw.choice([4, 6])
    curve = even(draw.uniform(10, 30), room, 0.98)
    spread = draw.uniform(0.8, 1.2)
    return Workload(
        name=f"{nodes} nodes, chunks of a spread of {spread:.1f}",
        chunks_s=_sized(draw, nodes * room, draw.uniform(60, 120), spread),
        curve=curve,
        load_s=draw.uniform(10, 40),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


def _tail(draw: _Draw) -> Workload:
    nodes, room = draw.choice([2, 8, 32]), draw.choice([2, 4])
    curve = even(draw.uniform(2, 6), room, 1.0)
    return Workload(
        name=f"{nodes} nodes with {room}, mostly tail",
        chunks_s=_sized(draw, nodes * room, draw.uniform(4.0, 8.0), 0.3),
        curve=curve,
        load_s=draw.uniform(10, 60),
        nodes=nodes,
        room=room,
        core_share=0.9 / room,
    )


_KINDS: Sequence[Callable[[_Draw], Workload]] = (
    _one_machine, _knee, _falling, _cluster, _cluster_knee, _gpus, _cloud, _spot, _heavy, _tail,
)  # fmt: skip


def workloads(count: int = 50, seed: int = 0) -> list[Workload]:
    """`count` workloads, of ten kinds in turn; the same for the same seed, and each for its place.

    Args:
        count: of workloads.
        seed: of all that is drawn.
    """
    drawn: list[Workload] = []
    for number in range(count):
        draw = random.Random(seed * 10_007 + number)
        drawn.append(_KINDS[number % len(_KINDS)](draw))
    return drawn

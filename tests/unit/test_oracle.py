"""The best size in hindsight is no worse than any that could be tried by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.control.oracle import hindsight
from ray_asr.control.paper_job import Curve, Workload
from ray_asr.control.rival_policies import FixedSize, PiecewiseSize
from ray_asr.control.simulated_cluster import Simulation

CURVE = Curve((20.0, 34.0, 35.0, 34.0))
NODES, ROOM = 2, 4


def job(**changes: object) -> Workload:
    plain: dict[str, object] = {
        "name": "knee", "chunks_s": (60.0,) * 80, "curve": CURVE, "load_s": 5.0,
        "nodes": NODES, "room": ROOM,
    }  # fmt: skip
    return Workload(**(plain | changes))  # pyright: ignore[reportArgumentType]


def test_the_best_fixed_size_is_the_cheapest_of_the_fastest() -> None:
    known = hindsight(job())
    every = {n: Simulation(job(), FixedSize(n)).run() for n in range(1, NODES * ROOM + 1)}
    least_s = min(outcome.makespan_s for outcome in every.values())
    assert known.fixed == every[known.fixed_actors]
    assert known.largest == every[NODES * ROOM]
    assert known.fixed.makespan_s <= 1.01 * least_s
    assert known.fixed.actor_hours == min(
        o.actor_hours for o in every.values() if o.makespan_s <= 1.01 * least_s
    )


@settings(max_examples=15, deadline=None)
@given(
    chunks=st.integers(5, 60),
    spread=st.floats(0.0, 1.5),
    load_s=st.floats(0.5, 60.0),
    room=st.integers(1, 6),
)
def test_in_hindsight_nothing_tried_is_better(
    chunks: int, spread: float, load_s: float, room: int
) -> None:
    lengths = tuple(60.0 * (1 + spread * ((7 * n) % 11) / 11) for n in range(chunks))
    work = job(chunks_s=lengths, load_s=load_s, nodes=1, room=room)
    known = hindsight(work)
    least_s = min(outcome.makespan_s for outcome in known.tried.values())
    assert known.best.makespan_s <= 1.01 * least_s
    cheaper = known.best.actor_hours <= known.fixed.actor_hours * (1 + 1e-9)
    assert cheaper or known.best.makespan_s < known.fixed.makespan_s
    again = PiecewiseSize([(known.sizes[0], known.until), (known.sizes[-1], 1.0)])
    assert Simulation(work, again).run() == known.best


def test_pieces_are_found_where_a_curve_lets_them_win() -> None:
    # With 1 % of the time to give away, a part of the job is done by one actor less.
    known = hindsight(
        job(chunks_s=(60.0,) * 600, nodes=1, curve=Curve((20.0, 39.0, 56.0, 57.0)), noise=0.0)
    )
    assert len(known.sizes) == 2
    assert 0 < known.until < 1
    assert known.best.makespan_s < known.fixed.makespan_s * 1.01
    assert known.best.actor_hours < known.fixed.actor_hours
    assert known.described() == (
        f"{known.sizes[0]}, after {100 * known.until:.0f} % {known.sizes[1]}"
    )


def test_one_place_has_one_size() -> None:
    known = hindsight(job(nodes=1, room=1))
    assert (known.sizes, known.until, known.described()) == ((1,), 1.0, "1")


@pytest.mark.parametrize(("done", "size"), [(0.0, 3), (0.49, 3), (0.5, 2), (0.99, 2)])
def test_a_piece_begins_when_its_share_is_done(done: float, size: int) -> None:
    from ray_asr.control.signals import Signals

    policy = PiecewiseSize([(3, 0.5), (2, 1.0)])
    seen = Signals(5.0, 3, 0, 0, 100 * done, 100 * (1 - done), queued=9, in_flight=6)
    assert policy.decide(seen).target == size

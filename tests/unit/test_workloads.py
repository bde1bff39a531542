from __future__ import annotations

import pytest

from ray_asr.control.workloads import even, roofline, workloads


def test_a_seed_gives_the_same_fifty() -> None:
    assert workloads(50, 7) == workloads(50, 7)
    assert workloads(50, 7) != workloads(50, 8)
    assert workloads(10, 7) == workloads(50, 7)[:10]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fifty_hold_what_makes_scaling_hard(seed: int) -> None:
    fifty = workloads(50, seed)
    assert len(fifty) == 50
    assert max(work.nodes for work in fifty) == 256
    assert min(work.nodes for work in fifty) == 1
    knees = [w for w in fifty if w.curve.speeds[-1] < 0.85 * w.room * w.curve.speeds[0]]
    assert len(knees) >= 12
    assert sum(w.curve.speeds[-1] < max(w.curve.speeds) for w in fifty) >= 5
    assert sum(bool(work.losses) for work in fifty) >= 5
    assert sum(work.elastic for work in fifty) >= 5
    assert sum(work.gpu for work in fifty) >= 5
    for work in fifty:
        alone_s = sum(map(work.curve.service_s, work.chunks_s))
        assert work.load_s > 0.002 * alone_s / work.most  # no load comes for nothing
        assert len(work.chunks_s) >= 2 * work.most or work.losses


def test_a_roofline_bends_where_it_is_full() -> None:
    speeds = roofline(10.0, knee=3.0, most=6, sharp=12).speeds
    assert speeds[1] == pytest.approx(20.0, rel=0.01)
    assert speeds[5] == pytest.approx(30.0, rel=0.01)
    assert roofline(10.0, knee=3.0, most=6, sharp=12, falls=0.05).speeds[5] < speeds[5]


def test_even_actors_bring_nearly_the_same() -> None:
    assert even(10.0, 3).speeds == pytest.approx((10.0, 20.0, 30.0))
    assert even(10.0, 2, share=0.9).speeds == pytest.approx((10.0, 19.0))

from __future__ import annotations

from ray_asr.control.rival_policies import FixedSize, RayNodes, RayRule
from ray_asr.control.signals import Signals


def seen(time_s: float, running: int, pending: int, queued: int, in_flight: int, idle: int = 0):
    return Signals(
        time_s, running, pending, 0, 0.0, 1e4, queued, in_flight, room=20, idle=idle, all_read=True
    )


def test_ray_waits_for_its_first_actor() -> None:
    rule = RayRule(most=20)
    assert rule.decide(seen(0.0, 0, 0, 100, 0)).target == 1
    assert rule.decide(seen(1.0, 0, 1, 100, 0)).target == 1


def test_ray_grows_to_its_backlog_and_to_the_room() -> None:
    assert RayRule(most=20).decide(seen(9.0, 1, 0, 12, 2)).target == 8  # 14 / 1.75
    assert RayRule(most=99).decide(seen(9.0, 1, 0, 500, 2)).target == 20
    assert RayRule(most=5).decide(seen(9.0, 1, 0, 500, 2)).target == 5


def test_ray_stays_between_its_thresholds() -> None:
    assert RayRule(most=20).decide(seen(9.0, 4, 0, 100, 6)).target == 4


def test_ray_drains_ten_a_second_at_the_end() -> None:
    rule = RayRule(most=20)
    rule.decide(seen(9.0, 20, 0, 3, 40))
    assert rule.decide(seen(10.0, 20, 0, 0, 5, idle=15)).target == 10
    assert rule.decide(seen(11.0, 10, 0, 0, 5, idle=5)).target == 5


def test_ray_asks_for_one_node_more_while_those_there_are_busy() -> None:
    nodes = RayNodes()
    assert nodes(0.0, 2, 1.0) == 3
    assert nodes(5.0, 2, 1.0) == 3
    assert nodes(20.0, 3, 1.0) == 4
    assert nodes(40.0, 4, 0.1) == 4


def test_a_fixed_pool_gives_up_who_has_no_chunk_at_the_end() -> None:
    assert FixedSize(6).decide(seen(1.0, 6, 0, 10, 12)).target == 6
    assert FixedSize(6).decide(seen(1.0, 6, 0, 0, 2, idle=4)).target == 2

"""How long Ray Data's scheduling loop rests between two turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.control import turns


def test_it_rests_for_a_part_of_a_chunk() -> None:
    assert turns.rest_s(0.8, waiting=3) == pytest.approx(0.1)
    assert turns.rest_s(60.0, waiting=3) == pytest.approx(0.4)


def test_it_does_not_rest_where_every_turn_counts() -> None:
    assert turns.rest_s(None, waiting=3) == 0  # the first chunks are on their way
    assert turns.rest_s(60.0, waiting=0) == 0  # an actor may have nothing to do
    assert turns.rest_s(0.2, waiting=3) == 0  # chunks are short


@given(st.floats(0, 1e6), st.integers(0, 1000))
def test_a_turn_comes_well_before_a_chunk_is_done(chunk_s: float, waiting: int) -> None:
    rest_s = turns.rest_s(chunk_s, waiting)
    assert 0 <= rest_s <= 0.4
    assert rest_s == 0 or rest_s + 0.1 <= chunk_s / 4 + 1e-9

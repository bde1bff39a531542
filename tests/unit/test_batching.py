from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.job.batching import group_by_padded_seconds, scatter

PROPERTY = settings(max_examples=100, deadline=None, database=None)
DURATIONS = st.lists(st.floats(0, 120, allow_nan=False), max_size=60)
BATCH_SIZES = st.floats(1, 300, allow_nan=False)


@PROPERTY
@given(DURATIONS, BATCH_SIZES)
def test_every_index_stands_in_exactly_one_group(durations: list[float], size: float) -> None:
    groups = group_by_padded_seconds(durations, size)
    assert sorted(i for group in groups for i in group) == list(range(len(durations)))
    assert all(groups)


@PROPERTY
@given(DURATIONS, BATCH_SIZES)
def test_padded_seconds_stay_within_the_bound_unless_alone(
    durations: list[float], size: float
) -> None:
    for group in group_by_padded_seconds(durations, size):
        padded = len(group) * max(durations[i] for i in group)
        assert padded <= size or len(group) == 1


@PROPERTY
@given(DURATIONS, BATCH_SIZES)
def test_longest_come_first_and_groups_are_full(durations: list[float], size: float) -> None:
    groups = group_by_padded_seconds(durations, size)
    in_order = [durations[i] for group in groups for i in group]
    assert in_order == sorted(durations, reverse=True)
    for group in groups[:-1]:  # one more would have been too many
        assert (len(group) + 1) * durations[group[0]] > size


@PROPERTY
@given(DURATIONS, BATCH_SIZES)
def test_scatter_restores_the_order(durations: list[float], size: float) -> None:
    groups = group_by_padded_seconds(durations, size)
    names = [[f"of {i}" for i in group] for group in groups]
    assert scatter(groups, names) == [f"of {i}" for i in range(len(durations))]


@PROPERTY
@given(DURATIONS, BATCH_SIZES)
def test_equal_input_gives_equal_groups(durations: list[float], size: float) -> None:
    assert group_by_padded_seconds(durations, size) == group_by_padded_seconds(durations, size)


def test_nothing_gives_no_groups() -> None:
    assert group_by_padded_seconds([], 60.0) == []
    assert scatter([], []) == []


def test_one_longer_than_the_bound_stands_alone() -> None:
    assert group_by_padded_seconds([100.0, 1.0, 1.0], 60.0) == [[0], [1, 2]]


def test_a_group_may_reach_the_bound_exactly() -> None:
    assert group_by_padded_seconds([20.0, 20.0, 20.0, 20.0], 60.0) == [[0, 1, 2], [3]]


def test_results_that_cannot_be_compared_are_scattered_too() -> None:
    first, second = object(), object()
    assert scatter([[1], [0]], [[second], [first]]) == [first, second]


@pytest.mark.parametrize("results", [[["a"]], [["a", "b", "c"]], [["a", "b"], ["c"]], []])
def test_another_number_of_results_is_an_error(results: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="zip"):
        scatter([[0, 1]], results)

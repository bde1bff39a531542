from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.results.histograms import Histogram, by_factors, by_steps, from_dict


@given(st.lists(st.floats(0.001, 1e6), max_size=200), st.integers(1, 60))
def test_every_value_is_counted_once_whatever_is_trimmed(values: list[float], bins: int) -> None:
    counts = by_factors(0.05, 43_200.0)
    counts.add(values)
    assert counts.total == len(values)
    shown = counts.trimmed(bins)
    assert shown.total == len(values)
    assert len(shown.counts) <= bins
    assert np.all(np.diff(shown.edges) > 0)


@given(st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=200), st.floats(0.0, 1.0))
def test_a_quantile_is_right_to_a_bin(values: list[float], share: float) -> None:
    counts = by_factors(0.05, 2000.0)
    counts.add(values)
    found = counts.quantile(share)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert found is not None
    assert exact / 1.1 <= found <= exact * 1.1


def test_what_is_no_number_is_left_out_and_what_is_outside_counts_at_the_ends() -> None:
    counts = by_steps(0.0, 1.0, 4)
    counts.add([float("nan"), float("inf"), -5.0, 0.25, 1.0, 7.0])
    assert counts.counts.tolist() == [1, 1, 0, 2]
    assert Histogram([0.0, 1.0]).quantile(0.5) is None
    assert Histogram([0.0, 1.0, 2.0]).trimmed(5).total == 0


def test_it_comes_back_from_json() -> None:
    counts = by_factors(1e-5, 100.0)
    counts.add([0.02, 0.03, 5.0])
    back = from_dict(json.loads(json.dumps(counts.to_dict())))
    assert back is not None
    assert back.counts.tolist() == counts.counts.tolist()
    assert back.edges.tolist() == counts.edges.tolist()


@pytest.mark.parametrize(
    "damaged",
    [
        None, [], {}, {"edges": [0, 1], "counts": []}, {"edges": [1, 0], "counts": [1]},
        {"edges": ["a", "b"], "counts": [1]}, {"edges": [0, 1], "counts": [None]},
        {"edges": [[0, 1]], "counts": [1]}, {"edges": 3, "counts": 2},
        {"edges": [0, float("nan")], "counts": [1]},
    ],
)  # fmt: skip
def test_what_is_no_histogram_is_none(damaged: object) -> None:
    assert from_dict(damaged) is None

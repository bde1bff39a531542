"""Times of tokens equal those that FunASR computes one utterance at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.engine.cif_times import token_times


def theirs(weights: np.ndarray, fires: np.ndarray, tokens: int, upsampling: int):
    from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard

    _, times = ts_prediction_lfr6_standard(
        torch.from_numpy(weights.copy()),
        torch.from_numpy(fires.copy()),
        ["a"] * tokens,
        upsample_rate=upsampling,
    )
    return times


@settings(max_examples=150, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    upsampling=st.sampled_from([1, 3]),
    lengths=st.lists(st.integers(5, 150), min_size=1, max_size=5),
    off=st.integers(-2, 2),
)
def test_times_are_those_of_funasr(
    seed: int, upsampling: int, lengths: list[int], off: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    weights = (np.abs(random.normal(0.25, 0.2, shape)) * (random.random(shape) < 0.6)).astype("f4")
    sums = np.cumsum(weights, 1)
    before = np.concatenate([np.zeros((len(lengths), 1)), sums[:, :-1]], 1)
    fires = ((np.floor(sums) > np.floor(before)) + sums - np.floor(sums)).astype(np.float32)
    # As many tokens as fires say, or some more or less: then the weights are scaled to fit.
    tokens = [
        max(0, int((fires[i, :n] >= 1 - 1e-4).sum()) - 1 + off) for i, n in enumerate(lengths)
    ]
    ours = token_times(weights, fires, lengths, tokens, upsampling)
    for i, length in enumerate(lengths):
        if weights[i, :length].sum() == 0:
            continue  # FunASR divides by it
        expected = theirs(weights[i, :length], fires[i, :length], tokens[i], upsampling)
        if ours[i] is None:  # where the scaled weights fire too often or not often enough
            assert len(expected) != tokens[i]
        else:
            assert ours[i] == expected


def test_an_utterance_without_tokens_has_no_times() -> None:
    nothing = np.zeros((1, 10), np.float32)
    assert token_times(nothing, nothing, [10], [0], 1) == [[]]


def test_weights_that_never_fire_have_no_times() -> None:
    nothing = np.zeros((1, 10), np.float32)
    with np.errstate(all="ignore"):
        assert token_times(nothing, nothing, [10], [3], 1) == [None]


@pytest.mark.parametrize("upsampling", [1, 3])
def test_frames_behind_an_utterance_do_not_count(upsampling: int) -> None:
    random = np.random.default_rng(1)
    weights = random.random((1, 40)).astype(np.float32)
    fires = (random.random((1, 40)) < 0.3).astype(np.float32)
    padded = [np.pad(rows, ((0, 0), (0, 30)), constant_values=1.0) for rows in (weights, fires)]
    tokens = [int(fires.sum()) - 1]
    alone = token_times(weights, fires, [40], tokens, upsampling)
    assert token_times(*padded, [40], tokens, upsampling) == alone

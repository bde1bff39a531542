"""When each token of a CIF model was spoken, for a whole batch on the host.

Owns the way from a predictor's weights and fires to milliseconds. Must not know Ray, Parquet or
models.

Source: `funasr.utils.timestamp_tools.ts_prediction_lfr6_standard` (1.4.16), whose numbers these
are; it walks each utterance's frames one by one in Python.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

# In FunASR's words: a fire stands one and a half frames after the token it belongs to begins.
_SHIFT = -1.5
_LONGEST_TOKEN = 12  # frames; what is longer is followed by silence
_SILENT_END = 5  # frames after the last fire that make a silence of their own
_FIRED = np.float32(1.0 - 1e-4)
_FRAME_S = 0.06

Times = list[list[int]]


def token_times(
    weights: NDArray[np.float32],
    fires: NDArray[np.float32],
    frames: Sequence[int],
    tokens: Sequence[int],
    upsampling: int,
) -> list[Times | None]:
    """Start and end of each token, in ms from the beginning of its utterance.

    Args:
        weights: the predictor's alphas, `(N, T)`.
        fires: the integrated weights, `(N, T)`: a token ends where they reach 1.
        frames: how many of the `T` frames belong to each utterance.
        tokens: how many tokens each utterance has.
        upsampling: predictor frames in one encoder frame of 60 ms.

    Returns:
        One list of `[start_ms, end_ms]` an utterance; None where fires and tokens do not agree.
    """
    fired = [np.flatnonzero(fires[i, :count] >= _FIRED) for i, count in enumerate(frames)]
    unequal = [i for i, count in enumerate(tokens) if count and len(fired[i]) != count + 1]
    for index, places in zip(
        unequal, _fires_of_scaled_weights(weights, frames, tokens, unequal), strict=True
    ):
        fired[index] = places
    return [
        _times(places, count, length, upsampling)
        for places, count, length in zip(fired, tokens, frames, strict=True)
    ]


def _fires_of_scaled_weights(
    weights: NDArray[np.float32],
    frames: Sequence[int],
    tokens: Sequence[int],
    chosen: Sequence[int],
) -> list[NDArray[np.intp]]:
    """Where the `chosen` utterances fire once their weights sum to one more than their tokens."""
    if not chosen:
        return []
    longest = max(frames[i] for i in chosen)
    scaled = np.zeros((longest, len(chosen)), np.float32)
    for column, index in enumerate(chosen):
        mine = torch.from_numpy(weights[index, : frames[index]])
        scaled[: frames[index], column] = (mine / (mine.sum() / (tokens[index] + 1))).numpy()
    # In float32 and in this order, as the sums of FunASR are rounded.
    level = np.zeros(len(chosen), np.float32)
    reached = np.zeros((longest, len(chosen)), bool)
    for frame in range(longest):
        level += scaled[frame]
        np.greater_equal(level, _FIRED, out=reached[frame])
        level = np.where(reached[frame], level - _FIRED, level)
    return [np.flatnonzero(reached[: frames[index], column]) for column, index in enumerate(chosen)]


def _times(places: NDArray[np.intp], tokens: int, frames: int, upsampling: int) -> Times | None:
    """The tokens between fires at frames `places`, of an utterance of `frames` frames."""
    if tokens == 0:
        return []
    if len(places) != tokens + 1:
        return None
    frame_s = _FRAME_S / upsampling
    begins = places[:-1] + _SHIFT
    ends = np.minimum(places[1:] + _SHIFT, begins + _LONGEST_TOKEN)
    last_fire = places[-1] + _SHIFT
    if last_fire - begins[-1] <= _LONGEST_TOKEN:  # else a silence stands behind the last token
        silent = frames - last_fire > _SILENT_END
        ends[-1] = (frames + last_fire) * 0.5 if silent else frames
    return [
        [int(begin * frame_s * 1000), int(end * frame_s * 1000)]
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]

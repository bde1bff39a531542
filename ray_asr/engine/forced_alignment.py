"""When each token of a text is said, by a CTC layer's scores of every frame.

Owns the best path. Must not know where scores or tokens come from.

FunASR 1.4.16 has torchaudio find it, which it does without otherwise, and which has no wheel beside
every torch: without it each row of Fun-ASR-Nano fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_NEVER = -np.inf


def forced_align(log_probs: Any, targets: Any, blank: int = 0) -> list[dict[str, Any]]:
    """Frames of each token on the best path, as the function of FunASR's that is called so.

    Args:
        log_probs: `(T, V)`, a tensor.
        targets: tokens in their order, `(U,)`, a tensor.
        blank: the token between tokens.

    Returns:
        For each token `token`, `start_time` and `end_time` in frames and `score`; nothing where the
        tokens do not fit the frames.
    """
    tokens = [int(token) for token in targets.tolist()]
    scores = log_probs.float().cpu().numpy()
    if not tokens or not len(scores) or max(tokens) >= scores.shape[1]:
        return []
    states = np.full(2 * len(tokens) + 1, blank)
    states[1::2] = tokens
    path = _best_path(scores[:, states], states, blank)
    found: list[dict[str, Any]] = []
    for number, token in enumerate(tokens):
        frames = np.flatnonzero(path == 2 * number + 1)
        if not len(frames):
            return []
        best = float(np.exp(scores[frames, token]).max())
        start, end = int(frames[0]), int(frames[-1]) + 1
        found.append(
            {"token": token, "start_time": start, "end_time": end, "score": round(best, 3)}
        )
    return found


def _best_path(
    emitted: npt.NDArray[np.float32], states: npt.NDArray[np.int64], blank: int
) -> npt.NDArray[np.int64]:
    """The state of each frame on the best path, -1 throughout where there is none.

    A path goes on in its state, to the next, or past a blank that stands between two tokens that
    differ; it begins and ends with the first or last token, or the blank before or behind it.

    Args:
        emitted: each frame's score of each state, `(T, S)`.
        states: the token of each state, blanks between them, `(S,)`.
        blank: what stands between tokens.
    """
    frames, count = emitted.shape
    may_skip = np.zeros(count, bool)
    may_skip[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    came_from = np.zeros((frames, count), np.int64)
    score = np.full(count, _NEVER)
    score[:2] = emitted[0, :2]
    candidates = np.full((3, count), _NEVER)
    for frame in range(1, frames):
        candidates[0] = score
        candidates[1, 1:] = score[:-1]
        candidates[2, 2:] = np.where(may_skip[2:], score[:-2], _NEVER)
        came_from[frame] = candidates.argmax(0)
        score = candidates.max(0) + emitted[frame]
    state = count - 1 - int(score[count - 1] < score[count - 2])
    path = np.full(frames, -1)
    if not np.isfinite(score[state]):
        return path
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(came_from[frame, state])
    return path

"""Rows without padding: the frames of a batch's utterances, one utterance after the other.

Owns how a padded batch becomes such rows and how they become one again, and the memory that one
layer after another works in. Must not know what layers do, Ray, Parquet or audio.

Between layers rows stand for a batch as `(1, M, D)`: M frames of all utterances together. Where
nothing is padded a batch is its own rows, `(N, T, D)`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ray_asr.engine.int8 import Rows


class Packing:
    """Where a batch is padded.

    Args:
        lengths: frames of each utterance, `(N,)`.
        frames: T, of the longest or more.
        blocked: True behind the end of each, `(N, 1, 1, T)`; None: nowhere.
    """

    def __init__(
        self, lengths: NDArray[np.int64], frames: int, blocked: torch.Tensor | None
    ) -> None:
        self.lengths, self.frames, self.blocked = lengths, frames, blocked
        self.utterances = len(lengths)
        self.count = int(lengths.sum())  # M
        self._inside = None if blocked is None else torch.from_numpy(_inside(lengths, frames))

    def rows(self, x: torch.Tensor, *, copied: bool) -> torch.Tensor:
        """Rows `(M, D)` float32 of the batch, padded or not.

        Args:
            x: `(N, T, D)`, or `(1, M, D)`.
            copied: they are written to, and nobody else may see it.
        """
        flat = x.reshape(-1, x.shape[-1])
        if self._inside is not None and x.shape[:2] == (self.utterances, self.frames):
            return flat.index_select(0, self._inside).float()
        return flat.float().clone() if copied else flat.float().contiguous()

    def joined(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows as they stand between layers."""
        if self._inside is None:
            return rows.view(self.utterances, self.frames, -1)
        return rows[None]

    def padded(self, rows: torch.Tensor) -> torch.Tensor:
        """The batch `(N, T, D)`, zeros behind each utterance."""
        if self._inside is None:
            return self.joined(rows)
        out = rows.new_zeros(self.utterances * self.frames, rows.shape[1])
        out.index_copy_(0, self._inside, rows)
        return out.view(self.utterances, self.frames, -1)


def _inside(lengths: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    within = np.arange(frames)[None] < lengths[:, None]
    return np.flatnonzero(within.reshape(-1))


class Packings:
    """The packing of a batch, for one layer after another that comes with the same mask."""

    def __init__(self) -> None:
        self._mask: torch.Tensor | None = None
        self._found: Packing | None = None

    def of(self, mask: torch.Tensor | None, x: torch.Tensor) -> Packing:
        """By the mask: N * T numbers, not 0 inside utterances, the first dimension N.

        Without a mask, and where an utterance is alone, `x` `(N, T, D)` has no padding.
        """
        if mask is None or mask.shape[0] == 1:
            return Packing(np.full(x.shape[0], x.shape[1], np.int64), x.shape[1], None)
        if self._found is None or self._mask is not mask:
            utterances, frames = mask.shape[0], mask.numel() // mask.shape[0]
            inside = mask.reshape(utterances, 1, 1, frames) != 0
            lengths = inside.sum((1, 2, 3)).numpy()
            blocked = ~inside if lengths.min() < frames else None
            self._found, self._mask = Packing(lengths, frames, blocked), mask
        return self._found


class Room:
    """Memory for what a layer needs within itself; the next layer writes over it.

    One that asks under the same name for another shape gets new memory: a batch is as large as it
    is. Whoever keeps something beyond a layer, or for another thread, must not have it here.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Rows] = {}
        self._arrays: dict[str, torch.Tensor] = {}

    def rows(self, name: str, shape: tuple[int, ...], zero: np.float32) -> Rows:
        """8-bit rows `(M, K)` around `zero`."""
        found = self._rows.get(name)
        if found is None or found.values.shape != shape or found.zero != int(zero):
            found = self._rows[name] = Rows.empty(torch.Size(shape), zero)
        return found

    def array(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Numbers of any kind."""
        found = self._arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._arrays[name] = torch.empty(shape, dtype=dtype)
        return found

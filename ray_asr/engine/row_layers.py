"""What layers in 8 bits are made of: linear layers, layer norms and attention over flat rows.

Owns the steps between two matrix products, each one pass over rows (`row_kernels`). Must not know
FunASR's classes, Ray, Parquet or audio.

Rows are those of a padded batch, utterance after utterance: `(N * T, D)`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ray_asr.engine import head_kernels, row_kernels
from ray_asr.engine.int8 import Int8Weights, Rows, levels

_NO_HALVES, _NO_WHOLES = np.empty((0,) * 5, np.uint16), np.empty((0,) * 5, np.float32)
_NO_ROWS = np.empty((0, 0), np.float32)


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16.

    Attention then takes half the time in it, and products of 8-bit rows are written in it: what it
    leaves out of them (one part in 512) is little beside the rounding to 8 bits (one in 255 of the
    largest).
    """
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported is not None and supported())


class Products(NamedTuple):
    """What a product of 8-bit rows gives: `values * scales + bias`, not yet computed.

    Attributes:
        values: `(M, K)` float32 or bfloat16.
        scales: of the rows, `(M,)` float32.
        bias: `(K,)` float32.
    """

    values: torch.Tensor
    scales: torch.Tensor
    bias: NDArray[np.float32]

    @property
    def arrays(
        self,
    ) -> tuple[NDArray[np.float32] | NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32]]:
        """For a kernel to read."""
        is_half = self.values.dtype == torch.bfloat16
        values = _bits(self.values) if is_half else self.values.numpy()
        return values, self.scales.numpy(), self.bias

    def add_to(self, rows: torch.Tensor) -> None:
        """Add them to rows `(M, K)`, in place."""
        row_kernels.add_products(*self.arrays, rows.numpy())

    def rectified(self) -> Rows:
        """The positive part, in 8 bits."""
        out = Rows.empty(self.values.shape, np.float32(0))
        row_kernels.rectify_quantize(*self.arrays, levels().unsigned, *out.arrays)
        return out


class RowLinear:
    """A linear layer over 8-bit rows; takes the weights out of the one that it is made of.

    Args:
        linear: its weights are given back to the memory.
        factors: outputs are multiplied by these, `(out_features,)`.
    """

    def __init__(self, linear: nn.Linear, factors: torch.Tensor | None = None) -> None:
        weight = linear.weight.detach()
        bias = weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
        if factors is not None:
            weight, bias = weight * factors[:, None], bias * factors
        self._weights = Int8Weights(weight)
        self._bias = array(bias)
        linear.weight = nn.Parameter(torch.empty(0), requires_grad=False)

    def __call__(self, rows: Rows) -> Products:
        dtype = torch.bfloat16 if has_bfloat16() else torch.float32
        return Products(self._weights.products(rows, dtype), rows.scales, self._bias)


class RowNorm:
    """A layer norm over rows."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self._numbers = array(norm.weight), array(norm.bias), np.float32(norm.eps)

    def quantized(self, rows: torch.Tensor) -> Rows:
        """Normalized rows `(M, K)`, in 8 bits."""
        zero, signed, _ = levels()
        out = Rows.empty(rows.shape, zero)
        row_kernels.normalize_quantize(rows.numpy(), *self._numbers, signed, zero, *out.arrays)
        return out

    def rectified_quantized(self, products: Products) -> Rows:
        """The positive part of products, normalized, in 8 bits."""
        zero, signed, _ = levels()
        out = Rows.empty(products.values.shape, zero)
        row_kernels.rectify_normalize_quantize(
            *products.arrays, *self._numbers, signed, zero, *out.arrays
        )
        return out

    def normalized(self, products: Products) -> torch.Tensor:
        """Normalized products, float32."""
        out = torch.empty(products.values.shape)
        row_kernels.scale_normalize(*products.arrays, *self._numbers, out.numpy())
        return out


class RowMemory:
    """FSMN memory: each frame with those around it, weighted for each channel."""

    def __init__(self, convolution: nn.Conv1d, padding: nn.ConstantPad1d) -> None:
        self._taps = array(convolution.weight.detach()[:, 0].t())
        self._left = int(padding.padding[0])

    def add_to(
        self, rows: torch.Tensor, values: torch.Tensor, lengths: NDArray[np.int64], frames: int
    ) -> None:
        """Add the memory of `values` `(N * T, D)` to rows, in place; none behind each length."""
        row_kernels.add_memory(
            values.numpy(), lengths, frames, self._taps, self._left, rows.numpy()
        )


class Heads(NamedTuple):
    """How rows are cut for attention: H heads of K channels."""

    number: int
    width: int

    def spread(
        self, products: Products, frames: int, again: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Products of P * H * K channels as `(P, N, H, T, K)`; the last part into `again` too."""
        rows, channels = products.values.shape
        parts = channels // (self.number * self.width)
        is_half = has_bfloat16()
        dtype = torch.bfloat16 if is_half else torch.float32
        out = torch.empty(parts, rows // frames, self.number, frames, self.width, dtype=dtype)
        head_kernels.spread_to_heads(
            *products.arrays,
            frames,
            is_half,
            _bits(out) if is_half else _NO_HALVES,
            _NO_WHOLES if is_half else out.numpy(),
            _NO_ROWS if again is None else again.numpy(),
        )
        return out

    def joined(self, context: torch.Tensor) -> Rows:
        """What attention gives, `(N, H, T, K)`, as 8-bit rows `(N * T, H * K)`."""
        utterances, _, frames, _ = context.shape
        zero, signed, _ = levels()
        out = Rows.empty(torch.Size((utterances * frames, self.number * self.width)), zero)
        is_half = context.dtype == torch.bfloat16
        head_kernels.quantize_heads(
            frames,
            is_half,
            _bits(context) if is_half else _NO_HALVES.reshape((0,) * 4),
            _NO_WHOLES.reshape((0,) * 4) if is_half else context.contiguous().numpy(),
            signed,
            zero,
            *out.arrays,
        )
        return out


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: NDArray[np.int64],
    blocked: torch.Tensor | None,
) -> torch.Tensor:
    """Attention `(N, H, U, K)`, queries being scaled already.

    Args:
        query: `(N, H, U, K)`.
        key: `(N, H, T, K)`.
        value: `(N, H, T, K)`.
        lengths: keys of each utterance, `(N,)`.
        blocked: True behind them, `(N, 1, 1, T)`; None: nowhere.
    """
    if query.dtype != torch.bfloat16:
        mask = None if blocked is None else ~blocked
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
    # Three steps of its own: torch's fused kernel computes bfloat16 no faster than float32.
    scores = torch.matmul(query, key.transpose(-1, -2))
    head_kernels.softmax(_bits(scores), lengths)
    return torch.matmul(scores, value)


class Padding:
    """Where a batch is padded; asked by one layer after another with the same mask."""

    def __init__(self) -> None:
        self._mask: torch.Tensor | None = None
        self._found: tuple[NDArray[np.int64], torch.Tensor | None] | None = None

    def of(
        self, mask: torch.Tensor | None, utterances: int, frames: int
    ) -> tuple[NDArray[np.int64], torch.Tensor | None]:
        """Frames of each utterance `(N,)`, and where padding is, `(N, 1, 1, T)`; None: nowhere.

        Args:
            mask: N * T numbers in any shape, not 0 inside utterances; an utterance alone has no
                padding.
            utterances: N.
            frames: T.
        """
        if mask is None or utterances == 1:
            return np.full(utterances, frames, np.int64), None
        if self._found is None or self._mask is not mask:
            inside = mask.reshape(utterances, 1, 1, frames) != 0
            lengths = inside.sum((1, 2, 3)).numpy()
            self._found = lengths, (~inside if lengths.min() < frames else None)
            self._mask = mask
        return self._found


def array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Float32 numbers for a kernel."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


def _bits(tensor: torch.Tensor) -> NDArray[np.uint16]:
    """The bits of a bfloat16 tensor, in its own memory."""
    return tensor.contiguous().view(torch.uint16).numpy()

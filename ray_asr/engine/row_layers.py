"""What layers in 8 bits are made of: linear layers, layer norms and attention over flat rows.

Owns the steps between two matrix products, each one pass over rows (`row_kernels`). Must not know
FunASR's classes, Ray, Parquet or audio.

Rows are those of a batch without its padding, utterance after utterance: `(M, D)` (`packed_rows`).
What a layer needs within itself only stands in a `Room`, where the next one writes over it.
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
from ray_asr.engine.packed_rows import Packing, Room

_NO_HALVES, _NO_WHOLES = np.empty((0,) * 5, np.uint16), np.empty((0,) * 5, np.float32)
_NO_ROWS = np.empty((0, 0), np.float32)
_NO_ROWS_OF_8_BITS, _NO_SCALES = np.empty((0, 0), np.uint8), np.empty(0, np.float32)


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

    def rectified(self, room: Room) -> Rows:
        """The positive part, in 8 bits."""
        out = room.rows("rectified", self.values.shape, np.float32(0))
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
        self.numbers = array(norm.weight), array(norm.bias), np.float32(norm.eps)

    def quantized(self, rows: torch.Tensor, room: Room) -> Rows:
        """Normalized rows `(M, K)`, in 8 bits."""
        zero, signed, _ = levels()
        out = room.rows("normalized", rows.shape, zero)
        row_kernels.normalize_quantize(rows.numpy(), *self.numbers, signed, zero, *out.arrays)
        return out

    def rectified_quantized(self, products: Products, room: Room) -> Rows:
        """The positive part of products, normalized, in 8 bits."""
        zero, signed, _ = levels()
        out = room.rows("rectified", products.values.shape, zero)
        row_kernels.rectify_normalize_quantize(
            *products.arrays, *self.numbers, signed, zero, *out.arrays
        )
        return out

    def normalized(self, products: Products, room: Room) -> torch.Tensor:
        """Normalized products, float32."""
        out = room.array("values", products.values.shape, torch.float32)
        row_kernels.scale_normalize(*products.arrays, *self.numbers, out.numpy())
        return out


class RowMemory:
    """FSMN memory: each frame with those around it, weighted for each channel."""

    def __init__(self, convolution: nn.Conv1d, padding: nn.ConstantPad1d) -> None:
        self._taps = array(convolution.weight.detach()[:, 0].t())
        self._left = int(padding.padding[0])

    def add_to(self, rows: torch.Tensor, values: torch.Tensor, packing: Packing) -> None:
        """Add the memory of `values` `(M, D)` to rows, in place."""
        nothing = _NO_SCALES, _NO_SCALES, np.float32(0)
        self._pass(rows, values, packing, None, nothing, (_NO_ROWS_OF_8_BITS, _NO_SCALES))

    def add_normalized(
        self,
        rows: torch.Tensor,
        values: torch.Tensor,
        packing: Packing,
        norm: RowNorm,
        room: Room,
        products: Products | None = None,
    ) -> Rows:
        """Add the memory of `values`, and products, to rows; what these are then, normalized.

        Args:
            rows: `(M, D)`, changed.
            values: `(M, D)` float32.
            packing: which rows are an utterance's.
            norm: of the sums, which are given in 8 bits.
            room: for them.
            products: `(M, D)`; None: only the memory is added.
        """
        out = room.rows("normalized", rows.shape, levels().zero)
        self._pass(rows, values, packing, products, norm.numbers, out.arrays)
        return out

    def _pass(
        self,
        rows: torch.Tensor,
        values: torch.Tensor,
        packing: Packing,
        products: Products | None,
        norm: tuple[NDArray[np.float32], NDArray[np.float32], np.float32],
        out: tuple[NDArray[np.uint8], NDArray[np.float32]],
    ) -> None:
        zero, signed, _ = levels()
        row_kernels.remember_quantize(
            *((_NO_ROWS, _NO_SCALES, _NO_SCALES) if products is None else products.arrays),
            values.numpy(),
            packing.lengths,
            self._taps,
            self._left,
            rows.numpy(),
            *norm,
            signed,
            zero,
            *out,
        )


class Heads(NamedTuple):
    """How rows are cut for attention: H heads of K channels."""

    number: int
    width: int

    def spread(
        self,
        products: Products,
        packing: Packing,
        room: Room,
        again: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Products of P * H * K channels as P times `(N, H, T, K)`; the last part `again` too."""
        parts = products.values.shape[1] // (self.number * self.width)
        is_half = has_bfloat16()
        dtype = torch.bfloat16 if is_half else torch.float32
        shape = (parts, packing.utterances, self.number, packing.frames, self.width)
        out = room.array(f"heads {parts}", shape, dtype)
        head_kernels.spread_to_heads(
            *products.arrays,
            packing.lengths,
            is_half,
            _bits(out) if is_half else _NO_HALVES,
            _NO_WHOLES if is_half else out.numpy(),
            _NO_ROWS if again is None else again.numpy(),
        )
        return out.unbind()

    def joined(self, context: torch.Tensor, packing: Packing, room: Room) -> Rows:
        """What attention gives, `(N, H, T, K)`, as 8-bit rows `(M, H * K)`."""
        zero, signed, _ = levels()
        out = room.rows("joined", (packing.count, self.number * self.width), zero)
        is_half = context.dtype == torch.bfloat16
        head_kernels.quantize_heads(
            packing.lengths,
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
    asking: Packing,
    asked: Packing,
) -> torch.Tensor:
    """Attention `(N, H, U, K)`, queries being scaled already; behind an utterance it is anything.

    Args:
        query: `(N, H, U, K)`.
        key: `(N, H, T, K)`, finite behind an utterance.
        value: `(N, H, T, K)`, likewise.
        asking: where queries are.
        asked: where keys are.
    """
    if query.dtype != torch.bfloat16:
        mask = None if asked.blocked is None else ~asked.blocked
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
    # Three steps of its own: torch's fused kernel computes bfloat16 no faster than float32.
    scores = torch.matmul(query, key.transpose(-1, -2))
    head_kernels.softmax(_bits(scores), asking.lengths, asked.lengths)
    return torch.matmul(scores, value)


def array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Float32 numbers for a kernel."""
    return np.ascontiguousarray(tensor.detach().float().numpy())


def _bits(tensor: torch.Tensor) -> NDArray[np.uint16]:
    """The bits of a bfloat16 tensor, in its own memory."""
    return tensor.contiguous().view(torch.uint16).numpy()

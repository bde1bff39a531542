"""The best of a wide layer's outputs: found by a product of 8-bit numbers, decided in float32.

Owns the bounds that make it the float32 layer's answer, and which decoders are asked that way. Must
not know Ray, Parquet or audio.

Of thousands of outputs one is asked for, the largest. Rounded to 8 bits, rows and weights give
every output within a bound that is known (Cauchy and Schwarz, for what rounding has left out of
each), in a third of the time; the few that may be the largest are computed once more as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ray_asr.engine.compiled import compiled
from ray_asr.engine.int8 import Int8Weights, quantized, rounded
from ray_asr.engine.row_layers import array

_BLOCK = 128
# What float32 leaves out where products are scaled and added up, of the largest they can be.
_FLOAT32_LOSS = np.float32(1e-6)
_LOWEST = np.int32(-(2**31))
_MAGNITUDE = np.int32(0x7FFFFFFF)


class BestOutputs:
    """A linear layer of which only the largest output of each row is wanted.

    Args:
        linear: `(out_features, in_features)`; not changed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        whole, scales = rounded(weight)
        lost = weight - whole * scales[:, None]
        norms = weight.norm(dim=1)
        self._rounded = Int8Weights(weight)
        self._weight = array(weight)
        self._bias = array(
            weight.new_zeros(len(weight)) if linear.bias is None else linear.bias.detach()
        )
        self._norms = array(norms)
        self._losses = array(lost.norm(dim=1) + _FLOAT32_LOSS * norms)

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """The number of the largest output of each row, `(M,)` of `(M, in_features)` float32."""
        best = np.zeros(len(rows), np.int64)
        if len(rows):
            in_8_bits = quantized(rows)
            find_best(
                rows.numpy(), *in_8_bits.arrays, np.float32(in_8_bits.zero),
                self._rounded.products(in_8_bits).numpy(), self._weight, self._bias, self._norms,
                self._losses, best,
            )  # fmt: skip
        return torch.from_numpy(best)

    def of_batch(self, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """That of the first rows of each, `(N, U)`; 0 behind them.

        Args:
            rows: `(N, U, in_features)` float32.
            counts: how many of each, `(N,)`.
        """
        inside = torch.arange(rows.shape[1])[None] < counts[:, None]
        best = torch.zeros(inside.shape, dtype=torch.long)
        best[inside] = self.of_rows(rows[inside])
        return best


def prepare_best_outputs(decoder: Any) -> None:
    """Have `best_outputs_of` the decoder of a Paraformer whose tokens are asked for alone."""
    is_plain = type(decoder).__name__ == "ParaformerSANMDecoder" and decoder.normalize_before
    if is_plain and type(decoder.output_layer) is nn.Linear:
        decoder._ray_asr_best = BestOutputs(decoder.output_layer)


def best_outputs_of(decoder: Any) -> BestOutputs | None:
    """What finds the tokens by what stands before the output layer (`return_hidden`), if any."""
    return getattr(decoder, "_ray_asr_best", None)


@compiled(fastmath=True)
def _largest(bits):
    """The bits of the largest float in the order of integers, of which compilers make vectors."""
    top = _LOWEST
    for j in range(bits.shape[0]):
        value = bits[j]
        top = max(top, value ^ ((value >> np.int32(31)) & _MAGNITUDE))
    return top


@compiled(fastmath=True)
def find_best(rows, values, scales, zero, products, weight, bias, norms, losses, best):
    """The number of the largest of `weight @ row + bias` for each row.

    Args:
        rows: `(M, K)` float32.
        values: the rows in 8 bits, `(M, K)` uint8 around `zero`.
        scales: what one step is worth in each row, `(M,)`.
        zero: stands for 0.
        products: of those with the rounded weights, `(M, V)` float32, before the rows' scales.
        weight: `(V, K)` float32.
        bias: `(V,)`.
        norms: of each output's weights, `(V,)`.
        losses: of what rounding has left out of them, `(V,)`.
        best: `(M,)` int64, filled.
    """
    outputs, width = weight.shape
    least, most = np.empty(outputs, np.float32), np.empty(outputs, np.float32)
    least_bits, most_bits = least.view(np.int32), most.view(np.int32)
    for i in range(rows.shape[0]):
        row, in_8_bits, of_row, scale = rows[i], values[i], products[i], scales[i]
        left_out, length = np.float32(0), np.float32(0)
        for k in range(width):
            restored = (np.float32(in_8_bits[k]) - zero) * scale
            left_out += (row[k] - restored) ** 2
            length += restored * restored
        left_out, length = np.sqrt(left_out), np.sqrt(length)
        for j in range(outputs):
            about = of_row[j] * scale + bias[j]
            off = norms[j] * left_out + losses[j] * length + _FLOAT32_LOSS * abs(bias[j])
            least[j] = about - off
            most[j] = about + off
        surely = _largest(least_bits)
        largest = -np.inf
        for start in range(0, outputs, _BLOCK):
            end = min(start + _BLOCK, outputs)
            if _largest(most_bits[start:end]) < surely:
                continue
            for j in range(start, end):
                bits = most_bits[j]
                if bits ^ ((bits >> np.int32(31)) & _MAGNITUDE) >= surely:
                    of_output, exact = weight[j], np.float32(0)
                    for k in range(width):
                        exact += of_output[k] * row[k]
                    exact += bias[j]
                    if exact > largest:
                        largest = exact
                        best[i] = j

"""Matrix products of 8-bit numbers on a CPU, each row of activations with a scale of its own.

Owns how weights are held, and how many bits an activation has on this processor. Must not know Ray,
Parquet, audio or what the layers are for.

With one scale for all rows, as dynamic quantization otherwise has it, what an utterance gives would
hang on what else is in its batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ray_asr.engine import row_kernels


class Levels(NamedTuple):
    """The whole numbers that an activation may have.

    Attributes:
        zero: stands for 0 where there are negative ones.
        signed: the largest magnitude there.
        unsigned: the largest where none is negative, and 0 stands for 0.
    """

    zero: np.float32
    signed: np.float32
    unsigned: np.float32


# With eight bits of activation the 16-bit sums of two products overflow where a processor has no
# instruction that adds four of them in 32 bits: there it is seven.
EIGHT_BITS = Levels(np.float32(128), np.float32(127), np.float32(255))
SEVEN_BITS = Levels(np.float32(64), np.float32(63), np.float32(127))


def is_supported() -> bool:
    """Whether this build of torch has the kernels."""
    return "onednn" in torch.backends.quantized.supported_engines and hasattr(
        torch.ops.onednn, "qlinear_pointwise"
    )


@lru_cache(maxsize=1)
def levels() -> Levels:
    """Those of this processor: eight bits where it sums products in 32 bits (VNNI)."""
    supported = getattr(torch.cpu, "_is_vnni_supported", None)
    return EIGHT_BITS if supported is not None and supported() else SEVEN_BITS


class Rows(NamedTuple):
    """8-bit rows of activations.

    Attributes:
        values: `(M, K)` uint8.
        scales: what one step is worth in each row, `(M,)` float32.
        zero: the number that stands for 0.
    """

    values: torch.Tensor
    scales: torch.Tensor
    zero: int

    @classmethod
    def empty(cls, shape: torch.Size, zero: np.float32) -> Rows:
        """Room for `(M, K)`."""
        return cls(torch.empty(shape, dtype=torch.uint8), torch.empty(shape[0]), int(zero))

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Values and scales for a kernel to fill."""
        return self.values.numpy(), self.scales.numpy()


def quantized(rows: torch.Tensor) -> Rows:
    """Rows `(M, K)` float32 in 8 bits."""
    zero, signed, _ = levels()
    out = Rows.empty(rows.shape, zero)
    row_kernels.quantize_rows(rows.numpy(), signed, zero, *out.arrays)
    return out


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights `(out_features, in_features)` as whole numbers of 8 bits, and each output's scale."""
    scales = weight.abs().amax(1).clamp_min(1e-12) / 127
    return (weight / scales[:, None]).round_().to(torch.int8), scales


class Int8Weights:
    """The weights of a linear layer, with a scale for each output.

    Args:
        weight: `(out_features, in_features)`.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        whole, self._scales = rounded(weight.detach().float())
        self._zeros = torch.zeros(weight.shape[0], dtype=torch.long)
        self._packed = torch.ops.onednn.qlinear_prepack(whole, None)

    def products(self, rows: Rows, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Products `(M, out_features)`, still to be multiplied by the rows' scales."""
        return torch.ops.onednn.qlinear_pointwise(
            rows.values, 1.0, rows.zero, self._packed, self._scales, self._zeros, None,
            1.0, 0, dtype, "none", [], "",
        )  # fmt: skip


class Int8Linear(nn.Module):
    """A linear layer with 8-bit weights and activations, in place of a float32 one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weights = Int8Weights(linear.weight)
        self.bias: torch.Tensor | None
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs `(..., out_features)` of inputs `(..., in_features)`, both float32."""
        rows = quantized(inputs.reshape(-1, self.in_features).contiguous())
        outputs = self._weights.products(rows)
        scales = rows.scales[:, None]
        if self.bias is None:
            outputs.mul_(scales)
        else:
            torch.addcmul(self.bias, outputs, scales, out=outputs)
        return outputs.view(*inputs.shape[:-1], self.out_features)

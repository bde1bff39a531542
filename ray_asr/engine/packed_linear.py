"""Float32 linear layers with their weights laid out for the processor's widest vectors.

Owns when that is worth it, and the layer. Must not know models, Ray, Parquet or audio.

torch gives float32 products to MKL, which keeps to 256-bit vectors on processors that are not
Intel's; oneDNN, which torch brings too, uses what there is (measured on a Zen 5: 102 against 242
GFLOP/s). On processors without 512-bit vectors both are equally fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

_ROWS = 1024  # for which the layout is chosen; others are computed in it too


def is_worth_it() -> bool:
    """Whether packed layers are faster than torch's own on this processor."""
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


class PackedLinear(nn.Module):
    """A float32 linear layer for inference on a CPU, in place of torch's own.

    Args:
        linear: what it is made of; not changed.
        then: what is done to the outputs: "none" or "relu".
    """

    def __init__(self, linear: nn.Linear, then: str = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float().contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        self._then = then
        self.bias: torch.Tensor | None
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().float())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs `(..., out_features)` of inputs `(..., in_features)`, both float32."""
        return torch.ops.mkldnn._linear_pointwise(
            inputs, self._packed, self.bias, self._then, [], ""
        )


def pack_linears(module: nn.Module, names: Sequence[str] = ()) -> None:
    """Replace the linear layers inside `module`, in place; a ReLU behind one becomes part of it.

    Args:
        module: with layers at any depth.
        names: only its own layers of these names, where given.
    """
    for name, child in module.named_children():
        if names and name not in names:
            continue
        if type(child) is nn.Linear:
            if not child.weight.numel():  # taken out: another layer computes in its place
                continue
            relu = name == "w_1" and isinstance(getattr(module, "activation", None), nn.ReLU)
            if relu:
                module.activation = nn.Identity()
            setattr(module, name, PackedLinear(child, "relu" if relu else "none"))
        elif not names:
            pack_linears(child)

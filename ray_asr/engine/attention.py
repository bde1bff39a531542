"""SANM self-attention in fewer passes over memory.

Owns a faster equal of FunASR's `MultiHeadedAttentionSANM.forward`, put in its place. Must not know
Ray, Parquet or audio.

FunASR copies queries, keys and values, writes the scores of every pair of frames to memory, and
masks them twice. One fused kernel does not; what comes out differs by rounding alone.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.nn import functional


def fuse_attention(model: torch.nn.Module) -> int:
    """Have the plain SANM attention layers of `model` compute this way; how many there are."""
    from funasr.models.sanm.attention import MultiHeadedAttentionSANM

    fused = 0
    for module in model.modules():
        if type(module) is MultiHeadedAttentionSANM and not module.training:
            module.forward = MethodType(_forward, module)
            fused += 1
    return fused


def _forward(
    self: Any,
    x: torch.Tensor,
    mask: torch.Tensor | None,
    mask_shfit_chunk: torch.Tensor | None = None,
    mask_att_chunk_encoder: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention plus memory block, `(N, T, D)`, with FunASR's arguments.

    Args:
        self: a `MultiHeadedAttentionSANM`.
        x: input, `(N, T, in)`.
        mask: 1 inside each utterance and 0 behind its end, `(N, 1, T)`.
        mask_shfit_chunk: of streaming models, as FunASR has it.
        mask_att_chunk_encoder: of streaming models, as FunASR has it.
    """
    if mask_shfit_chunk is not None or mask_att_chunk_encoder is not None:
        return type(self).forward(self, x, mask, mask_shfit_chunk, mask_att_chunk_encoder)
    batch, frames, _ = x.shape
    together = self.linear_q_k_v(x)
    value = together[..., 2 * self.h * self.d_k :]
    query, key, values = together.view(batch, frames, 3, self.h, self.d_k).permute(2, 0, 3, 1, 4)
    blocked = None
    if mask is not None and batch > 1:  # an utterance alone has no padding
        blocked = mask.reshape(batch, 1, 1, frames) != 0
    context = functional.scaled_dot_product_attention(query, key, values, attn_mask=blocked)
    attended = self.linear_out(context.transpose(1, 2).reshape(batch, frames, -1))
    inside = None if blocked is None else blocked.view(batch, frames, 1).to(x.dtype)
    if inside is not None:
        value = value * inside
    memory = self.fsmn_block(self.pad_fn(value.transpose(1, 2))).transpose(1, 2)
    memory = memory + value
    return torch.addcmul(attended, memory, inside) if inside is not None else attended + memory

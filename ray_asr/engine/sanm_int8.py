"""SANM encoder and decoder layers in 8 bits on a CPU, with as few passes over memory as can be.

Owns faster equals of FunASR's `EncoderLayerSANM.forward` and `DecoderLayerSANM.forward`, put in
their place. Must not know Ray, Parquet or audio.

Once products of 8-bit numbers are fast, half of the time goes to what stands between them: layer
norms, conversions, copies to and from heads. Here each of those is one pass (`row_layers`).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

from ray_asr.engine.int8 import Rows, quantized
from ray_asr.engine.row_layers import Heads, Padding, RowLinear, RowMemory, RowNorm, attend


def fuse_layers(model: nn.Module) -> int:
    """Have the plain SANM layers of `model` compute this way; how many there are.

    A decoder of hotwords (SeACo) stays as it is: FunASR reads its parts one by one.
    """
    fused, padding = 0, Padding()
    for module in _modules(model, "encoder"):
        if type(module).__name__ == "EncoderLayerSANM" and _is_plain_encoder(module):
            module._ray_asr_int8 = _EncoderLayer(module, padding)
            module.forward = MethodType(_encoder_forward, module)
            fused += 1
    heard, tokens = _Heard(), Padding()
    for module in _modules(model, "decoder"):
        if type(module).__name__ == "DecoderLayerSANM" and _is_plain_decoder(module):
            module._ray_asr_int8 = _DecoderLayer(module, tokens, heard)
            module.forward = MethodType(_decoder_forward, module)
            fused += 1
    return fused


def _modules(model: Any, part: str) -> list[Any]:
    found = getattr(model, part, None)
    return [] if found is None else list(found.modules())


def _all_linear(module: Any, *names: str) -> bool:
    return all(type(getattr(module, name, None)) is nn.Linear for name in names)


def _is_plain_encoder(layer: Any) -> bool:
    return (
        not layer.training
        and layer.normalize_before
        and not layer.concat_after
        and type(layer.self_attn).__name__ == "MultiHeadedAttentionSANM"
        and _all_linear(layer.self_attn, "linear_q_k_v", "linear_out")
        and _all_linear(layer.feed_forward, "w_1", "w_2")
        and isinstance(layer.feed_forward.activation, nn.ReLU)
    )


def _is_plain_decoder(layer: Any) -> bool:
    memory, attention = layer.self_attn, layer.src_attn
    return (
        not layer.training
        and layer.normalize_before
        and not layer.concat_after
        and not layer.reserve_attn
        and (memory is None or type(memory).__name__ == "MultiHeadedAttentionSANMDecoder")
        and (memory is not None or attention is None)
        and (attention is None or type(attention).__name__ == "MultiHeadedAttentionCrossAtt")
        and (attention is None or _all_linear(attention, "linear_q", "linear_k_v", "linear_out"))
        and type(layer.feed_forward).__name__ == "PositionwiseFeedForwardDecoderSANM"
        and _all_linear(layer.feed_forward, "w_1", "w_2")
        and isinstance(layer.feed_forward.activation, nn.ReLU)
    )


def _refuse_streaming(*states: Any) -> None:
    if any(state is not None for state in states):
        raise ValueError("layers in 8 bits are for whole utterances, not for streaming.")


def _encoder_forward(
    self: Any,
    x: torch.Tensor,
    mask: torch.Tensor | None,
    cache: Any = None,
    mask_shfit_chunk: Any = None,
    mask_att_chunk_encoder: Any = None,
) -> tuple[Any, ...]:
    """`EncoderLayerSANM.forward`, with its arguments and results."""
    _refuse_streaming(cache, mask_shfit_chunk, mask_att_chunk_encoder)
    return self._ray_asr_int8(x, mask), mask, cache, mask_shfit_chunk, mask_att_chunk_encoder


def _decoder_forward(
    self: Any,
    tgt: torch.Tensor,
    tgt_mask: torch.Tensor | None,
    memory: torch.Tensor,
    memory_mask: torch.Tensor | None = None,
    cache: Any = None,
) -> tuple[Any, ...]:
    """`DecoderLayerSANM.forward`, with its arguments and results."""
    _refuse_streaming(cache)
    return (
        self._ray_asr_int8(tgt, tgt_mask, memory, memory_mask),
        tgt_mask,
        memory,
        memory_mask,
        cache,
    )


def _query_factors(parts: int, heads: Heads) -> torch.Tensor:
    """Queries, the first part, leave their product divided by the root of a head's width."""
    size = heads.number * heads.width
    factors = torch.ones(parts * size)
    factors[:size] = heads.width**-0.5
    return factors


class _EncoderLayer:
    """Attention and memory, then feed-forward."""

    def __init__(self, layer: Any, padding: Padding) -> None:
        self._padding = padding
        attention, feed_forward = layer.self_attn, layer.feed_forward
        self._heads = Heads(attention.h, attention.d_k)
        self._adds_input = layer.in_size == layer.size
        self._norm1, self._norm2 = RowNorm(layer.norm1), RowNorm(layer.norm2)
        self._query_key_value = RowLinear(attention.linear_q_k_v, _query_factors(3, self._heads))
        self._out = RowLinear(attention.linear_out)
        self._memory = RowMemory(attention.fsmn_block, attention.pad_fn)
        self._up, self._down = RowLinear(feed_forward.w_1), RowLinear(feed_forward.w_2)

    def __call__(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`(N, T, D)` of `(N, T, in)` float32, with a mask `(N, 1, T)`."""
        utterances, frames, width = x.shape
        size = self._heads.number * self._heads.width
        lengths, blocked = self._padding.of(mask, utterances, frames)
        flat = x.reshape(-1, width).contiguous()
        values = torch.empty(flat.shape[0], size)
        projected = self._query_key_value(self._norm1.quantized(flat))
        query, key, value = self._heads.spread(projected, frames, values)
        context = self._heads.joined(attend(query, key, value, lengths, blocked))
        rows = flat.clone() if self._adds_input else torch.zeros(flat.shape[0], size)
        self._out(context).add_to(rows)
        self._memory.add_to(rows, values, lengths, frames)
        self._down(self._up(self._norm2.quantized(rows)).rectified()).add_to(rows)
        return rows.view(utterances, frames, size)


class _Heard:
    """What the encoder gave, in 8 bits once for all layers of a decoder."""

    def __init__(self) -> None:
        self.padding = Padding()
        self._of: torch.Tensor | None = None
        self._rows: Rows | None = None

    def rows(self, memory: torch.Tensor) -> Rows:
        """`(N, T, D)` as rows `(N * T, D)`."""
        if self._rows is None or self._of is not memory:
            self._rows = quantized(memory.reshape(-1, memory.shape[-1]).float().contiguous())
            self._of = memory
        return self._rows


class _DecoderLayer:
    """Feed-forward, memory and attention to what the encoder gave; the last two may be missing."""

    def __init__(self, layer: Any, padding: Padding, heard: _Heard) -> None:
        self._padding = padding
        feed_forward, attention = layer.feed_forward, layer.src_attn
        self._norm1 = RowNorm(layer.norm1)
        self._up, self._down = RowLinear(feed_forward.w_1), RowLinear(feed_forward.w_2)
        self._inner_norm = RowNorm(feed_forward.norm)
        self._has_memory, self._attends = layer.self_attn is not None, attention is not None
        if self._has_memory:
            self._norm2 = RowNorm(layer.norm2)
            self._memory = RowMemory(layer.self_attn.fsmn_block, layer.self_attn.pad_fn)
        if self._attends:
            self._heard = heard
            self._norm3 = RowNorm(layer.norm3)
            self._heads = Heads(attention.h, attention.d_k)
            self._query = RowLinear(attention.linear_q, _query_factors(1, self._heads))
            self._key_value = RowLinear(attention.linear_k_v)
            self._out = RowLinear(attention.linear_out)

    def __call__(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None,
        heard: torch.Tensor,
        heard_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """`(N, U, D)` of `(N, U, D)` float32.

        Args:
            x: what stands for each token.
            mask: 1 inside the tokens of an utterance, `(N, U, 1)`.
            heard: what the encoder gave, `(N, T, D)`.
            heard_mask: 1 inside utterances, `(N, 1, T)`.
        """
        utterances, tokens, width = x.shape
        flat = x.reshape(-1, width).contiguous()
        inner = self._inner_norm.rectified_quantized(self._up(self._norm1.quantized(flat)))
        products = self._down(inner)
        if not self._has_memory:
            rows = torch.zeros(products.values.shape)
            products.add_to(rows)
            return rows.view(utterances, tokens, -1)
        lengths, _ = self._padding.of(mask, utterances, tokens)
        rows = flat.clone()
        self._memory.add_to(rows, self._norm2.normalized(products), lengths, tokens)
        if self._attends:
            frames = heard.shape[1]
            heard_lengths, blocked = self._heard.padding.of(heard_mask, utterances, frames)
            (query,) = self._heads.spread(self._query(self._norm3.quantized(rows)), tokens)
            key, value = self._heads.spread(self._key_value(self._heard.rows(heard)), frames)
            context = attend(query, key, value, heard_lengths, blocked)
            self._out(self._heads.joined(context)).add_to(rows)
        return rows.view(utterances, tokens, width)

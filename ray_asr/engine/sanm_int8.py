"""SANM encoder and decoder layers in 8 bits on a CPU, with as few passes over memory as can be.

Owns faster equals of FunASR's `EncoderLayerSANM.forward` and `DecoderLayerSANM.forward`, put in
their place. Must not know Ray, Parquet or audio.

Once products of 8-bit numbers are fast, half of the time goes to what stands between them: layer
norms, conversions, copies to and from heads. Here each of those is one pass (`row_layers`), and
from the first layer of a stack to its last nothing is computed for padding (`packed_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import nn

from ray_asr.engine.int8 import Rows, quantized
from ray_asr.engine.packed_rows import Packing, Packings, Room
from ray_asr.engine.row_layers import Heads, RowLinear, RowMemory, RowNorm, attend


def fuse_layers(model: nn.Module) -> int:
    """Have the plain SANM layers of `model` compute this way; how many there are.

    A decoder of hotwords (SeACo) stays as it is: FunASR reads its parts one by one.
    """
    frames, of_frames, tokens, of_tokens = Packings(), Room(), Packings(), Room()
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    fused = 0
    for names in _ENCODER_STACKS:
        for layer, ends in _stack(encoder, names, "EncoderLayerSANM", _is_plain_encoder):
            layer._ray_asr_int8 = _EncoderLayer(layer, frames, of_frames, ends)
            layer.forward = MethodType(_encoder_forward, layer)
            fused += 1
    heard = _Heard()
    for layer, ends in _stack(decoder, _DECODER_STACK, "DecoderLayerSANM", _is_plain_decoder):
        layer._ray_asr_int8 = _DecoderLayer(layer, tokens, of_tokens, ends, heard)
        layer.forward = MethodType(_decoder_forward, layer)
        fused += 1
    return fused


# Lists of layers whose results go from one to the next and nowhere else.
_ENCODER_STACKS = (("encoders0", "encoders"), ("tp_encoders",))
_DECODER_STACK = ("decoders", "decoders2", "decoders3")


class _Ends(NamedTuple):
    """Whether a layer is the first of its stack, to which batches come padded, and the last."""

    first: bool
    last: bool


def _stack(
    owner: Any, names: Sequence[str], kind: str, is_plain: Callable[[Any], bool]
) -> Iterator[tuple[Any, _Ends]]:
    """The plain layers among those of these lists; one beside another kind is an end."""
    lists = [getattr(owner, name, None) for name in names]
    layers = [layer for part in lists if part is not None for layer in part]
    plain = [type(layer).__name__ == kind and is_plain(layer) for layer in layers]
    # Conditioned on what it finds on the way, an encoder looks at every layer's result.
    is_looked_at = bool(getattr(owner, "interctc_layer_idx", None))
    for at, layer in enumerate(layers):
        if plain[at]:
            first = is_looked_at or at == 0 or not plain[at - 1]
            last = is_looked_at or at == len(layers) - 1 or not plain[at + 1]
            yield layer, _Ends(first, last)


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

    def __init__(self, layer: Any, packings: Packings, room: Room, ends: _Ends) -> None:
        self._packings, self._room, self._ends = packings, room, ends
        attention, feed_forward = layer.self_attn, layer.feed_forward
        self._heads = Heads(attention.h, attention.d_k)
        self._adds_input = layer.in_size == layer.size
        self._norm1, self._norm2 = RowNorm(layer.norm1), RowNorm(layer.norm2)
        self._query_key_value = RowLinear(attention.linear_q_k_v, _query_factors(3, self._heads))
        self._out = RowLinear(attention.linear_out)
        self._memory = RowMemory(attention.fsmn_block, attention.pad_fn)
        self._up, self._down = RowLinear(feed_forward.w_1), RowLinear(feed_forward.w_2)

    def __call__(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """A batch as the next layer wants it, `(N, T, D)` or its rows, of `(N, T, in)` or rows.

        Args:
            x: float32.
            mask: not 0 inside utterances, `(N, 1, T)`.
        """
        packing, room = self._packings.of(mask, x), self._room
        rows = packing.rows(x, copied=self._ends.first and self._adds_input)
        normed = self._norm1.quantized(rows, room)
        size = self._heads.number * self._heads.width
        if not self._adds_input:
            rows = rows.new_zeros(packing.count, size)
        values = room.array("values", (packing.count, size), torch.float32)
        projected = self._query_key_value(normed)
        query, key, value = self._heads.spread(projected, packing, room, values)
        context = attend(query, key, value, packing, packing)
        attended = self._out(self._heads.joined(context, packing, room))
        normed = self._memory.add_normalized(rows, values, packing, self._norm2, room, attended)
        self._down(self._up(normed).rectified(room)).add_to(rows)
        return packing.padded(rows) if self._ends.last else packing.joined(rows)


class _Heard:
    """What the encoder gave, in 8 bits once for all layers of a decoder."""

    def __init__(self) -> None:
        self.packings = Packings()
        self._of: torch.Tensor | None = None
        self._rows: Rows | None = None

    def rows(self, memory: torch.Tensor, packing: Packing) -> Rows:
        """`(N, T, D)` as rows `(M, D)`."""
        if self._rows is None or self._of is not memory:
            self._rows = quantized(packing.rows(memory, copied=False))
            self._of = memory
        return self._rows


class _DecoderLayer:
    """Feed-forward, memory and attention to what the encoder gave; the last two may be missing."""

    def __init__(
        self, layer: Any, packings: Packings, room: Room, ends: _Ends, heard: _Heard
    ) -> None:
        self._packings, self._room, self._ends = packings, room, ends
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
        """A batch as the next layer wants it, `(N, U, D)` or its rows, of the same.

        Args:
            x: what stands for each token, float32.
            mask: 1 inside the tokens of an utterance, `(N, U, 1)`.
            heard: what the encoder gave, `(N, T, D)`.
            heard_mask: 1 inside utterances, `(N, 1, T)`.
        """
        packing, room = self._packings.of(mask, x), self._room
        rows = packing.rows(x, copied=self._ends.first)
        up = self._up(self._norm1.quantized(rows, room))
        products = self._down(self._inner_norm.rectified_quantized(up, room))
        if not self._has_memory:
            rows = torch.zeros(products.values.shape)
            products.add_to(rows)
        else:
            values = self._norm2.normalized(products, room)
            if self._attends:
                normed = self._memory.add_normalized(rows, values, packing, self._norm3, room)
                self._attend(rows, normed, packing, heard, heard_mask)
            else:
                self._memory.add_to(rows, values, packing)
        return packing.padded(rows) if self._ends.last else packing.joined(rows)

    def _attend(
        self,
        rows: torch.Tensor,
        normed: Rows,
        packing: Packing,
        heard: torch.Tensor,
        heard_mask: torch.Tensor | None,
    ) -> None:
        """Add what tokens find in what was heard to their rows."""
        room, frames = self._room, self._heard.packings.of(heard_mask, heard)
        (query,) = self._heads.spread(self._query(normed), packing, room)
        products = self._key_value(self._heard.rows(heard, frames))
        key, value = self._heads.spread(products, frames, room)
        context = attend(query, key, value, packing, frames)
        self._out(self._heads.joined(context, packing, room)).add_to(rows)

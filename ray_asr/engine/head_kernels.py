"""Passes over the heads of attention between 8-bit matrix products, compiled for the processor.

Owns the loops that cut rows into heads and join them again, and the softmax between the two. Must
not know models, torch or threads: arrays come in, and arrays that were made for them are filled
(see `row_kernels`).

A bfloat16 is the upper half of a float32 and stands in a uint16 here.
"""

from __future__ import annotations

import numpy as np

from ray_asr.engine.compiled import compiled
from ray_asr.engine.row_kernels import quantize, scaled

_ONE, _HALF = np.float32(1), np.float32(0.5)
_LOG2_E = np.float32(1.4426950408889634)
_SMALLEST_EXPONENT = np.float32(-126)
# 2^f for f from -0.5 to 0.5 to 4e-5 of it, far below what bfloat16 tells apart: Taylor's terms.
_TERMS = tuple(np.float32(term) for term in (0.69314718, 0.24022651, 0.05550411, 0.00961813))
_SIGN = np.int32(31)
_MAGNITUDE = np.int32(0x7FFFFFFF)
_LEAST = np.int32(-0x80000000)


@compiled(fastmath=True)
def _halved(bits):
    """The upper 16 bits of a float32, rounded to even: bfloat16."""
    return np.uint16((bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> 16)


@compiled(fastmath=True)
def spread_to_heads(products, factors, bias, lengths, is_half, halves, wholes, again):
    """`products * factors + bias`, each part by utterance and head; zeros behind each utterance.

    Args:
        products: of 8-bit rows, `(M, P * H * K)` float32 or bfloat16, utterance after utterance: P
            parts, such as query, key, value.
        factors: the scales of those rows, `(M,)`.
        bias: `(P * H * K,)`.
        lengths: rows of each utterance, `(N,)`, M together.
        is_half: `halves` is filled, else `wholes`; the other one is empty.
        halves: bfloat16 as uint16, `(P, N, H, T, K)`.
        wholes: float32, `(P, N, H, T, K)`.
        again: the last part as rows `(M, H * K)` float32, filled; without rows it is left out.
    """
    parts, _, heads, frames, width = halves.shape if is_half else wholes.shape
    all_heads = heads * width
    row = np.empty(all_heads, np.float32)
    bits = row.view(np.int32)
    i = 0
    for utterance in range(lengths.shape[0]):
        for frame in range(lengths[utterance]):
            for part in range(parts):
                begin = part * all_heads
                end = begin + all_heads
                scaled(products[i, begin:end], factors[i], bias[begin:end], row, bits)
                for head in range(heads):
                    if is_half:
                        half = halves[part, utterance, head, frame]
                        of_head = bits[head * width : (head + 1) * width]
                        for j in range(width):
                            half[j] = _halved(of_head[j])
                    else:
                        whole = wholes[part, utterance, head, frame]
                        values = row[head * width : (head + 1) * width]
                        for j in range(width):
                            whole[j] = values[j]
            if again.shape[0]:
                target = again[i]
                for j in range(all_heads):
                    target[j] = row[j]
            i += 1
        for part in range(parts):
            for head in range(heads):
                if is_half:
                    halves[part, utterance, head, lengths[utterance] : frames] = 0
                else:
                    wholes[part, utterance, head, lengths[utterance] : frames] = 0


@compiled(fastmath=True)
def quantize_heads(lengths, is_half, halves, wholes, levels, zero, out, scales):
    """What attention gives, as in `spread_to_heads` without P, as 8-bit rows `(M, H * K)`."""
    _, heads, _, width = halves.shape if is_half else wholes.shape
    row = np.empty(heads * width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    i = 0
    for utterance in range(lengths.shape[0]):
        for frame in range(lengths[utterance]):
            for head in range(heads):
                if is_half:
                    half = halves[utterance, head, frame]
                    target = bits[head * width : (head + 1) * width]
                    for j in range(width):
                        target[j] = np.int32(half[j]) << np.int32(16)
                else:
                    whole = wholes[utterance, head, frame]
                    values = row[head * width : (head + 1) * width]
                    for j in range(width):
                        values[j] = whole[j]
            scales[i] = quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])
            i += 1


@compiled(fastmath=True)
def softmax(scores, asked, lengths):
    """Scores of queries against keys become weights, in place: softmax within each utterance.

    Args:
        scores: bfloat16, `(N, H, U, T)`.
        asked: queries of each utterance, `(N,)`; those behind them stay as they are.
        lengths: keys of each utterance, `(N,)`; those behind them have no weight.
    """
    utterances, heads, _, keys = scores.shape
    row = np.empty(keys, np.float32)
    bits = row.view(np.int32)
    exponents = np.empty(max(1, keys), np.int32)
    for utterance in range(utterances):
        length = lengths[utterance]
        for head in range(heads):
            for query in range(asked[utterance]):
                of_query = scores[utterance, head, query]
                for j in range(length):
                    bits[j] = np.int32(of_query[j]) << np.int32(16)
                # Floats order like integers once the magnitude of negative ones is turned.
                largest = _LEAST
                for j in range(length):
                    largest = max(largest, bits[j] ^ ((bits[j] >> _SIGN) & _MAGNITUDE))
                exponents[0] = largest ^ ((largest >> _SIGN) & _MAGNITUDE)
                top = exponents.view(np.float32)[0]
                for j in range(length):
                    power = (row[j] - top) * _LOG2_E
                    power = power if power > _SMALLEST_EXPONENT else _SMALLEST_EXPONENT
                    whole = np.int32(power - _HALF)  # the nearest, as it is not positive
                    part = power - np.float32(whole)
                    exponents[j] = whole << np.int32(23)
                    row[j] = _ONE + part * (
                        _TERMS[0] + part * (_TERMS[1] + part * (_TERMS[2] + part * _TERMS[3]))
                    )
                total = np.float32(0)
                for j in range(length):
                    bits[j] += exponents[j]
                for j in range(length):
                    total += row[j]
                share = _ONE / total
                for j in range(length):
                    row[j] *= share
                for j in range(length):
                    of_query[j] = _halved(bits[j])
                for j in range(length, keys):
                    of_query[j] = np.uint16(0)

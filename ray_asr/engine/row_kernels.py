"""Passes over rows of activations between 8-bit matrix products, compiled for the processor.

Owns the loops. Must not know models, torch or threads: arrays come in, and arrays that were made
for them are filled. A pass reads its rows from memory once and does all there is to do to them.

Every kernel runs in the thread that calls it and lets go of Python's lock. A row of 8-bit numbers
has a scale of its own, so that what an utterance gives never hangs on what else is in its batch.
The largest magnitude is looked for among the bits of the floats, which order like integers:
compilers make vectors of that, and not of a search among floats.
"""

from __future__ import annotations

import numpy as np

from ray_asr.engine.compiled import compiled

_MAGNITUDE = np.int32(0x7FFFFFFF)
# The bits of 1e-12: a row of zeros has a scale above zero.
_SMALLEST = np.float32(1e-12).view(np.int32)
_HALF = np.float32(0.5)


@compiled(fastmath=True)
def _largest(bits, scratch_bits, scratch):
    top = _SMALLEST
    for j in range(bits.shape[0]):
        top = max(top, bits[j] & _MAGNITUDE)
    scratch_bits[0] = top
    return scratch[0]


@compiled(fastmath=True)
def _normalize(row, gain, shift, epsilon):
    width = row.shape[0]
    mean = np.float32(0)
    for j in range(width):
        mean += row[j]
    mean /= np.float32(width)
    variance = np.float32(0)
    for j in range(width):
        deviation = row[j] - mean
        variance += deviation * deviation
    inverse = np.float32(1) / np.sqrt(variance / np.float32(width) + epsilon)
    for j in range(width):
        row[j] = (row[j] - mean) * inverse * gain[j] + shift[j]


@compiled(fastmath=True)
def _quantize(row, bits, scratch_bits, scratch, levels, zero, out):
    largest = _largest(bits, scratch_bits, scratch)
    factor = levels / largest
    offset = zero + _HALF
    for j in range(row.shape[0]):
        out[j] = np.uint8(np.int32(row[j] * factor + offset))
    return largest / levels


@compiled(fastmath=True)
def quantize_rows(rows, levels, zero, out, scales):
    """Rows `(M, K)` float32 to 8 bits `(M, K)` uint8 around `zero`, and their scales `(M,)`."""
    width = rows.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    for i in range(rows.shape[0]):
        source = rows[i]
        for j in range(width):
            row[j] = source[j]
        scales[i] = _quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def normalize_quantize(rows, gain, shift, epsilon, levels, zero, out, scales):
    """Layer norm of rows `(M, K)`, then as `quantize_rows`."""
    width = rows.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    for i in range(rows.shape[0]):
        source = rows[i]
        for j in range(width):
            row[j] = source[j]
        _normalize(row, gain, shift, epsilon)
        scales[i] = _quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def rectify_quantize(products, factors, bias, levels, out, scales):
    """ReLU of `products * factors + bias`, to 8 bits from zero up.

    Args:
        products: of 8-bit rows, `(M, K)` float32.
        factors: the scales of those rows, `(M,)`.
        bias: `(K,)`.
        levels: the largest 8-bit number.
        out: `(M, K)` uint8, filled.
        scales: `(M,)`, filled.
    """
    width = products.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    for i in range(products.shape[0]):
        source, target, factor = products[i], out[i], factors[i]
        for j in range(width):
            row[j] = source[j] * factor + bias[j]
        top = _SMALLEST
        for j in range(width):
            top = max(top, bits[j])  # the bits of what is negative are negative integers
        scratch_bits[0] = top
        largest = scratch[0]
        step = levels / largest
        for j in range(width):
            target[j] = np.uint8(max(np.int32(row[j] * step + _HALF), np.int32(0)))
        scales[i] = largest / levels


@compiled(fastmath=True)
def rectify_normalize_quantize(
    products, factors, bias, gain, shift, epsilon, levels, zero, out, scales
):
    """ReLU of `products * factors + bias`, layer norm, then as `quantize_rows`."""
    width = products.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    for i in range(products.shape[0]):
        source, factor = products[i], factors[i]
        for j in range(width):
            row[j] = source[j] * factor + bias[j]
        for j in range(width):
            bits[j] = max(bits[j], np.int32(0))
        _normalize(row, gain, shift, epsilon)
        scales[i] = _quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def _halved(bits):
    """The upper 16 bits of a float32, rounded to even: bfloat16."""
    return np.uint16((bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> 16)


@compiled(fastmath=True)
def spread_to_heads(products, factors, bias, frames, is_half, halves, wholes, again):
    """`products * factors + bias`, each part by utterance and head.

    Args:
        products: of 8-bit rows, `(N * T, P * H * K)` float32: P parts, such as query, key, value.
        factors: the scales of those rows, `(N * T,)`.
        bias: `(P * H * K,)`.
        frames: T, rows of an utterance.
        is_half: `halves` is filled, else `wholes`; the other one is empty.
        halves: bfloat16 as uint16, `(P, N, H, T, K)`.
        wholes: float32, `(P, N, H, T, K)`.
        again: the last part as rows `(N * T, H * K)` float32, filled; without rows it is left out.
    """
    parts, _, heads, _, width = halves.shape if is_half else wholes.shape
    all_heads = heads * width
    row = np.empty(all_heads, np.float32)
    bits = row.view(np.int32)
    for i in range(products.shape[0]):
        utterance, frame, factor = i // frames, i % frames, factors[i]
        for part in range(parts):
            begin = part * all_heads
            source = products[i][begin : begin + all_heads]
            of_part = bias[begin : begin + all_heads]
            for j in range(all_heads):
                row[j] = source[j] * factor + of_part[j]
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


@compiled(fastmath=True)
def quantize_heads(frames, is_half, halves, wholes, levels, zero, out, scales):
    """What attention gives, as in `spread_to_heads` without P, as 8-bit rows `(N * T, H * K)`."""
    _, heads, _, width = halves.shape if is_half else wholes.shape
    row = np.empty(heads * width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    for i in range(out.shape[0]):
        utterance, frame = i // frames, i % frames
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
        scales[i] = _quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def add_products(products, factors, bias, rows):
    """`products * factors + bias` added to rows `(M, K)`, in place."""
    width = products.shape[1]
    for i in range(rows.shape[0]):
        source, target, factor = products[i], rows[i], factors[i]
        for j in range(width):
            target[j] += source[j] * factor + bias[j]


@compiled(fastmath=True)
def scale_normalize(products, factors, bias, gain, shift, epsilon, out):
    """Layer norm of `products * factors + bias`, `(M, K)` float32, filled."""
    width = products.shape[1]
    for i in range(products.shape[0]):
        source, target, factor = products[i], out[i], factors[i]
        for j in range(width):
            target[j] = source[j] * factor + bias[j]
        _normalize(target, gain, shift, epsilon)


@compiled(fastmath=True)
def add_memory(values, lengths, frames, taps, left, rows):
    """The FSMN memory of `values` added to rows, in place; nothing behind an utterance's end.

    Args:
        values: `(N * T, D)` float32; what lies behind an utterance's end counts as zero.
        lengths: frames of each utterance, `(N,)`.
        frames: T, rows of an utterance.
        taps: weight of each frame from `left` before to those after, `(L, D)`; the frame itself is
            added once more.
        left: frames of the memory before the frame.
        rows: `(N * T, D)` float32, changed.
    """
    count, width = taps.shape
    row = np.empty(width, np.float32)
    for i in range(rows.shape[0]):
        utterance, frame = i // frames, i % frames
        length = lengths[utterance]
        if frame >= length:
            continue
        own, target = values[i], rows[i]
        for j in range(width):
            row[j] = own[j]
        for k in range(max(0, left - frame), min(count, length + left - frame)):
            source, weights = values[i + k - left], taps[k]
            for j in range(width):
                row[j] += weights[j] * source[j]
        for j in range(width):
            target[j] += row[j]

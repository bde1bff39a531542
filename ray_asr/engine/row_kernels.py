"""Passes over rows of activations between 8-bit matrix products, compiled for the processor.

Owns the loops. Must not know models, torch or threads: arrays come in, and arrays that were made
for them are filled. A pass reads its rows from memory once and does all there is to do to them.

Every kernel runs in the thread that calls it and lets go of Python's lock. A row of 8-bit numbers
has a scale of its own, so that what an utterance gives never hangs on what else is in its batch.
The largest magnitude is looked for among the bits of the floats, which order like integers:
compilers make vectors of that, and not of a search among floats.

Products come as float32, or as bfloat16 in the bits of uint16, which is half as much to write and
to read: each kernel is compiled for what it is given.
"""

from __future__ import annotations

import numpy as np

from ray_asr.engine.compiled import FLOAT32, compiled, compiled_for

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


@compiled_for(fastmath=True)
def scaled(products, factor, bias, row, bits):
    """`row`, of which `bits` are the bits, becomes `products * factor + bias`."""

    def of_floats(products, factor, bias, row, bits):
        for j in range(row.shape[0]):
            row[j] = products[j] * factor + bias[j]

    def of_halves(products, factor, bias, row, bits):
        for j in range(row.shape[0]):
            bits[j] = np.int32(products[j]) << np.int32(16)
        for j in range(row.shape[0]):
            row[j] = row[j] * factor + bias[j]

    return of_floats if products.dtype == FLOAT32 else of_halves


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
def quantize(row, bits, scratch_bits, scratch, levels, zero, out):
    """`row`, of which `bits` are the bits, in 8 bits around `zero`; gives its scale.

    `scratch` has room for a float32, of which `scratch_bits` are the bits.
    """
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
        scales[i] = quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


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
        scales[i] = quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def rectify_quantize(products, factors, bias, levels, out, scales):
    """ReLU of `products * factors + bias`, to 8 bits from zero up.

    Args:
        products: of 8-bit rows, `(M, K)` float32 or bfloat16.
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
        target = out[i]
        scaled(products[i], factors[i], bias, row, bits)
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
        scaled(products[i], factors[i], bias, row, bits)
        for j in range(width):
            bits[j] = max(bits[j], np.int32(0))
        _normalize(row, gain, shift, epsilon)
        scales[i] = quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])


@compiled(fastmath=True)
def add_products(products, factors, bias, rows):
    """`products * factors + bias` added to rows `(M, K)`, in place."""
    width = products.shape[1]
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    for i in range(rows.shape[0]):
        target = rows[i]
        scaled(products[i], factors[i], bias, row, bits)
        for j in range(width):
            target[j] += row[j]


@compiled(fastmath=True)
def scale_normalize(products, factors, bias, gain, shift, epsilon, out):
    """Layer norm of `products * factors + bias`, `(M, K)` float32, filled."""
    for i in range(products.shape[0]):
        target = out[i]
        scaled(products[i], factors[i], bias, target, target.view(np.int32))
        _normalize(target, gain, shift, epsilon)


@compiled(fastmath=True)
def remember_quantize(
    products, factors, bias, values, lengths, taps, left, rows,
    gain, shift, epsilon, levels, zero, out, scales,
):  # fmt: skip
    """Products and the FSMN memory of `values` added to rows; these, normalized, in 8 bits.

    Args:
        products: `products * factors + bias` is added, `(M, D)`; without rows it is left out.
        factors: the scales of those rows, `(M,)`.
        bias: `(D,)`.
        values: `(M, D)` float32, utterance after utterance.
        lengths: frames of each utterance, `(N,)`, M together.
        taps: weight of each frame from `left` before to those after, `(L, D)`; the frame itself is
            added once more. What is before or behind an utterance counts as zero.
        left: frames of the memory before the frame.
        rows: `(M, D)` float32, changed.
        gain: of the norm, `(D,)`.
        shift: likewise.
        epsilon: likewise.
        levels: as in `quantize`.
        zero: likewise.
        out: likewise, filled; without rows nothing is normalized.
        scales: likewise, filled.
    """
    count, width = taps.shape
    row = np.empty(width, np.float32)
    bits = row.view(np.int32)
    scratch = np.empty(1, np.float32)
    scratch_bits = scratch.view(np.int32)
    with_products, with_norm = products.shape[0] > 0, out.shape[0] > 0
    first = 0
    for length in lengths:
        for frame in range(length):
            i = first + frame
            if with_products:
                scaled(products[i], factors[i], bias, row, bits)
            else:
                for j in range(width):
                    row[j] = np.float32(0)
            own, target = values[i], rows[i]
            for j in range(width):
                row[j] += own[j] + target[j]
            for k in range(max(0, left - frame), min(count, length + left - frame)):
                source, weights = values[i + k - left], taps[k]
                for j in range(width):
                    row[j] += weights[j] * source[j]
            for j in range(width):
                target[j] = row[j]
            if with_norm:
                _normalize(row, gain, shift, epsilon)
                scales[i] = quantize(row, bits, scratch_bits, scratch, levels, zero, out[i])
        first += length

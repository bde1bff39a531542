"""Passes over rows against the same written out in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_asr.engine import head_kernels, row_kernels
from ray_asr.engine.int8 import EIGHT_BITS, SEVEN_BITS, Levels

Array = NDArray[np.float32]
EPSILON = np.float32(1e-5)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def room(rows: int, width: int) -> tuple[NDArray[np.uint8], Array]:
    return np.full((rows, width), 99, np.uint8), np.full(rows, np.nan, np.float32)


def restored(out: NDArray[np.uint8], scales: Array, zero: float) -> Array:
    return (out.astype(np.float32) - zero) * scales[:, None]


def normed(rows: Array, gain: Array, shift: Array) -> Array:
    wide = rows.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1, keepdims=True) + EPSILON)
    return (centred / deviation * gain + shift).astype(np.float32)


def assert_within_a_step(found: Array, wanted: Array, scales: Array) -> None:
    assert (np.abs(found - wanted) <= 0.501 * scales[:, None] + 1e-4).all()


@pytest.mark.parametrize("levels", [EIGHT_BITS, SEVEN_BITS])
@pytest.mark.parametrize("width", [1, 7, 64, 513])
def test_a_row_comes_back_within_half_a_step(levels: Levels, width: int) -> None:
    rows = numbers(20, width) * np.logspace(-6, 6, 20, dtype=np.float32)[:, None]
    out, scales = room(20, width)
    row_kernels.quantize_rows(rows, levels.signed, levels.zero, out, scales)
    found = restored(out, scales, levels.zero)
    assert (np.abs(found - rows) <= 0.501 * scales[:, None]).all()
    assert out.max() <= levels.zero + levels.signed


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40))
def test_any_row_is_finite_and_within_its_levels(values: list[float]) -> None:
    rows = np.array([values], np.float32)
    out, scales = room(1, len(values))
    row_kernels.quantize_rows(rows, SEVEN_BITS.signed, SEVEN_BITS.zero, out, scales)
    assert np.isfinite(scales).all()
    assert (np.abs(out.astype(int) - 64) <= 63).all()
    assert_within_a_step(restored(out, scales, 64), rows, scales)


def test_zeros_stay_zeros() -> None:
    out, scales = room(3, 16)
    row_kernels.quantize_rows(
        np.zeros((3, 16), np.float32), EIGHT_BITS.signed, EIGHT_BITS.zero, out, scales
    )
    assert (out == 128).all()
    assert (scales > 0).all()


def test_a_norm_is_that_of_float64() -> None:
    rows, gain, shift = numbers(9, 48), numbers(48, seed=1), numbers(48, seed=2)
    out, scales = room(9, 48)
    row_kernels.normalize_quantize(
        rows, gain, shift, EPSILON, EIGHT_BITS.signed, EIGHT_BITS.zero, out, scales
    )
    assert_within_a_step(restored(out, scales, 128), normed(rows, gain, shift), scales)


@pytest.mark.parametrize("levels", [EIGHT_BITS, SEVEN_BITS])
def test_what_is_negative_becomes_zero(levels: Levels) -> None:
    products, factors, bias = numbers(9, 48), np.abs(numbers(9, seed=1)), numbers(48, seed=2)
    out, scales = room(9, 48)
    row_kernels.rectify_quantize(products, factors, bias, levels.unsigned, out, scales)
    wanted = np.maximum(products * factors[:, None] + bias, 0)
    assert_within_a_step(restored(out, scales, 0), wanted, scales)
    assert out.max() <= levels.unsigned


def test_a_row_without_anything_positive_is_zero() -> None:
    out, scales = room(2, 8)
    minus = np.full((2, 8), -1, np.float32)
    row_kernels.rectify_quantize(
        minus, np.ones(2, np.float32), np.zeros(8, np.float32), EIGHT_BITS.unsigned, out, scales
    )
    assert (out == 0).all()
    assert np.isfinite(scales).all()


def test_the_positive_part_is_normed() -> None:
    products, factors, bias = numbers(9, 48), np.abs(numbers(9, seed=1)), numbers(48, seed=2)
    gain, shift = numbers(48, seed=3), numbers(48, seed=4)
    out, scales = room(9, 48)
    row_kernels.rectify_normalize_quantize(
        products, factors, bias, gain, shift, EPSILON, EIGHT_BITS.signed, EIGHT_BITS.zero, out,
        scales,
    )  # fmt: skip
    wanted = normed(np.maximum(products * factors[:, None] + bias, 0), gain, shift)
    assert_within_a_step(restored(out, scales, 128), wanted, scales)


def halved(values: Array) -> tuple[NDArray[np.uint16], Array]:
    """Values as bfloat16 in the bits of uint16, and what these are as float32."""
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    return halves, (halves.astype(np.uint32) << 16).view(np.float32)


def test_products_in_bfloat16_give_what_the_same_numbers_give_in_float32() -> None:
    halves, wholes = halved(numbers(9, 48))
    factors, bias = np.abs(numbers(9, seed=1)), numbers(48, seed=2)
    gain, shift = numbers(48, seed=3), numbers(48, seed=4)
    found: list[list[Any]] = []
    for products in (halves, wholes):
        rows, out = numbers(9, 48, seed=5), np.zeros((9, 48), np.float32)
        row_kernels.add_products(products, factors, bias, rows)
        row_kernels.scale_normalize(products, factors, bias, gain, shift, EPSILON, out)
        found.append([rows, out])
        eight, scales = room(9, 48)
        row_kernels.rectify_quantize(products, factors, bias, np.float32(255), eight, scales)
        found[-1] += [restored(eight, scales, 0)]
        eight, scales = room(9, 48)
        row_kernels.rectify_normalize_quantize(
            products, factors, bias, gain, shift, EPSILON, EIGHT_BITS.signed, EIGHT_BITS.zero,
            eight, scales,
        )  # fmt: skip
        found[-1] += [restored(eight, scales, 128)]
        wholes_of_heads = np.zeros((3, 1, 4, 9, 4), np.float32)
        head_kernels.spread_to_heads(
            products, factors, bias, np.array([9]), False, np.zeros((0,) * 5, np.uint16),
            wholes_of_heads, np.zeros((0, 0), np.float32),
        )  # fmt: skip
        found[-1] += [wholes_of_heads]
    for of_halves, of_wholes in zip(*found, strict=True):
        np.testing.assert_allclose(of_halves, of_wholes, rtol=1e-4, atol=1e-4)


@given(st.data())
def test_scores_become_weights_within_each_utterance(data: st.DataObject) -> None:
    keys, queries = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    lengths = data.draw(st.lists(st.integers(1, keys), min_size=1, max_size=3))
    spread = data.draw(st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e30]))
    shape = (len(lengths), 2, queries, keys)
    halves, wholes = halved(numbers(*shape, seed=data.draw(st.integers(0, 9))) * np.float32(spread))
    head_kernels.softmax(halves, np.full(len(lengths), queries), np.array(lengths))
    found = (halves.astype(np.uint32) << 16).view(np.float32)
    for utterance, length in enumerate(lengths):
        scores = wholes[utterance, ..., :length].astype(np.float64)
        wanted = np.exp(scores - scores.max(-1, keepdims=True))
        wanted /= wanted.sum(-1, keepdims=True)
        np.testing.assert_allclose(found[utterance, ..., :length], wanted, rtol=2**-7, atol=1e-9)
        assert (found[utterance, ..., length:] == 0).all()


def test_an_utterance_without_a_frame_has_no_weights() -> None:
    halves, _ = halved(numbers(1, 2, 3, 4))
    head_kernels.softmax(halves, np.array([3]), np.array([0]))
    assert (halves == 0).all()


def heads_of(rows: Array, parts: int, lengths: list[int], frames: int, heads: int) -> Array:
    """By utterance and head, zeros behind each utterance."""
    width = rows.shape[1] // parts // heads
    out = np.zeros((parts, len(lengths), heads, frames, width), np.float32)
    first = 0
    for utterance, length in enumerate(lengths):
        cut = rows[first : first + length].reshape(length, parts, heads, width)
        out[:, utterance, :, :length] = cut.transpose(1, 2, 0, 3)
        first += length
    return out


@pytest.mark.parametrize("is_half", [True, False])
@pytest.mark.parametrize("lengths", [[5, 5], [2, 5, 0, 3]])
def test_heads_are_spread_and_joined(is_half: bool, lengths: list[int]) -> None:
    parts, heads, frames, width = 3, 4, 5, 16
    products = numbers(sum(lengths), parts * heads * width)
    factors, bias = np.abs(numbers(len(products), seed=1)), numbers(products.shape[1], seed=2)
    shape = (parts, len(lengths), heads, frames, width)
    none: tuple[int, ...] = (0,) * 5
    halves = np.full(shape if is_half else none, 0x7FC0, np.uint16)  # no numbers
    wholes = np.full(none if is_half else shape, np.nan, np.float32)
    again = np.zeros((len(products), heads * width), np.float32)
    head_kernels.spread_to_heads(
        products, factors, bias, np.array(lengths), is_half, halves, wholes, again
    )
    rows = products * factors[:, None] + bias
    wanted = heads_of(rows, parts, lengths, frames, heads)
    found = (halves.astype(np.uint32) << 16).view(np.float32) if is_half else wholes
    np.testing.assert_allclose(found, wanted, rtol=2**-8 if is_half else 1e-5, atol=1e-4)
    np.testing.assert_allclose(again, rows[:, 2 * heads * width :], rtol=1e-5, atol=1e-4)

    out, scales = room(len(products), heads * width)
    head_kernels.quantize_heads(
        np.array(lengths), is_half, halves[2] if is_half else np.zeros((0,) * 4, np.uint16),
        np.zeros((0,) * 4, np.float32) if is_half else wholes[2],
        EIGHT_BITS.signed, EIGHT_BITS.zero, out, scales,
    )  # fmt: skip
    context = np.concatenate(
        [found[2, n, :, :length].transpose(1, 0, 2) for n, length in enumerate(lengths)]
    ).reshape(len(products), -1)
    assert_within_a_step(restored(out, scales, 128), context, scales)


def test_half_is_rounded_to_even_as_torch_does() -> None:
    import torch

    values = np.concatenate([numbers(1, 4096)[0], np.float32([0, -0.0, 1, 1.00390625, 1.01171875])])
    halves = np.zeros((1, 1, 1, 1, len(values)), np.uint16)
    head_kernels.spread_to_heads(
        values[None], np.ones(1, np.float32), np.zeros(len(values), np.float32), np.array([1]),
        True, halves,
        np.zeros((0,) * 5, np.float32), np.zeros((0, 0), np.float32),
    )  # fmt: skip
    wanted = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(halves.ravel() & 0x7FFF, wanted & 0x7FFF)


def memory_of(values: Array, lengths: list[int], taps: Array, left: int) -> Array:
    wanted = np.zeros_like(values)
    first = 0
    for length in lengths:
        for frame in range(length):
            wanted[first + frame] = values[first + frame]
            for k, tap in enumerate(taps):
                if 0 <= frame + k - left < length:
                    wanted[first + frame] += tap * values[first + frame + k - left]
        first += length
    return wanted


@given(st.data())
def test_memory_and_products_are_added_within_each_utterance_and_normed(
    data: st.DataObject,
) -> None:
    lengths = data.draw(st.lists(st.integers(0, 14), min_size=1, max_size=3))
    count = data.draw(st.integers(1, 11))
    left = data.draw(st.integers(0, count - 1))
    values, products = numbers(sum(lengths), 8), numbers(sum(lengths), 8, seed=1)
    factors, bias = np.abs(numbers(len(values), seed=2)), numbers(8, seed=3)
    rows, taps = numbers(*values.shape, seed=4), numbers(count, 8, seed=5)
    gain, shift = numbers(8, seed=6), numbers(8, seed=7)
    with_products, with_norm = data.draw(st.booleans()), data.draw(st.booleans())
    found, none = rows.copy(), np.zeros(0, np.float32)
    nothing = np.zeros((0, 0), np.float32), none, none
    out, scales = room(len(values), 8) if with_norm else (np.zeros((0, 0), np.uint8), none)
    row_kernels.remember_quantize(
        *((products, factors, bias) if with_products else nothing),
        values, np.array(lengths), taps, left, found, gain, shift, EPSILON,
        EIGHT_BITS.signed, EIGHT_BITS.zero, out, scales,
    )  # fmt: skip
    wanted = rows + memory_of(values, lengths, taps, left)
    if with_products:
        wanted += products * factors[:, None] + bias
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
    if with_norm:
        assert_within_a_step(restored(out, scales, 128), normed(found, gain, shift), scales)


def test_products_are_scaled_before_they_are_added_or_normed() -> None:
    products, factors, bias = numbers(6, 24), np.abs(numbers(6, seed=1)), numbers(24, seed=2)
    rows = numbers(6, 24, seed=3)
    wanted: Any = products * factors[:, None] + bias
    found = rows.copy()
    row_kernels.add_products(products, factors, bias, found)
    np.testing.assert_allclose(found, rows + wanted, rtol=1e-5, atol=1e-4)
    gain, shift = numbers(24, seed=4), numbers(24, seed=5)
    row_kernels.scale_normalize(products, factors, bias, gain, shift, EPSILON, found)
    np.testing.assert_allclose(found, normed(wanted, gain, shift), rtol=1e-3, atol=1e-3)

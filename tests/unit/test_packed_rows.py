"""Rows without padding, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.engine.packed_rows import Packings, Room


def batch_of(lengths: list[int], frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`(N, T, 3)` numbers, not 0 behind utterances either, and the mask."""
    x = torch.arange(1.0, 1 + len(lengths) * frames * 3).view(len(lengths), frames, 3)
    mask = (torch.arange(frames)[None] < torch.tensor(lengths)[:, None]).float()[:, None]
    return x, mask


@given(st.lists(st.integers(0, 6), min_size=2, max_size=4), st.integers(0, 2))
def test_rows_are_the_frames_inside_utterances_and_become_the_batch_again(
    lengths: list[int], more: int
) -> None:
    frames = max(*lengths, 1) + more
    x, mask = batch_of(lengths, frames)
    packing = Packings().of(mask, x)
    rows = packing.rows(x, copied=False)
    wanted = torch.cat([one[:length] for one, length in zip(x, lengths, strict=True)])
    assert rows.equal(wanted)
    assert packing.count == sum(lengths)
    assert packing.padded(rows).equal(x * mask.transpose(1, 2))
    # Between layers they come as rows, and stay the same memory.
    between = packing.joined(rows)
    if min(lengths) < frames:
        assert between.shape == (1, sum(lengths), 3)
    again = packing.rows(between, copied=False)
    assert again.equal(rows)
    if packing.count:
        assert again.data_ptr() == between.data_ptr()


def test_a_copy_is_nobody_elses() -> None:
    x, mask = batch_of([2, 2], 2)
    packing = Packings().of(mask, x)
    packing.rows(x, copied=True).zero_()
    assert x.all()
    padded, mask = batch_of([2, 1], 2)
    Packings().of(mask, padded).rows(padded, copied=False).zero_()
    assert padded.all()


@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, 4)])
def test_an_utterance_alone_and_a_batch_without_a_mask_have_no_padding(
    mask: torch.Tensor | None,
) -> None:
    x = torch.ones(1 if mask is not None else 3, 4, 2)
    packing = Packings().of(mask, x)
    assert packing.lengths.tolist() == [4] * len(x)
    assert packing.padded(packing.rows(x, copied=False)).equal(x)


def test_one_mask_is_looked_at_once() -> None:
    x, mask = batch_of([3, 1], 3)
    packings = Packings()
    assert packings.of(mask, x) is packings.of(mask, x)
    assert packings.of(mask.clone(), x) is not packings.of(mask, x)


def test_room_is_the_same_until_another_shape_is_asked_for() -> None:
    room = Room()
    first = room.array("a", (2, 3), torch.float32)
    assert room.array("a", (2, 3), torch.float32) is first
    assert room.array("b", (2, 3), torch.float32).data_ptr() != first.data_ptr()
    assert room.array("a", (4, 3), torch.float32).shape == (4, 3)
    zero = np.float32(128)
    rows = room.rows("a", (2, 3), zero)
    assert rows.zero == 128
    assert room.rows("a", (2, 3), zero) is rows
    assert room.rows("a", (2, 3), np.float32(64)).zero == 64

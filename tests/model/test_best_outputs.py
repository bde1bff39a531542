"""The largest output by 8 bits and a few products in float32: the float32 layer's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ray_asr.engine import int8
from ray_asr.engine.best_outputs import BestOutputs, best_outputs_of
from ray_asr.engine.int8 import Int8Weights, quantized
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.precision import bring_to
from ray_asr.engine.recognizers import batch_recognizer
from tests.model.random_models import random_model


def layer(outputs: int, width: int, seed: int, bias: bool = True) -> nn.Linear:
    """Rows of weights as different in size as those of trained layers and more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = nn.Linear(width, outputs, bias=bias)
        with torch.no_grad():
            linear.weight *= 10 ** torch.empty(outputs, 1).uniform_(-1.5, 1.5)
    return linear


def assert_best(found: torch.Tensor, linear: nn.Linear, rows: torch.Tensor) -> None:
    """No output is larger than what was found by more than float32 can tell."""
    weight, wide = linear.weight.double(), rows.double()
    scores = wide @ weight.t() + (0 if linear.bias is None else linear.bias.double())
    magnitudes = wide.abs() @ weight.abs().t()
    at_found = scores.gather(1, found[:, None])[:, 0]
    assert (at_found >= scores.amax(1) - 1e-5 * magnitudes.amax(1)).all()


@pytest.mark.parametrize("levels", [int8.EIGHT_BITS, int8.SEVEN_BITS])
@torch.inference_mode()
def test_the_best_of_many_is_found(levels: int8.Levels, monkeypatch: pytest.MonkeyPatch) -> None:
    if levels is int8.EIGHT_BITS and int8.levels() is not int8.EIGHT_BITS:
        pytest.skip("this processor has no 32-bit sums of 8-bit products")
    monkeypatch.setattr(int8, "levels", lambda: levels)
    linear = nn.Linear(96, 3001)
    rows = torch.randn(200, 96)
    assert torch.equal(BestOutputs(linear).of_rows(rows), linear(rows).argmax(1))


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.integers(1, 300), st.integers(1, 40), st.integers(1, 12), st.integers(0, 9999), st.booleans()
)
def test_the_best_of_any_layer_is_found(
    outputs: int, width: int, count: int, seed: int, bias: bool
) -> None:
    linear = layer(outputs, width, seed, bias)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=generator)
    rows *= 10 ** torch.empty(count, 1).uniform_(-4, 4, generator=generator)
    rows[0] = 0
    with torch.inference_mode():
        assert_best(BestOutputs(linear).of_rows(rows), linear, rows)


@torch.inference_mode()
def test_outputs_that_8_bits_cannot_tell_apart_are_told_apart() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 500)
    linear.weight.copy_(linear.weight[:1] + 1e-4 * torch.randn(500, 64))
    linear.bias.zero_()
    rows = torch.randn(300, 64)
    wanted = (rows.double() @ linear.weight.double().t()).argmax(1)
    in_8_bits = quantized(rows)
    by_8_bits = Int8Weights(linear.weight).products(in_8_bits).argmax(1)
    assert (by_8_bits == wanted).float().mean() < 0.5
    assert (BestOutputs(linear).of_rows(rows) == wanted).float().mean() > 0.98  # float32's ties
    assert_best(BestOutputs(linear).of_rows(rows), linear, rows)


@torch.inference_mode()
def test_behind_the_tokens_of_an_utterance_nothing_is_computed() -> None:
    linear, rows = nn.Linear(16, 40), torch.randn(3, 5, 16)
    rows[1, 2:] = float("nan")
    counts = torch.tensor([5, 2, 0])
    found = BestOutputs(linear).of_batch(rows, counts)
    wanted = linear(rows).argmax(-1)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1, :2], wanted[1, :2])
    assert not found[1, 2:].any()
    assert not found[2].any()
    assert BestOutputs(linear).of_batch(rows, torch.zeros(3)).sum() == 0


@pytest.mark.parametrize("kind", ["Paraformer", "BiCifParaformer"])
@torch.inference_mode()
def test_a_model_in_8_bits_has_the_tokens_of_its_scores(kind: str, tmp_path: Path) -> None:
    auto = load_auto_model(random_model(tmp_path, kind), "model", device="cpu", ncpu=1)
    bring_to(auto.model, "int8")
    decoder: Any = auto.model.decoder
    assert best_outputs_of(decoder) is not None
    recognizer: Any = batch_recognizer(auto)
    features, lengths = torch.randn(4, 60, 560), torch.tensor([60, 45, 31, 9])
    found = recognizer.forward(features, lengths)
    decoder._ray_asr_best = None
    wanted = recognizer.forward(features, lengths)
    assert found.counts == wanted.counts
    assert sum(found.counts) > 0
    for ours, scored, count in zip(found.tokens, wanted.tokens, found.counts, strict=True):
        assert ours[:count].tolist() == scored[:count].tolist()


def test_where_scores_of_two_decoders_are_merged_all_of_them_are_computed(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "SeacoParaformer")
    model: Any = load_auto_model(folder, "model", device="cpu", ncpu=1).model
    bring_to(model, "int8")
    assert best_outputs_of(model.decoder) is None

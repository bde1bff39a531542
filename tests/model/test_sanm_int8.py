"""Layers in 8 bits against FunASR's own in float32: the same but for the rounding."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from ray_asr.engine import int8, row_layers
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.packed_linear import PackedLinear, is_worth_it, pack_linears
from ray_asr.engine.recognizers import batch_recognizer
from ray_asr.engine.sanm_int8 import fuse_layers
from tests.model.random_models import random_model

LENGTHS = [37, 30, 12]
KINDS = ["Paraformer", "BiCifParaformer", "SeacoParaformer", "SenseVoiceSmall"]


@pytest.fixture(params=["eight bits", "seven bits", "eight bits, float32 attention"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways that processors differ, on this one."""
    levels = int8.SEVEN_BITS if request.param == "seven bits" else int8.EIGHT_BITS
    if levels is int8.EIGHT_BITS and int8.levels() is not int8.EIGHT_BITS:
        pytest.skip("this processor has no 32-bit sums of 8-bit products")
    half = request.param != "eight bits, float32 attention"
    monkeypatch.setattr(row_layers, "levels", lambda: levels)
    monkeypatch.setattr(int8, "levels", lambda: levels)
    monkeypatch.setattr(row_layers, "has_bfloat16", lambda: half)
    return request.param


def loaded(folder: Path, kind: str = "Paraformer") -> Any:
    return load_auto_model(random_model(folder, kind), "model", device="cpu", ncpu=1).model


def difference(found: torch.Tensor, wanted: torch.Tensor, lengths: list[int]) -> float:
    """Mean difference within the utterances, relative to the mean magnitude."""
    inside = torch.arange(wanted.shape[1])[None] < torch.tensor(lengths)[:, None]
    return float((found - wanted)[inside].abs().mean() / wanted[inside].abs().mean())


def with_padding(found: torch.Tensor) -> torch.Tensor:
    """A batch as it stands between layers, where it has none, as FunASR has it."""
    if found.shape[0] == len(LENGTHS):
        return found
    assert found.shape[:2] == (1, sum(LENGTHS))
    return pad_sequence(list(found[0].split(LENGTHS)), batch_first=True)


@torch.inference_mode()
def test_an_encoder_gives_what_it_gives_in_float32(tmp_path: Path, processor: str) -> None:
    model = loaded(tmp_path)
    torch.manual_seed(0)
    features, lengths = torch.randn(3, 37, 560), torch.tensor(LENGTHS)
    wanted = model.encoder(features, lengths)[0]
    assert fuse_layers(model) == 3 + 3  # decoders: two with attention, one without
    found = model.encoder(features, lengths)[0]
    assert difference(found, wanted, LENGTHS) < 0.03


@torch.inference_mode()
def test_a_decoder_gives_what_it_gives_in_float32(tmp_path: Path, processor: str) -> None:
    model = loaded(tmp_path)
    torch.manual_seed(0)
    hidden, lengths = torch.randn(3, 37, 32), torch.tensor(LENGTHS)
    embeds, counts = torch.randn(3, 9, 32), [9, 7, 4]
    wanted = model.decoder(hidden, lengths, embeds, torch.tensor(counts))[0]
    fuse_layers(model)
    found = model.decoder(hidden, lengths, embeds, torch.tensor(counts))[0]
    assert difference(found, wanted, counts) < 0.03


@torch.inference_mode()
def test_an_utterance_does_not_hang_on_its_neighbours(tmp_path: Path, processor: str) -> None:
    model = loaded(tmp_path)
    fuse_layers(model)
    torch.manual_seed(0)
    features = torch.randn(3, 37, 560)
    together = model.encoder(features, torch.tensor(LENGTHS))[0]
    for row, length in enumerate(LENGTHS):
        one = features[row : row + 1, :length]
        alone = model.encoder(one, torch.tensor([length]))[0]
        torch.testing.assert_close(together[row : row + 1, :length], alone, rtol=2e-2, atol=2e-2)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_each_encoder_layer_of_every_class_is_fused(kind: str, tmp_path: Path) -> None:
    """Layer by layer: untrained layers in a row make more of a difference than trained ones."""
    model = loaded(tmp_path, kind)
    plain = copy.deepcopy(model.encoder)
    fuse_layers(model)
    torch.manual_seed(0)
    mask = (torch.arange(37)[None] < torch.tensor(LENGTHS)[:, None])[:, None].float()
    x, layers = torch.randn(3, 37, 560), 0
    for ours, theirs in zip(model.encoder.modules(), plain.modules(), strict=True):
        if type(theirs).__name__ == "EncoderLayerSANM":
            wanted = theirs(x, mask)[0]
            assert difference(with_padding(ours(x, mask)[0]), wanted, LENGTHS) < 0.015
            assert not ours.feed_forward.w_1.weight.numel()
            x, layers = wanted, layers + 1
    assert layers == (5 if kind == "SenseVoiceSmall" else 3)


def test_a_hotword_decoder_keeps_the_parts_that_funasr_reads_one_by_one(tmp_path: Path) -> None:
    auto = load_auto_model(random_model(tmp_path, "SeacoParaformer"), "model", device="cpu", ncpu=1)
    fuse_layers(auto.model)
    assert all(p.numel() for p in auto.model.seaco_decoder.parameters())
    recognizer = batch_recognizer(auto, "\u4e00\u4e01")
    assert recognizer is not None
    with torch.inference_mode():
        heard = recognizer.forward(torch.randn(2, 40, 560), torch.tensor([40, 25]))
    assert len(recognizer.words(heard)) == 2


def test_layers_in_8_bits_refuse_to_stream(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    fuse_layers(model)
    layer = model.encoder.encoders[0]
    with pytest.raises(ValueError, match="not for streaming"):
        layer(torch.randn(1, 5, 32), None, cache={})


@pytest.mark.skipif(not is_worth_it(), reason="packed layers are not chosen on this processor")
@torch.inference_mode()
def test_packed_layers_give_what_torch_gives() -> None:
    torch.manual_seed(0)

    class FeedForward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w_1, self.w_2 = nn.Linear(64, 200), nn.Linear(200, 64, bias=False)
            self.activation = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.w_2(self.activation(self.w_1(x)))

    plain = FeedForward().eval()
    packed = copy.deepcopy(plain)
    pack_linears(packed)
    assert isinstance(packed.w_1, PackedLinear)
    assert isinstance(packed.activation, nn.Identity)
    for shape in ((1, 64), (3, 17, 64), (1500, 64)):
        x = torch.randn(shape)
        torch.testing.assert_close(packed(x), plain(x), rtol=1e-4, atol=1e-5)
        assert packed.w_1(x).min() >= 0


def test_only_layers_of_the_names_given_are_packed() -> None:
    both = nn.ModuleDict({"output_layer": nn.Linear(8, 4), "other": nn.Linear(8, 4)})
    pack_linears(both, ["output_layer"])
    assert isinstance(both["output_layer"], PackedLinear)
    assert type(both["other"]) is nn.Linear


def test_levels_fit_the_instructions() -> None:
    """127 * 127 * 2 fits 16 bits, 255 * 127 * 2 does not: there 32-bit sums are needed."""
    seven, most = int8.SEVEN_BITS, np.iinfo(np.int16).max
    assert 2 * 127 * max(seven.unsigned, seven.zero + seven.signed) <= most
    assert int8.levels() in (int8.SEVEN_BITS, int8.EIGHT_BITS)

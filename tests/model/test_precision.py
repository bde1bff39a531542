"""Fewer bits cost no words: each precision against float32 on the embedded speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import pytest
import torch
from torch import nn

import ray_asr.engine.precision as precision_module
from ray_asr.config import EngineConfig
from ray_asr.corpus.audio import decode
from ray_asr.demo import speech_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.int8 import Int8Linear
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.packed_linear import PackedLinear
from ray_asr.engine.precision import bring_to, choose
from ray_asr.engine.recognizers import batch_recognizer
from ray_asr.errors import ConfigError
from ray_asr.job.batching import group_by_padded_seconds, scatter
from ray_asr.schema import SAMPLE_RATE_HZ, Recognition, Waveform
from tests.model.random_models import random_model

DEMO = EngineConfig(model="demo", vad_model="", punc_model="", ncpu=1)
MOST_POINTS = 0.003


@pytest.fixture(scope="module")
def speech(embedded_speech: list[dict[str, str]]) -> list[tuple[Waveform, str]]:
    folder = speech_folder()
    recordings = [
        (decode((folder / item["audio_filepath"]).read_bytes()), item["text"].lower())
        for item in embedded_speech
    ]
    return [(w, text) for w, text in recordings if len(w) < 12 * SAMPLE_RATE_HZ]


def recognized(engine: FunASREngine, waveforms: list[Waveform]) -> list[Recognition]:
    groups = group_by_padded_seconds([len(w) / SAMPLE_RATE_HZ for w in waveforms], 60.0)
    return scatter(groups, [engine.recognize([waveforms[i] for i in g]) for g in groups])


def word_errors(engine: FunASREngine, speech: list[tuple[Waveform, str]]) -> float:
    heard = recognized(engine, [waveform for waveform, _ in speech])
    return jiwer.wer([text for _, text in speech], [r.text.lower() for r in heard])


@pytest.fixture(scope="module")
def in_float32(speech: list[tuple[Waveform, str]]) -> float:
    engine = FunASREngine(with_precision("fp32"))
    engine.load()
    return word_errors(engine, speech)


def with_precision(precision: str) -> EngineConfig:
    return replace(DEMO, precision=precision)


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_no_more_than_a_third_of_a_point_is_lost(
    precision: str, speech: list[tuple[Waveform, str]], in_float32: float
) -> None:
    engine = FunASREngine(with_precision(precision))
    engine.load()
    assert engine.precision == "int8"
    assert word_errors(engine, speech) <= in_float32 + MOST_POINTS


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_loses_no_more_either(
    precision: str, speech: list[tuple[Waveform, str]], in_float32: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The CPU stands in for a GPU: its arithmetic on the same 16-bit numbers."""
    monkeypatch.setattr(precision_module, "choose", lambda *_: (precision, "for the test"))
    engine = FunASREngine(DEMO)
    engine.load()
    assert engine.precision == precision
    assert word_errors(engine, speech) <= in_float32 + MOST_POINTS


@pytest.mark.parametrize(("precision", "most_different"), [("fp32", 0), ("int8", 2)])
def test_texts_do_not_hang_on_the_batch(
    precision: str, most_different: int, speech: list[tuple[Waveform, str]]
) -> None:
    """In eight bits the last digit of float32 may round to another step, in a text or two."""
    engine = FunASREngine(with_precision(precision))
    engine.load()
    waveforms = [waveform for waveform, _ in speech[:60]]
    alone = [engine.recognize([waveform])[0].text for waveform in waveforms]
    batched = [recognition.text for recognition in recognized(engine, waveforms)]
    assert sum(a != b for a, b in zip(alone, batched, strict=True)) <= most_different


@pytest.mark.parametrize(
    "kind", ["Paraformer", "BiCifParaformer", "SeacoParaformer", "SenseVoiceSmall"]
)
@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_every_class_computes_in_every_precision(kind: str, precision: str, tmp_path: Path) -> None:
    auto = load_auto_model(random_model(tmp_path, kind), "model", device="cpu", ncpu=1)
    hotword = "\u4e00\u4e01" if kind == "SeacoParaformer" else ""
    bring_to(auto.model, precision)
    recognizer = batch_recognizer(auto, hotword)
    assert recognizer is not None
    with torch.inference_mode():
        heard = recognizer.words(
            recognizer.forward(torch.randn(3, 40, 560), torch.tensor([40, 25, 9]))
        )
    assert len(heard) == 3
    assert any(recognition.text for recognition in heard)


def test_predictors_positions_and_output_layers_stay_in_float32(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "BiCifParaformer")
    for precision in ("bf16", "int8"):
        model: Any = load_auto_model(folder, "model", device="cpu", ncpu=1).model
        bring_to(model, precision)
        assert {p.dtype for p in model.predictor.parameters()} == {torch.float32}
        outputs = model.decoder.output_layer
        assert isinstance(outputs, PackedLinear) or outputs.weight.dtype == torch.float32
        assert not any(isinstance(m, Int8Linear) for m in model.predictor.modules())
        weight = model.encoder.encoders[0].feed_forward.w_1.weight
        # In 8 bits a layer as a whole computes, and has taken the weights.
        assert weight.dtype == torch.bfloat16 if precision == "bf16" else not weight.numel()


def test_an_int8_row_does_not_hang_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(64, 48)
    layer, rows = Int8Linear(linear), torch.randn(20, 64)
    loud = torch.cat([rows, 1000 * torch.randn(5, 64)])
    assert torch.equal(layer(loud)[:20], layer(rows))
    error = (layer(rows) - linear(rows)).abs().mean() / linear(rows).abs().mean()
    assert error < 0.03


def test_an_int8_row_of_zeros_is_the_bias() -> None:
    linear = nn.Linear(8, 4)
    assert torch.allclose(Int8Linear(linear)(torch.zeros(2, 8)), linear.bias.expand(2, 4))


def test_what_cannot_be_computed_is_refused_and_auto_falls_back() -> None:
    assert choose("auto", "cpu", batched=False)[0] == "fp32"
    assert choose("auto", "cpu", batched=True)[0] == "int8"
    assert choose("fp32", "cuda", batched=False) == ("fp32", "as configured")
    with pytest.raises(ConfigError, match='use "auto"'):
        choose("int8", "cpu", batched=False)
    for precision, device in (("fp16", "cpu"), ("bf16", "cpu"), ("int8", "cuda")):
        with pytest.raises(ConfigError, match="use "):
            choose(precision, device, batched=True)

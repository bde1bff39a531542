"""Batched recognition says what FunASR's own `inference` says, for every class that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from funasr.utils.load_utils import extract_fbank

from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.padding import silence_padding
from ray_asr.engine.recognizers import batch_recognizer
from ray_asr.schema import Recognition, Waveform
from tests.model.random_models import random_model

KINDS = ["Paraformer", "BiCifParaformer", "SeacoParaformer", "SenseVoiceSmall"]


@pytest.fixture(scope="module")
def waveforms() -> list[Waveform]:
    random = np.random.default_rng(3)
    lengths = [9_000, 40_000, 16_000, 400, 70_000, 25_600]
    return [(0.1 * random.standard_normal(n)).astype(np.float32) for n in lengths]


@pytest.fixture(scope="module", params=KINDS)
def auto(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    model = load_auto_model(random_model(folder, request.param), "model", device="cpu", ncpu=1)
    silence_padding(model.model)
    return model


def theirs(auto: Any, waveform: Waveform, **options: Any) -> dict[str, Any]:
    def infer(**times: bool) -> Any:
        with torch.inference_mode():
            return auto.model.inference(
                data_in=[torch.from_numpy(waveform)],
                key=["a"],
                **{**auto.kwargs, **times, **options},
            )

    try:
        results = infer(output_timestamp=True)
    except IndexError:  # SenseVoice's times, where a piece of text has two ids
        results = infer(output_timestamp=False)
    results = results[0] if isinstance(results, tuple) else results
    return results[0] if results else {"text": ""}  # it leaves out what has no words


def ours(auto: Any, waveforms: list[Waveform], **wording: str) -> list[Recognition]:
    recognizer = batch_recognizer(auto, **wording)
    assert recognizer is not None
    with torch.inference_mode():
        features, lengths = extract_fbank(
            [torch.from_numpy(w) for w in waveforms], frontend=auto.kwargs["frontend"]
        )
        return recognizer.words(recognizer.forward(features, lengths))


def agrees(recognition: Recognition, result: dict[str, Any]) -> None:
    assert recognition.text == result["text"].strip()
    times = [[word.start_ms, word.end_ms] for word in recognition.words]
    if len(times) == len(result.get("timestamp", [])):
        assert times == result.get("timestamp", [])
    else:  # FunASR gives times that are not those of its words
        assert times == []
    if "words" in result and times:
        assert [word.text for word in recognition.words] == result["words"]


def test_texts_and_times_are_those_of_funasr(auto: Any, waveforms: list[Waveform]) -> None:
    expected = [theirs(auto, waveform) for waveform in waveforms]
    assert len({result["text"] for result in expected}) > 2
    for recognition, result in zip(ours(auto, waveforms), expected, strict=True):
        agrees(recognition, result)


def test_a_batch_gives_what_its_utterances_give_alone(auto: Any, waveforms: list[Waveform]) -> None:
    assert ours(auto, waveforms) == [ours(auto, [waveform])[0] for waveform in waveforms]


@pytest.fixture(scope="module")
def seaco(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("seaco")
    model = load_auto_model(random_model(folder, "SeacoParaformer"), "model", device="cpu", ncpu=1)
    silence_padding(model.model)
    return model


@pytest.mark.parametrize("count", [1, 3, 60])
def test_hotwords_are_favoured_as_funasr_favours_them(
    seaco: Any, waveforms: list[Waveform], count: int
) -> None:
    hotword = " ".join(chr(0x4E00 + i % 40) + chr(0x4E00 + i // 2) for i in range(count))
    expected = [theirs(seaco, waveform, hotword=hotword) for waveform in waveforms]
    assert [r["text"] for r in expected] != [theirs(seaco, w)["text"] for w in waveforms]
    for recognition, result in zip(ours(seaco, waveforms, hotword=hotword), expected, strict=True):
        agrees(recognition, result)


def test_the_language_of_sense_voice_is_the_one_that_was_asked_for(
    tmp_path: Path, waveforms: list[Waveform]
) -> None:
    auto = load_auto_model(random_model(tmp_path, "SenseVoiceSmall"), "model", device="cpu", ncpu=1)
    for language in ("en", "zh"):
        expected = [theirs(auto, waveform, language=language) for waveform in waveforms]
        for recognition, result in zip(
            ours(auto, waveforms, language=language), expected, strict=True
        ):
            agrees(recognition, result)


def test_models_that_decode_otherwise_are_left_to_funasr(auto: Any) -> None:
    class Other:
        model = type("Whisper", (), {})()
        kwargs = auto.kwargs

    assert batch_recognizer(Other()) is None


def test_a_beam_search_is_left_to_funasr(tmp_path: Path) -> None:
    folder = random_model(tmp_path, "Paraformer")
    auto = load_auto_model(folder, "model", device="cpu", ncpu=1, decoding_ctc_weight=0.3)
    assert batch_recognizer(auto) is None

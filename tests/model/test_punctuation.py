"""Punctuation in step gives each text what FunASR gives it alone."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from ray_asr.demo import DEMO
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.punctuation import LockstepPunctuation

WORDS = [
    *["please", "enter", "your", "password", "you", "have", "five", "new", "messages", "a", "i"],
    *["the", "number", "is", "busy", "now", "what", "time", "你", "好", "吗", "请", "输", "入"],
]
MARKS = (".", ",", "?", "\u3002", "\uff0c", "\uff1f")


def texts_of_all_lengths(number: int) -> list[str]:
    rng = random.Random(7)
    lengths = [1, 2, 19, 20, 21, 40, 41, 260, *(rng.randint(1, 120) for _ in range(number - 8))]
    return [" ".join(rng.choices(WORDS, k=length)) for length in lengths]


@pytest.fixture(scope="module")
def auto() -> Any:
    return load_auto_model(DEMO, "punc_model", device="cpu", ncpu=1)


def alone(auto: Any, text: str) -> str:
    results, _ = auto.model.inference(data_in=[f" {text}"], **{**auto.kwargs, "key": ["text"]})
    return str(results[0]["text"]).strip()


def test_many_texts_get_what_each_gets_alone(auto: Any) -> None:
    texts = texts_of_all_lengths(150)
    with torch.inference_mode():
        together = LockstepPunctuation(auto)(texts)
        assert together == [alone(auto, text) for text in texts]
    assert sum(any(mark in text for mark in MARKS) for text in together) > 100


def test_marks_of_random_weights_are_the_same_too(auto: Any) -> None:
    """Marks at random: pieces then begin at random places, some after a comma."""
    saved = {name: value.clone() for name, value in auto.model.state_dict().items()}
    texts = texts_of_all_lengths(40)
    try:
        with torch.inference_mode():
            torch.manual_seed(0)
            auto.model.decoder.weight.normal_(0.0, 3.0)
            together = LockstepPunctuation(auto)(texts)
            assert together == [alone(auto, text) for text in texts]
    finally:
        auto.model.load_state_dict(saved)


def test_texts_are_computed_together(auto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    compute = auto.model.punc_forward

    def counted(text: torch.Tensor, lengths: torch.Tensor) -> Any:
        sizes.append(len(text))
        return compute(text, lengths)

    monkeypatch.setattr(auto.model, "punc_forward", counted)
    with torch.inference_mode():
        LockstepPunctuation(auto)(["one two three"] * 30)
    assert sizes == [30]


def test_an_error_of_the_model_reaches_the_caller(
    auto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: torch.Tensor, lengths: torch.Tensor) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(auto.model, "punc_forward", broken)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="the device is gone"):
        LockstepPunctuation(auto)(["one two", "three"])

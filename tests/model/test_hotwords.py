"""Words to favour on the classes that use them, held against FunASR with the same list."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ray_asr.config import EngineConfig
from ray_asr.demo import model_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.hotwords import of_list
from ray_asr.engine.loading import check_model, load_auto_model
from ray_asr.errors import ConfigError
from ray_asr.schema import Waveform
from tests.model.random_models import TOKENS, random_model

# Characters that the random models have, and words of pieces that they have.
PHRASES = ["\u4e00\u4e01", "\u4e02\u4e03\u4e04", "\u4e05 \u4e06\u4e07", "a"]
_DECODER = {
    "decoder": "ContextualParaformerDecoder",
    "decoder_conf": {
        "attention_heads": 4, "linear_units": 64, "num_blocks": 2, "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1, "self_attention_dropout_rate": 0.1,
        "src_attention_dropout_rate": 0.1, "att_layer_num": 2, "kernel_size": 11, "sanm_shfit": 0,
    },
}  # fmt: skip


def contextual(folder: Path, seed: int = 0) -> str:
    """A small contextual Paraformer with random weights."""
    from funasr import AutoModel  # noqa: F401 - registers the classes
    from funasr.register import tables

    random_model(folder, "Paraformer", seed)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"model": "ContextualParaformer", **_DECODER}
    config["model_conf"] |= {"inner_dim": 32, "bias_encoder_type": "lstm"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    parts = {k: v for k, v in config.items() if k.partition("_")[0] in
             ("encoder", "decoder", "predictor")}  # fmt: skip
    model_class = tables.model_classes.get("ContextualParaformer")
    assert model_class is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(input_size=560, vocab_size=TOKENS, **config["model_conf"], **parts)
        for name, weight in model.named_parameters():
            if "cif_output" in name and name.endswith("bias"):
                torch.nn.init.constant_(weight, -1.2)
            elif "output_layer.bias" in name:
                torch.nn.init.normal_(weight, std=0.3)
    torch.save(model.state_dict(), folder / "model.pt")
    return str(folder)


@pytest.fixture(scope="module")
def waveforms() -> list[Waveform]:
    random = np.random.default_rng(3)
    return [(0.1 * random.standard_normal(n)).astype(np.float32) for n in (40_000, 16_000, 70_000)]


@pytest.fixture(scope="module", params=["SeacoParaformer", "ContextualParaformer"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp(request.param)
    if request.param == "ContextualParaformer":
        return contextual(path)
    return random_model(path, request.param)


def heard(folder: str, hotword: str, waveforms: list[Waveform]) -> list[str]:
    engine = FunASREngine(
        EngineConfig(
            model=folder, vad_model="", punc_model="", hotword=hotword, ncpu=1, precision="fp32"
        )
    )
    engine.load()
    return [recognition.text for recognition in engine.recognize(waveforms)]


def theirs(auto: Any, waveform: Waveform, hotword: str | None) -> str:
    with torch.inference_mode():
        results = auto.model.inference(
            data_in=[torch.from_numpy(waveform)], key=["a"], **{**auto.kwargs, "hotword": hotword}
        )
    results = results[0] if isinstance(results, tuple) else results
    return results[0]["text"].strip() if results else ""


def test_a_list_favours_the_phrases_that_funasr_favours_with_its_file(
    folder: str, waveforms: list[Waveform], tmp_path: Path
) -> None:
    auto = load_auto_model(folder, "model", device="cpu", ncpu=1)
    file = tmp_path / "words.txt"
    file.write_text("\n".join(PHRASES), encoding="utf-8")
    found = heard(folder, of_list(file.read_text(encoding="utf-8")), waveforms)
    assert found == [theirs(auto, waveform, str(file)) for waveform in waveforms]
    assert found != heard(folder, "", waveforms)
    words = " ".join(PHRASES)
    by_word = heard(folder, words, waveforms)
    assert by_word == [theirs(auto, waveform, words) for waveform in waveforms]


def test_what_looks_like_an_address_or_a_file_is_a_word(
    folder: str, waveforms: list[Waveform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network is asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("\u4e00")
    assert len(heard(folder, "http://127.0.0.1/x words.txt\nwords.txt\n", waveforms)) == 3


def test_words_that_a_vocabulary_lacks_are_said(
    folder: str, waveforms: list[Waveform], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        heard(folder, "\u4e00\u4e01 Ω", waveforms)
    (said,) = [r.getMessage() for r in caplog.records if "vocabulary lacks" in r.getMessage()]
    assert "1 of 2 hotword(s)" in said
    assert said.endswith(": Ω.")


def test_a_model_that_takes_none_is_refused_before_anything_starts() -> None:
    config = EngineConfig(model="demo", vad_model="", punc_model="", hotword="ray", ncpu=1)
    with pytest.raises(ConfigError, match=r'"demo" is a \w+, which takes no hotwords'):
        check_model(config, "model")
    with pytest.raises(ConfigError, match="which takes no hotwords"):
        FunASREngine(config).load()
    assert model_folder("model").is_dir()

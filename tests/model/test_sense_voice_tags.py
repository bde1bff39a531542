"""SenseVoice's tags leave the text for columns, and `use_itn` reaches the model.

No trained SenseVoice can be had here. A small random one is taught, by its last layer alone, to say
four tags where it hears one recording, as the published one says them in front of every text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch

from ray_asr.config import EngineConfig
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import check_model, load_auto_model
from ray_asr.errors import ConfigError
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import Provenance, Waveform
from tests.fakes import decoded_rows
from tests.model.random_models import random_model

TAGS = ["<|en|>", "<|HAPPY|>", "<|Laughter|>", "<|woitn|>", "<|withitn|>"]
ON_CPU: dict[str, Any] = {"vad_model": "", "punc_model": "", "ncpu": 1, "precision": "fp32"}


@pytest.fixture(scope="module")
def waveform() -> Waveform:
    return (0.1 * np.random.default_rng(5).standard_normal(40_000)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, waveform: Waveform) -> str:
    folder = tmp_path_factory.mktemp("sense_voice")
    random_model(folder, "SenseVoiceSmall")
    _with_tags(folder)
    auto = load_auto_model(str(folder), "model", device="cpu", ncpu=1)
    model, tokenizer = auto.model, auto.kwargs["tokenizer"]
    plain, written = (_hidden(auto, waveform, norm) for norm in ("woitn", "withitn"))
    hidden, frames = torch.cat([plain, written]), len(plain)
    places = [[0, frames], [1, frames + 1], [2, frames + 2], [3], [frames + 3]]
    for tag, mine in zip(TAGS, places, strict=True):
        token = tokenizer.sp.piece_to_id(tag)
        with torch.no_grad():
            weights, bias = _alone_at(hidden, mine)
            model.ctc.ctc_lo.weight[token], model.ctc.ctc_lo.bias[token] = weights, bias
    torch.save(model.state_dict(), folder / "model.pt")
    return str(folder)


def _with_tags(folder: Path) -> None:
    """The same pieces, the last of them in favour of the tags."""
    from sentencepiece import sentencepiece_model_pb2

    pieces = sentencepiece_model_pb2.ModelProto()
    pieces.ParseFromString((folder / "bpe.model").read_bytes())
    for piece, tag in zip(list(pieces.pieces)[-len(TAGS) :], TAGS, strict=True):
        piece.piece = tag
        piece.type = piece.USER_DEFINED
    (folder / "bpe.model").write_bytes(pieces.SerializeToString())
    found = sentencepiece.SentencePieceProcessor(model_file=str(folder / "bpe.model"))
    assert all(found.id_to_piece(found.piece_to_id(tag)) == tag for tag in TAGS)


def _alone_at(hidden: torch.Tensor, places: list[int]) -> tuple[torch.Tensor, float]:
    """What gives 30 and more at some places of `(T, D)`, and at most -30 at all others."""
    wanted = torch.full((len(hidden), 1), -1.0, dtype=torch.float64)
    wanted[places] = 20.0
    known = torch.cat([hidden, torch.ones(len(hidden), 1)], 1).double()
    found = torch.linalg.lstsq(known, wanted, driver="gelsd").solution[:, 0]
    given = known @ found
    others = torch.ones(len(hidden), dtype=torch.bool)
    others[places] = False
    least, most = given[places].min(), given[others].max()
    assert least > most
    scale = 60 / (least - most)
    return (scale * found[:-1]).float(), float(scale * (found[-1] - (least + most) / 2))


def _hidden(auto: Any, waveform: Waveform, norm: str) -> torch.Tensor:
    """What the encoder makes of the queries and frames, `(T, D)`."""
    from funasr.utils.load_utils import extract_fbank

    model = auto.model
    with torch.inference_mode():
        features, lengths = extract_fbank(
            [torch.from_numpy(waveform)], frontend=auto.kwargs["frontend"]
        )
        queries = model.embed(torch.tensor([[0, 1, 2, model.textnorm_dict[norm]]]))
        hidden, _ = model.encoder(torch.cat([queries, features], 1), lengths + 4)
    return hidden[0].clone()


@pytest.mark.parametrize("use_itn", [False, True])
def test_tags_are_columns_and_the_text_is_what_funasr_says_beside_them(
    folder: str, waveform: Waveform, use_itn: bool
) -> None:
    auto = load_auto_model(folder, "model", device="cpu", ncpu=1)
    with torch.inference_mode():
        results, _ = auto.model.inference(
            data_in=[torch.from_numpy(waveform)], key=["a"], use_itn=use_itn, **auto.kwargs
        )
    norm = "withitn" if use_itn else "woitn"
    said = results[0]["text"].strip()
    assert said.startswith(f"<|en|><|HAPPY|><|Laughter|><|{norm}|>")

    engine = FunASREngine(EngineConfig(model=folder, language="auto", use_itn=use_itn, **ON_CPU))
    engine.load()
    (heard,) = engine.recognize([waveform])
    assert heard.text == said.rpartition("|>")[2].strip()
    assert (heard.language, heard.emotion, heard.events) == ("en", "HAPPY", ("Laughter",))
    assert not any("<|" in word.text for word in heard.words)

    worker = TranscribeWorker(lambda: engine, 60.0, "", Provenance("m", "1", "0"))
    (row,) = worker.transcribe(decoded_rows({"a": waveform}))
    assert (row.language, row.emotion, row.audio_events) == ("en", "HAPPY", ("Laughter",))
    assert "<|" not in json.dumps([row.text, [s.text for s in row.segments]])


def test_a_batch_has_the_tags_of_its_waveforms_alone(folder: str, waveform: Waveform) -> None:
    engine = FunASREngine(EngineConfig(model=folder, **ON_CPU))
    engine.load()
    others = [waveform[:20_000], waveform, waveform[::-1].copy()]
    assert engine.recognize(others) == [engine.recognize([other])[0] for other in others]


def test_a_model_that_cannot_write_digits_is_not_asked_to() -> None:
    config = EngineConfig(**{**ON_CPU, "model": "demo", "use_itn": True})
    with pytest.raises(ConfigError, match="is a Paraformer, which writes numbers as they are"):
        check_model(config, "model")
    with pytest.raises(ConfigError, match="is a Paraformer, which writes numbers as they are"):
        FunASREngine(config).load()

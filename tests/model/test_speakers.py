"""Speakers told apart as FunASR tells them: windows, embeddings, labels, turns, sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from funasr.models.campplus import utils
from funasr.models.campplus.cluster_backend import ClusterBackend
from funasr.models.campplus.utils import postprocess, sv_chunk

from ray_asr.config import EngineConfig
from ray_asr.corpus.audio import decode
from ray_asr.demo import model_folder, speech_folder
from ray_asr.engine import clustering
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.speakers import WindowedSpeakers
from ray_asr.errors import ConfigError
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import Provenance, Span, Waveform
from tests.fakes import decoded_rows
from tests.model.random_models import random_speaker_model
from tests.unit.test_clustering import talk, voices


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_speaker_model(tmp_path_factory.mktemp("campplus"))


@pytest.fixture(scope="module")
def engine(folder: str) -> FunASREngine:
    demo = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}
    loaded = FunASREngine(EngineConfig(**demo, spk_model=folder, ncpu=1, precision="fp32"))
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def conversation(embedded_speech: list[dict[str, str]]) -> Waveform:
    """Prompts one after the other, every other one as a deeper and slower voice would say it."""
    parts: list[Waveform] = []
    for number, item in enumerate(embedded_speech[:8]):
        waveform = decode((speech_folder() / item["audio_filepath"]).read_bytes())
        if number // 2 % 2:
            places = np.arange(0, len(waveform) - 1, 0.75)
            waveform = np.interp(places, np.arange(len(waveform)), waveform).astype(np.float32)
        parts += [waveform, np.zeros(8000, np.float32)]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def theirs(folder: str) -> Any:
    from funasr import AutoModel

    return AutoModel(
        model=str(model_folder("model")),
        vad_model=str(model_folder("vad_model")),
        vad_kwargs={"max_single_segment_time": EngineConfig().max_single_segment_time},
        punc_model=str(model_folder("punc_model")),
        spk_model=folder,
        device="cpu", ncpu=1, disable_update=True, disable_pbar=True,
    )  # fmt: skip


@pytest.mark.parametrize("samples", [1600, 24_000, 24_160, 36_000, 36_016, 47_984, 200_000])
def test_windows_are_those_of_funasr(samples: int) -> None:
    waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    heard: list[Waveform] = []

    def embed(windows: Any) -> np.ndarray:
        heard.extend(windows)
        return np.zeros((len(windows), 2), np.float32)

    WindowedSpeakers(embed, 0, 8).voices([waveform])
    expected = [window for _, _, window in sv_chunk([[0.0, samples / 16_000, waveform]])]
    assert len(heard) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(heard, expected, strict=True))


def test_embeddings_of_many_at_once_are_those_of_each_alone(
    engine: FunASREngine, theirs: Any, conversation: Waveform
) -> None:
    pieces = [conversation[a : a + n] for a, n in ((0, 40_000), (90_000, 9_000), (20_000, 70_000))]
    speakers = engine.speakers()
    assert speakers is not None
    found = speakers.voices(pieces)
    for piece, ours in zip(pieces, found, strict=True):
        windows = [window for _, _, window in sv_chunk([[0.0, len(piece) / 16_000, piece]])]
        alone = [
            theirs.spk_model.inference([torch.from_numpy(window)], device="cpu")[0][0][
                "spk_embedding"
            ]
            for window in windows
        ]
        expected = torch.cat(alone).detach().numpy()
        assert ours.shape == expected.shape
        assert np.allclose(ours, expected, atol=2e-3 * np.abs(expected).max())


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@pytest.mark.parametrize(
    ("speakers", "spread", "count", "preset"),
    [
        (1, 0.8, 60, 0),
        (2, 0.3, 19, 0),
        (2, 0.3, 19, 2),
        (2, 0.8, 90, 0),
        (2, 0.8, 90, 2),
        (4, 0.6, 300, 0),
        (4, 0.6, 300, 4),
    ],
)
def test_labels_are_those_of_funasrs_clustering(
    speakers: int, spread: float, count: int, preset: int
) -> None:
    data = voices(talk(speakers, count), spread)
    expected = ClusterBackend()(torch.from_numpy(data), oracle_num=preset or None)
    assert same_partition(clustering.cluster(data, preset), np.asarray(expected))


@pytest.mark.parametrize("seed", range(20))
def test_turns_of_labels_are_those_of_funasr(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    random = np.random.default_rng(seed)
    spans: list[Span] = []
    now = 0
    for gap in random.permutation(np.arange(1, 80))[:14]:  # none alike, and no turn of just 700 ms
        now += int(gap) * 10
        spans.append(Span(now, now + int(random.integers(30, 700)) * 10 + 3))
        now = spans[-1].end_ms
    waveforms = [np.zeros((s.end_ms - s.start_ms) * 16, np.float32) for s in spans]
    chunks = sv_chunk(
        [[s.start_ms / 1000, s.end_ms / 1000, w] for s, w in zip(spans, waveforms, strict=True)]
    )
    labels = np.repeat(random.integers(0, 3, len(chunks)), random.integers(1, 4))[: len(chunks)]
    # It rounds one of two gaps that are nothing, and so finds one the smaller.
    monkeypatch.setattr(utils, "round", lambda value, _: value, raising=False)
    monkeypatch.setattr("ray_asr.engine.speakers.cluster", lambda voices, preset: labels)
    model = WindowedSpeakers(lambda windows: np.zeros((len(windows), 2), np.float32), 0, 64)
    ours = model.turns(spans, model.voices(waveforms))
    expected = postprocess(chunks, None, labels, np.zeros((len(chunks), 2)))
    assert len(ours) == len(expected)
    for turn, (start_s, end_s, _) in zip(ours, expected, strict=True):
        assert abs(turn.start_ms - 1000 * start_s) <= 1
        assert abs(turn.end_ms - 1000 * end_s) <= 1
    numbers = np.array([label for _, _, label in expected])
    assert same_partition(np.array([int(turn.speaker) for turn in ours]), numbers)


def test_sentences_and_their_speakers_are_those_of_generate(
    engine: FunASREngine, theirs: Any, conversation: Waveform
) -> None:
    """A whole recording through `AutoModel.generate` with four models, and through the worker."""
    (generated,) = theirs.generate(input=[conversation], disable_pbar=True)
    worker = TranscribeWorker(
        lambda: engine, 60.0, "en", Provenance("demo", "1", "0"), sentences=True
    )
    (ours,) = worker.transcribe(decoded_rows({"a": conversation}))
    expected = generated["sentence_info"]
    assert len(ours.segments) == len(expected) > 5
    for segment, sentence in zip(ours.segments, expected, strict=True):
        assert (segment.start_ms, segment.end_ms) == (sentence["start"], sentence["end"])
        letters = "".join(c for c in sentence["text"] if c.isalnum()).casefold()
        assert "".join(c for c in segment.text if c.isalnum()).casefold() == letters
        assert [[w.start_ms, w.end_ms] for w in segment.words] == sentence["timestamp"]
        assert segment.speaker.isdecimal()


def test_an_engine_without_a_speaker_model_tells_nobody_apart() -> None:
    engine = FunASREngine(EngineConfig(model="", vad_model="", punc_model="", ncpu=1))
    engine.load()
    assert engine.speakers() is None


def test_a_speaker_model_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("demo", str(tmp_path)):
        config = EngineConfig(model="", vad_model="", punc_model="", spk_model=name, ncpu=1)
        with pytest.raises(ConfigError, match=r"engine\.spk_model: "):
            FunASREngine(config).load()

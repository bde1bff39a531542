"""The embedded voice detector and punctuation model, loaded by FunASR's own `AutoModel`.

Nothing here may reach a network: opening a connection fails the test.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr

from ray_asr.demo import model_folder, speech_folder

SAMPLE_RATE = 16_000
MAX_FOLDER_BYTES = 1_500_000


@pytest.fixture(scope="module", autouse=True)
def no_network() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("a model tried to open a network connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


def load(kind: str) -> Any:
    from funasr import AutoModel

    return AutoModel(
        model=str(model_folder(kind)),
        disable_update=True,
        device="cpu",
        ncpu=1,
        disable_pbar=True,
    )


@pytest.fixture(scope="module")
def detect() -> Callable[[np.ndarray], list[list[int]]]:
    """Waveform `(T,)` at 16 kHz to spans in ms."""
    model = load("vad_model")
    return lambda wave: model.generate(input=wave.astype(np.float32))[0]["value"]


@pytest.fixture(scope="module")
def punctuate() -> Callable[[str], str]:
    model = load("punc_model")
    return lambda text: model.generate(input=[text])[0]["text"]


def read_speech(path: Path) -> np.ndarray:
    wave, rate = sf.read(path, dtype="float32", always_2d=True)
    return soxr.resample(wave.mean(axis=1), rate, SAMPLE_RATE)


def references() -> list[str]:
    """The reference texts of the embedded speech, in order."""
    lines = (speech_folder() / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def recordings(count: int) -> list[Path]:
    """The first `count` lossless recordings of the embedded speech."""
    found = sorted(p for p in speech_folder().rglob("*") if p.suffix in {".wav", ".flac"})
    return [path for path in found if "long" not in path.parts][:count]


def made_noise(kind: str, level_db: float, seconds: float) -> np.ndarray:
    count = int(seconds * SAMPLE_RATE)
    if kind == "white":
        wave = np.random.default_rng(7).standard_normal(count)
    else:
        wave = np.sin(2 * np.pi * float(kind) * np.arange(count) / SAMPLE_RATE)
    return np.clip(wave * 10 ** (level_db / 20), -1.0, 1.0)


@pytest.mark.parametrize("kind", ["vad_model", "punc_model"])
def test_model_folder_is_small(kind: str) -> None:
    files = list(model_folder(kind).iterdir())
    assert {"config.yaml", "model.pt"} <= {file.name for file in files}
    assert sum(file.stat().st_size for file in files) <= MAX_FOLDER_BYTES


def test_every_recording_has_speech_where_it_is(
    detect: Callable[[np.ndarray], list[list[int]]],
) -> None:
    paths = recordings(8)
    if not paths:
        pytest.skip("no embedded speech")
    silence = np.zeros(int(1.5 * SAMPLE_RATE), np.float32)
    for path in paths:
        wave = read_speech(path)
        spans = detect(np.concatenate([silence, wave, silence]))
        assert spans, path.name
        assert spans[0][0] >= 1000, path.name
        assert spans[-1][1] <= 2000 + 1000 * len(wave) / SAMPLE_RATE, path.name


def test_a_pause_parts_two_recordings(detect: Callable[[np.ndarray], list[list[int]]]) -> None:
    paths = recordings(1)
    if not paths:
        pytest.skip("no embedded speech")
    wave = read_speech(paths[0])
    pause = np.zeros(3 * SAMPLE_RATE, np.float32)
    once = detect(np.concatenate([wave, pause]))
    twice = detect(np.concatenate([wave, pause, wave, pause]))
    assert len(twice) == 2 * len(once)


def test_a_syllable_without_padding_is_speech(
    detect: Callable[[np.ndarray], list[list[int]]],
) -> None:
    paths = recordings(1)
    if not paths:
        pytest.skip("no embedded speech")
    wave = read_speech(paths[0])
    length = int(0.3 * SAMPLE_RATE)
    energy = np.convolve(wave**2, np.ones(length), "valid")
    start = int(energy.argmax())
    assert len(detect(wave[start : start + length])) == 1


@pytest.mark.parametrize("seconds", [0.5, 10.0])
def test_silence_has_no_segment(
    detect: Callable[[np.ndarray], list[list[int]]], seconds: float
) -> None:
    assert detect(np.zeros(int(seconds * SAMPLE_RATE))) == []


@pytest.mark.parametrize("kind", ["white", "50", "60"])
@pytest.mark.parametrize("level_db", [-60.0, -40.0, -20.0, -6.0])
def test_noise_and_hum_have_no_segment(
    detect: Callable[[np.ndarray], list[list[int]]], kind: str, level_db: float
) -> None:
    assert detect(made_noise(kind, level_db, 6.0)) == []


@pytest.mark.parametrize(
    "text",
    [
        "thank you for calling please hold",
        "yes",
        "what is your name",
        "qwertyish words nobody knows don't matter",
        "press one to hear this again or press two to go back " * 12,
    ],
)
def test_punctuation_keeps_every_word(punctuate: Callable[[str], str], text: str) -> None:
    result = punctuate(text)
    assert [word.rstrip(",.?").lower() for word in result.split()] == text.split()
    assert result[-1] in ".?"


def test_punctuation_of_the_embedded_texts_keeps_every_word(
    punctuate: Callable[[str], str],
) -> None:
    if not speech_folder().exists():
        pytest.skip("no embedded speech")
    for text in references():
        result = punctuate(text.lower())
        assert [word.rstrip(",.?").lower() for word in result.split()] == text.lower().split()


def test_a_question_gets_its_mark(punctuate: Callable[[str], str]) -> None:
    assert punctuate("what is your name").strip() == "What is your name?"

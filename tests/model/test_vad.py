"""Speech is found where FunASR finds it: many recordings at once, long ones, and in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.corpus.audio import decode
from ray_asr.demo import speech_folder
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.vad import FsmnVad
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform


@pytest.fixture(scope="module", params=["fixed", "dynamic"])
def auto(request: pytest.FixtureRequest) -> Any:
    """The embedded model, with the end silence of its folder, and with that of FunASR's default."""
    model = load_auto_model(
        "demo", "vad_model", device="cpu", ncpu=1, max_single_segment_time=30_000
    )
    if request.param == "dynamic":
        model.kwargs["dynamic_silence"] = True
    return model


@pytest.fixture(scope="module")
def recordings(embedded_speech: list[dict[str, str]]) -> list[Waveform]:
    return [decode((speech_folder() / i["audio_filepath"]).read_bytes()) for i in embedded_speech]


def theirs(auto: Any, waveform: Waveform) -> list[tuple[int, int]]:
    with torch.inference_mode():
        results, _ = auto.model.inference(
            data_in=[torch.from_numpy(waveform)], key=["a"], **auto.kwargs
        )
    return [(start, end) for start, end in results[0]["value"]]


def ours(auto: Any, waveforms: list[Waveform]) -> list[list[tuple[int, int]]]:
    with torch.inference_mode():
        return FsmnVad(auto).detect(waveforms)


def spoken(recordings: list[Waveform], duration_s: float, seed: int = 0) -> Waveform:
    """Recordings with pauses of all lengths between them."""
    random = np.random.default_rng(seed)
    parts: list[Waveform] = []
    while sum(map(len, parts)) < duration_s * SAMPLE_RATE_HZ:
        pause = int(random.choice([500, 3_000, 16_000, 40_000]))
        parts += [recordings[random.integers(len(recordings))], np.zeros(pause, np.float32)]
    return np.concatenate(parts)[: int(duration_s * SAMPLE_RATE_HZ)].astype(np.float32)


def test_embedded_recordings_have_funasrs_segments(auto: Any, recordings: list[Waveform]) -> None:
    assert ours(auto, recordings) == [theirs(auto, waveform) for waveform in recordings]


@pytest.mark.parametrize(
    "duration_s", [59.99, 60.0, 60.0001, 60.02, 60.03, 61.0, 119.99, 120.0, 185.0, 250.0]
)
def test_minutes_of_speech_have_funasrs_segments(
    auto: Any, recordings: list[Waveform], duration_s: float
) -> None:
    waveform = spoken(recordings, duration_s)
    assert ours(auto, [waveform, recordings[0]]) == [
        theirs(auto, waveform), theirs(auto, recordings[0])
    ]  # fmt: skip


def test_speech_without_a_pause_is_cut_as_funasr_cuts_it(
    auto: Any, recordings: list[Waveform]
) -> None:
    waveform = np.concatenate(recordings)[: 150 * SAMPLE_RATE_HZ]
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(waveform))
    for dense in (waveform, (waveform + noise).astype(np.float32)):
        (found,) = ours(auto, [dense])
        assert found == theirs(auto, dense)
        assert max(end - start for start, end in found) > 10_000


def test_noise_hum_and_short_recordings_have_funasrs_segments(auto: Any) -> None:
    random = np.random.default_rng(1)
    seconds = np.arange(5 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    sounds = [
        0.1 * random.standard_normal(80_000),
        np.sign(random.standard_normal(40_000)),
        0.5 * np.sin(2 * np.pi * 50 * seconds),
        0.5 * np.sin(2 * np.pi * 1000 * seconds),
        np.zeros(50_000),
        *(0.3 * random.standard_normal(n) for n in (400, 401, 560, 719, 720, 721, 1000)),
    ]
    waveforms = [sound.astype(np.float32) for sound in sounds]
    assert ours(auto, waveforms) == [theirs(auto, waveform) for waveform in waveforms]


def test_what_is_shorter_than_a_frame_has_no_speech(auto: Any) -> None:
    assert ours(auto, [np.zeros(n, np.float32) for n in (0, 1, 399)]) == [[], [], []]


@pytest.mark.parametrize("seed", range(3))
def test_pieces_have_the_segments_of_the_whole(
    auto: Any, recordings: list[Waveform], seed: int
) -> None:
    waveform = spoken(recordings, 200.0, seed)
    random, stream = np.random.default_rng(seed), FsmnVad(auto).stream()
    found, position = [], 0
    while position < len(waveform):
        step = int(random.choice([1_000, 160_000, 500_000, 960_000]))
        piece = waveform[position : position + step]
        position += step
        with torch.inference_mode():
            found += stream.accept(piece, position >= len(waveform))
    assert found == theirs(auto, waveform)


def test_what_it_does_not_compute_is_left_to_funasr(auto: Any) -> None:
    assert FsmnVad.supports(auto)
    for name, value in {"decibel_thres": -50.0, "snr_thres": 10.0, "detect_mode": 0}.items():
        before = getattr(auto.model.vad_opts, name)
        setattr(auto.model.vad_opts, name, value)
        assert not FsmnVad.supports(auto)
        setattr(auto.model.vad_opts, name, before)

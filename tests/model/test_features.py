"""Features against FunASR's own frontends, on the embedded speech."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.corpus.audio import decode
from ray_asr.demo import model_folder, speech_folder
from ray_asr.engine.features import FeatureExtractor
from ray_asr.schema import Waveform

TOLERANCE = 1e-3
# Further below the loudest band of a frame, float32's rounding shows in FunASR's own energies.
WITHIN_NATS = 6.5 * np.log(10)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """FunASR's small operations wait for each other's threads where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def speech(embedded_speech: list[dict[str, str]]) -> list[Waveform]:
    """Two seconds of every fourth recording: all formats and sample rates."""
    paths = [speech_folder() / item["audio_filepath"] for item in embedded_speech[::4]]
    return [decode(path.read_bytes())[:32_000] for path in paths]


def one_by_one(frontend: Any, waveforms: list[Waveform]) -> list[torch.Tensor]:
    online = type(frontend).__name__ == "WavFrontendOnline"
    found = []
    for waveform in waveforms:
        options = {"cache": frontend.init_cache({}), "is_final": True} if online else {}
        tensor = torch.from_numpy(waveform)[None]
        features, _ = frontend(tensor, torch.tensor([len(waveform)]), **options)
        found.append(features[0])
    return found


def cmvn_file(step: str) -> str:
    return str(model_folder(step) / "am.mvn")


@pytest.mark.parametrize(
    ("kind", "m", "n", "step"),
    [("WavFrontend", 7, 6, "model"), ("WavFrontendOnline", 5, 1, "vad_model")],
)
def test_normalized_features_are_funasrs(
    speech: list[Waveform], kind: str, m: int, n: int, step: str
) -> None:
    from funasr.frontends import wav_frontend

    frontend = getattr(wav_frontend, kind)(cmvn_file=cmvn_file(step), lfr_m=m, lfr_n=n, dither=0.0)
    assert FeatureExtractor.supports(frontend)
    extractor = FeatureExtractor(frontend)
    features, lengths = extractor(speech)
    expected = one_by_one(frontend, speech)
    assert lengths.tolist() == [len(alone) for alone in expected]
    assert lengths.tolist() == [extractor.frames(len(waveform)) for waveform in speech]
    assert extractor.dim == frontend.output_size() == features.shape[2]
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours[: len(theirs)], theirs, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"lfr_m": 7, "lfr_n": 6},
        {"window": "povey"},
        {"snip_edges": False, "lfr_m": 5},
        {"upsacle_samples": False, "lfr_m": 7, "lfr_n": 6},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_log_mel_energies_are_funasrs(speech: list[Waveform], settings: dict[str, Any]) -> None:
    from funasr.frontends.wav_frontend import WavFrontend

    frontend = WavFrontend(dither=0.0, **settings)
    chosen = speech[::2]
    features, _ = FeatureExtractor(frontend)(chosen)
    for ours, theirs in zip(features, one_by_one(frontend, chosen), strict=True):
        heard = theirs > theirs.amax(1, keepdim=True) - WITHIN_NATS
        difference = (ours[: len(theirs)] - theirs).abs()
        assert difference[heard].max() <= TOLERANCE


@pytest.mark.parametrize("samples", [257, 300, 399, 400, 560, 1360])
def test_the_shortest_waveforms_are_funasrs(speech: list[Waveform], samples: int) -> None:
    from funasr.frontends.wav_frontend import WavFrontend

    frontend = WavFrontend(cmvn_file=cmvn_file("model"), lfr_m=7, lfr_n=6, dither=0.0)
    waveform = speech[0][8_000 : 8_000 + samples]
    features, _ = FeatureExtractor(frontend)([waveform])
    expected = one_by_one(frontend, [waveform])[0]
    torch.testing.assert_close(features[0], expected, atol=TOLERANCE, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_they_are_the_same_and_nothing_waits(speech: list[Waveform]) -> None:
    from funasr.frontends.wav_frontend import WavFrontend

    frontend = WavFrontend(cmvn_file=cmvn_file("model"), lfr_m=7, lfr_n=6, dither=0.0)
    silence = np.full(16_000, 1000 / 32_768, np.float32)
    waveforms = [*speech, silence]
    extractor = FeatureExtractor(frontend, "cuda")
    extractor(waveforms)
    torch.cuda.set_sync_debug_mode("error")
    try:
        features, lengths = extractor(waveforms)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected, expected_lengths = FeatureExtractor(frontend)(waveforms)
    assert torch.equal(lengths, expected_lengths)
    torch.testing.assert_close(features.cpu(), expected, atol=TOLERANCE, rtol=0)

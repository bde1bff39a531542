"""Features of a padded batch against kaldi-native-fbank and against frames stacked one by one."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.engine import features
from ray_asr.engine.features import FeatureExtractor
from ray_asr.engine.mel import LOG_FLOOR, WINDOWS, LogMel
from ray_asr.schema import Waveform

TOLERANCE = 1e-3
LFR = [(7, 6), (5, 1), (1, 1), (4, 3)]


class WavFrontend(SimpleNamespace):
    """Named and filled as FunASR's, which takes seconds to import."""


class WavFrontendOnline(WavFrontend):
    """The streaming one."""


WavFrontend.__module__ = WavFrontendOnline.__module__ = "funasr.frontends.wav_frontend"


def frontend(kind: type[WavFrontend] = WavFrontend, **settings: Any) -> Any:
    common = dict(
        fs=16_000, window="hamming", n_mels=80, frame_length=25, frame_shift=10, lfr_m=1, lfr_n=1,
        dither=0.0, snip_edges=True, upsacle_samples=True, cmvn=None,
    )  # fmt: skip
    return kind(**{**common, **settings})


def speechlike(samples: int, seed: int = 0, level: float = 0.3) -> Waveform:
    """Harmonics of a moving pitch under syllables, and noise, rounded to 16 bits."""
    noise = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    pitch = 2 * np.pi * (120 * time + 3 * np.sin(5 * time + seed))
    voice = sum(np.sin(k * pitch) / k for k in range(1, 40))
    syllables = np.abs(np.sin(8 * time)) ** 2
    wave = level * (0.3 * voice * syllables + 0.01 * noise.normal(size=samples))
    return (np.round(np.clip(wave, -1, 1) * 32_767) / 32_768).astype(np.float32)


def kaldi(waveform: Waveform, settings: Any) -> torch.Tensor:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = settings.window
    options.frame_opts.snip_edges = settings.snip_edges
    options.mel_opts.num_bins = settings.n_mels
    options.frame_opts.frame_length_ms = min(25, len(waveform) / 16)
    native = knf.OnlineFbank(options)
    scale = 32_768 if settings.upsacle_samples else 1
    native.accept_waveform(16_000, (waveform * scale).tolist())
    native.input_finished()
    rows = [native.get_frame(i) for i in range(native.num_frames_ready)]
    return torch.from_numpy(np.stack(rows))


def stacked(energies: torch.Tensor, m: int, n: int) -> torch.Tensor:
    """Frames stacked one by one, the first and the last standing in for what is missing."""
    last = len(energies) - 1
    rows = [
        torch.cat([energies[min(max(0, t * n + k - (m - 1) // 2), last)] for k in range(m)])
        for t in range(math.ceil(len(energies) / n))
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("window", sorted(WINDOWS))
@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("upsacle_samples", [True, False])
def test_energies_are_kaldis(window: str, snip_edges: bool, upsacle_samples: bool) -> None:
    settings = frontend(window=window, snip_edges=snip_edges, upsacle_samples=upsacle_samples)
    waveform = speechlike(20_123)
    energies, lengths = FeatureExtractor(settings).fbank([waveform])
    expected = kaldi(waveform, settings)
    assert lengths.tolist() == [len(expected)]
    torch.testing.assert_close(energies[0], expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("level", [3.0, 0.1, 0.001, 0.0001])
@pytest.mark.parametrize("offset", [0, 700])
def test_loud_quiet_and_offset_audio_is_kaldis(level: float, offset: int) -> None:
    waveform = speechlike(16_000, level=level) + np.float32(offset / 32_768)
    energies, _ = FeatureExtractor(frontend()).fbank([waveform])
    torch.testing.assert_close(energies[0], kaldi(waveform, frontend()), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("constant", [0, 1, 1000, -32_768])
def test_a_constant_is_silence_and_silence_is_kaldis_floor(constant: int) -> None:
    waveform = np.full(8_000, constant / 32_768, np.float32)
    energies, _ = FeatureExtractor(frontend()).fbank([waveform])
    torch.testing.assert_close(energies[0], kaldi(waveform, frontend()), atol=1e-6, rtol=0)
    torch.testing.assert_close(energies, torch.full_like(energies, LOG_FLOOR), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("m", "n"), LFR)
@given(samples=st.integers(400, 12_000))
@settings(max_examples=25, deadline=None)
def test_frames_are_stacked_as_one_by_one(m: int, n: int, samples: int) -> None:
    extractor = FeatureExtractor(frontend(lfr_m=m, lfr_n=n))
    waveform = speechlike(samples)
    made, lengths = extractor([waveform])
    energies, _ = extractor.fbank([waveform])
    expected = stacked(energies[0], m, n)
    assert made.shape == (1, *expected.shape) == (1, extractor.frames(samples), extractor.dim)
    assert lengths.tolist() == [len(expected)]
    torch.testing.assert_close(made[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [WavFrontend, WavFrontendOnline])
@pytest.mark.parametrize("snip_edges", [True, False])
@given(lengths=st.lists(st.integers(0, 9_000), max_size=6), block=st.sampled_from([16, 50, 4000]))
@settings(max_examples=25, deadline=None)
def test_a_batch_is_each_waveform_alone_whatever_the_blocks(
    kind: type[WavFrontend], snip_edges: bool, lengths: list[int], block: int
) -> None:
    cmvn = torch.rand(2, 560, generator=torch.Generator().manual_seed(0))
    extractor = FeatureExtractor(frontend(kind, snip_edges=snip_edges, lfr_m=7, lfr_n=6, cmvn=cmvn))
    waveforms = [speechlike(length, seed) for seed, length in enumerate(lengths)]
    alone = [extractor([waveform])[0][0] for waveform in waveforms]
    extractor._block_frames = block
    batch, counts = extractor(waveforms)
    assert batch.dtype == torch.float32
    assert counts.dtype == torch.int64
    assert counts.tolist() == [extractor.frames(length) for length in lengths]
    assert batch.shape == (len(lengths), max(counts.tolist(), default=0), 560)
    for features_, count, single in zip(batch, counts.tolist(), alone, strict=True):
        torch.testing.assert_close(features_[:count], single, atol=1e-5, rtol=0)
        assert not features_[count:].any()


@pytest.mark.parametrize("window", [400, 300])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_compiled_passes_are_those_of_torchs_operations(window: int, offset: float) -> None:
    log_mel = LogMel(window, 160, "hamming", 80, 16_000, 32_768.0, torch.device("cpu"))
    samples = torch.from_numpy(speechlike(20_000) + np.float32(offset))
    compiled = log_mel._power_compiled(samples, 100)
    plain = log_mel._power(samples, 100)[:, : compiled.shape[1]]
    largest = plain.amax(1, keepdim=True)
    assert largest.min() > 0
    torch.testing.assert_close(compiled / largest, plain / largest, atol=1e-6, rtol=1e-3)


def test_plain_operations_give_the_energies_too() -> None:
    extractor = FeatureExtractor(frontend())
    waveform = speechlike(16_000)
    energies, _ = extractor.fbank([waveform])
    for log_mel in extractor._log_mels.values():
        log_mel._kernels = None
    plain, _ = extractor.fbank([waveform])
    torch.testing.assert_close(plain[0], kaldi(waveform, frontend()), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(plain, energies, atol=TOLERANCE, rtol=0)


def test_mean_and_variance_are_normalized_by_column() -> None:
    cmvn = torch.stack([torch.linspace(-12, -8, 560), torch.linspace(0.1, 0.3, 560)])
    plain = frontend(lfr_m=7, lfr_n=6)
    normalized = frontend(lfr_m=7, lfr_n=6, cmvn=cmvn)
    waveform = speechlike(16_000)
    expected = (FeatureExtractor(plain)([waveform])[0] + cmvn[0]) * cmvn[1]
    made = FeatureExtractor(normalized)([waveform])[0]
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("snip_edges", [True, False])
@pytest.mark.parametrize("samples", [257, 300, 399, 400, 401])
def test_a_waveform_of_about_one_frame_is_kaldis(samples: int, snip_edges: bool) -> None:
    settings = frontend(snip_edges=snip_edges)
    waveform = speechlike(samples)
    energies, _ = FeatureExtractor(settings).fbank([waveform])
    torch.testing.assert_close(energies[0], kaldi(waveform, settings), atol=TOLERANCE, rtol=0)


def test_what_is_too_short_has_no_frames() -> None:
    waveforms = [speechlike(samples) for samples in (0, 1, 256, 399)]
    made, lengths = FeatureExtractor(frontend(lfr_m=7, lfr_n=6))(waveforms)
    assert lengths.tolist() == [0, 0, 0, 1]
    assert made.shape == (4, 1, 560)
    made, lengths = FeatureExtractor(frontend(WavFrontendOnline, lfr_m=5))(waveforms)
    assert lengths.tolist() == [0, 0, 0, 0]
    assert made.shape == (4, 0, 400)
    assert FeatureExtractor(frontend())([])[0].shape == (0, 0, 80)


def test_the_online_frontend_scales_and_snips_whatever_its_settings_say() -> None:
    waveform = speechlike(9_000)
    online = frontend(WavFrontendOnline, snip_edges=False, upsacle_samples=False)
    made, _ = FeatureExtractor(online)([waveform])
    assert torch.equal(made, FeatureExtractor(frontend())([waveform])[0])


def test_a_long_recording_goes_through_small_blocks() -> None:
    extractor = FeatureExtractor(frontend(lfr_m=5, lfr_n=1))
    samples = 3 * 3600 * 16_000
    blocks = list(extractor._blocks([samples], features._Stacking(5, 1)))
    rows = [row for block in blocks for piece in block for row in (piece.first_row, piece.end_row)]
    assert rows[::2] == [0, *rows[1:-1:2]]
    assert rows[-1] == extractor.frames(samples)
    longest = max(piece.end_frame - piece.first_frame for block in blocks for piece in block)
    assert longest <= features._CPU_BLOCK_FRAMES + 4


def test_read_only_and_strided_waveforms_are_taken() -> None:
    waveform = speechlike(8_000)
    locked = waveform.copy()
    locked.flags.writeable = False
    strided = np.repeat(waveform, 2)[::2]
    made, _ = FeatureExtractor(frontend())([waveform, locked, strided])
    torch.testing.assert_close(made[1], made[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(made[2], made[0], atol=1e-5, rtol=0)


def test_torchs_threads_are_as_before() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        FeatureExtractor(frontend())([speechlike(8_000)])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "other", [{"dither": 1.0}, {"fs": 8000}, {"window": "sine"}, {"frame_length": 22.5}]
)
def test_other_frontends_are_left_to_funasr(other: dict[str, Any]) -> None:
    assert FeatureExtractor.supports(frontend())
    assert FeatureExtractor.supports(frontend(WavFrontendOnline))
    assert not FeatureExtractor.supports(frontend(**other))
    assert not FeatureExtractor.supports(SimpleNamespace(**vars(frontend())))
    assert not FeatureExtractor.supports(None)

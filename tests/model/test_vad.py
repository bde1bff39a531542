"""Segments against FunASR's own `inference`, on speech, noise and the borders of its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.corpus.audio import decode
from ray_asr.demo import speech_folder
from ray_asr.engine import vad_scores
from ray_asr.engine.features import FeatureExtractor
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.untrained_vad import PUBLISHED_ENCODER, build_untrained_vad
from ray_asr.engine.vad import FsmnVad
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

MINUTE = 60 * SAMPLE_RATE_HZ


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """FunASR's small operations wait for each other's threads where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def load(name: str = "demo", **options: Any) -> Any:
    return load_auto_model(name, "vad_model", device="cpu", ncpu=1, **options)


@pytest.fixture(scope="module")
def embedded() -> Any:
    return load()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The published architecture with weights that find speech at random, for seconds or none."""
    return load(str(build_untrained_vad(tmp_path_factory.mktemp("vad"))))


def theirs(auto: Any, waveform: Waveform) -> list[tuple[int, int]]:
    with torch.inference_mode():
        tensor = torch.from_numpy(np.ascontiguousarray(waveform))
        results, _ = auto.model.inference(data_in=[tensor], key=["recording"], **auto.kwargs)
    return [tuple(segment) for segment in results[0]["value"]]


@pytest.fixture(scope="module")
def speech(embedded_speech: list[dict[str, str]]) -> list[Waveform]:
    paths = [speech_folder() / item["audio_filepath"] for item in embedded_speech]
    return [decode(path.read_bytes()) for path in paths]


@pytest.fixture(scope="module")
def joined(speech: list[Waveform]) -> Waveform:
    """More than three minutes of speech with pauses of up to 3 s, in silence or noise."""
    rng = np.random.default_rng(3)
    parts: list[Waveform] = []
    while sum(map(len, parts)) < 3.2 * MINUTE:
        parts.append(speech[rng.integers(len(speech))][: MINUTE // 2])
        pause = rng.standard_normal(int(rng.uniform(0, 3) * SAMPLE_RATE_HZ))
        parts.append((pause * rng.choice([0.0, 1e-4, 1e-2])).astype(np.float32))
    return np.concatenate(parts)


def scores(vad: FsmnVad, waveforms: list[Waveform]) -> list[torch.Tensor]:
    """The probabilities of silence that `detect` decides from, by recording."""
    found: list[torch.Tensor] = []
    decide = vad._speech

    def listen(of_recording: np.ndarray) -> np.ndarray:
        found.append(torch.from_numpy(of_recording.copy()))
        return decide(of_recording)

    vad._speech = listen  # type: ignore[method-assign]
    vad.detect(waveforms)
    vad._speech = decide  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_probabilities_are_the_encoders_in_packed_layers_and_plain_ones(
    embedded: Any,
    published: Any,
    speech: list[Waveform],
    packed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if packed and not vad_scores.is_worth_it():
        pytest.skip("this processor has no use for packed layers")
    monkeypatch.setattr(vad_scores, "is_worth_it", lambda: packed)
    for auto in (embedded, published):
        vad = FsmnVad(auto)
        for waveform in speech[::20]:
            features, _ = FeatureExtractor(auto.kwargs["frontend"])([waveform])
            with torch.inference_mode():
                expected = auto.model.encoder(features, {})[0][:, auto.model.vad_opts.sil_pdf_ids]
            found = torch.cat(scores(vad, [waveform]))
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_is_heard_together_has_the_probabilities_of_each_alone(
    embedded: Any, published: Any, speech: list[Waveform]
) -> None:
    waveforms = [waveform[: 1000 + 7000 * (i % 5)] for i, waveform in enumerate(speech[:40])]
    for auto in (embedded, published):
        vad = FsmnVad(auto)
        alone = [scores(vad, [waveform])[0] for waveform in waveforms]
        for found, expected in zip(scores(vad, waveforms), alone, strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_every_embedded_recording_has_funasrs_segments(
    embedded: Any, speech: list[Waveform]
) -> None:
    found = FsmnVad(embedded).detect(speech)
    assert found == [theirs(embedded, waveform) for waveform in speech]
    assert sum(map(len, found)) >= len(speech) // 2


@pytest.mark.parametrize("options", [{}, {"max_single_segment_time": 4000}])
def test_a_recording_of_minutes_has_funasrs_segments(
    joined: Waveform, options: dict[str, Any]
) -> None:
    auto = load(**options)
    (found,) = FsmnVad(auto).detect([joined])
    assert len(found) > 10
    assert found == theirs(auto, joined)


def test_end_silence_that_shortens_from_chunk_to_chunk_is_funasrs(joined: Waveform) -> None:
    auto = load(max_single_segment_time=200_000, dynamic_silence=True)
    (found,) = FsmnVad(auto).detect([joined])
    assert found == theirs(auto, joined)
    (fixed,) = FsmnVad(load(max_single_segment_time=200_000)).detect([joined])
    assert found != fixed


def test_the_published_architecture_has_funasrs_segments(
    published: Any, joined: Waveform, speech: list[Waveform]
) -> None:
    waveforms = [joined[: 2 * MINUTE + 777], *speech[::8]]
    waveforms = [waveform[: 2 * MINUTE + 777] for waveform in waveforms]
    found = FsmnVad(published).detect(waveforms)
    assert found == [theirs(published, waveform) for waveform in waveforms]
    assert sum(map(len, found)) > 10


def test_lengths_around_a_chunk_and_a_few_frames_have_funasrs_segments(
    embedded: Any, joined: Waveform
) -> None:
    counts = [MINUTE + d for d in (-161, -1, 0, 1, 239, 240, 400)]
    counts += [2 * MINUTE, 400, 559, 560, 900, 4000]
    waveforms = [joined[5000 : 5000 + count] for count in counts]
    expected = [theirs(embedded, waveform) for waveform in waveforms]
    assert FsmnVad(embedded).detect(waveforms) == expected


def test_what_is_shorter_than_a_frame_has_no_segment(embedded: Any) -> None:
    waveforms = [np.full(count, 0.1, np.float32) for count in (0, 1, 399)]
    vad = FsmnVad(embedded)
    assert vad.detect(waveforms) == [[], [], []]
    assert [vad.stream().accept(waveform, is_final=True) for waveform in waveforms] == [[], [], []]
    assert vad.detect([]) == []


def test_noise_silence_tones_and_clipped_speech_have_funasrs_segments(
    embedded: Any, published: Any, joined: Waveform
) -> None:
    rng = np.random.default_rng(1)
    time = np.arange(6 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    speech = joined[: 20 * SAMPLE_RATE_HZ]
    sounds = [
        np.zeros_like(time),
        *(rng.uniform(-1, 1, time.shape) * level for level in (1e-4, 1e-2, 1.0)),
        *(0.5 * np.sin(2 * np.pi * hz * time) for hz in (50, 440, 3000)),
        np.sign(np.sin(2 * np.pi * 60 * time)),
        np.clip(speech * 30, -1, 1),
        speech * 1e-3,
        speech + rng.standard_normal(speech.shape) * 0.02,
    ]
    waveforms = [sound.astype(np.float32) for sound in sounds]
    for auto in (embedded, published):
        assert FsmnVad(auto).detect(waveforms) == [theirs(auto, sound) for sound in waveforms]


@pytest.mark.parametrize("longest_piece", [1000, 50_000, 2 * MINUTE])
def test_pieces_of_any_length_give_what_the_whole_gives(
    embedded: Any, published: Any, joined: Waveform, longest_piece: int
) -> None:
    rng = np.random.default_rng(longest_piece)
    waveform = joined[: max(MINUTE, longest_piece) + 12_345]
    if longest_piece == 1000:
        waveform = joined[: MINUTE // 6]
    for auto in (embedded, published):
        vad = FsmnVad(auto)
        stream, found, start = vad.stream(), [], 0
        while start < len(waveform):
            end = start + int(rng.integers(0, longest_piece))
            found += stream.accept(waveform[start:end], is_final=False)
            start = end
        found += stream.accept(waveform[:0], is_final=True)
        assert [found] == vad.detect([waveform])


def test_a_piece_that_ends_a_chunk_without_a_new_frame_loses_nothing(joined: Waveform) -> None:
    auto = load(chunk_size=15_000, dynamic_silence=True, max_single_segment_time=200_000)
    vad = FsmnVad(auto)
    chunk = 15 * SAMPLE_RATE_HZ
    cuts = [at for i in range(1, 5) for at in (i * chunk - 2, i * chunk - 1, i * chunk + 1)]
    stream, found = vad.stream(), []
    waveform = joined[: 5 * chunk + 99]
    for piece in np.split(waveform, cuts):
        found += stream.accept(piece, is_final=False)
    found += stream.accept(waveform[:0], is_final=True)
    assert found == theirs(auto, waveform)


def test_threads_and_gradients_are_left_as_they_are(embedded: Any, joined: Waveform) -> None:
    torch.set_num_threads(2)
    FsmnVad(embedded).detect([joined[:100_000], joined[:9000]])
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "options",
    [
        {"detect_mode": 0},
        {"do_extend": 0},
        {"snr_thres": 10},
        {"decibel_thres": -40},
        {"sil_to_speech_time_thres": 10},
        {"chunk_size": 200},
        {"is_streaming_input": True},
        {"sil_pdf_ids": [0, 1]},
    ],
)
def test_settings_that_are_not_understood_are_left_to_funasr(options: dict[str, Any]) -> None:
    assert not FsmnVad.supports(load(**options))


def test_a_network_that_looks_ahead_is_left_to_funasr(tmp_path: Path) -> None:
    ahead = {**PUBLISHED_ENCODER, "rorder": 2, "rstride": 1}
    assert not FsmnVad.supports(load(str(build_untrained_vad(tmp_path, ahead))))

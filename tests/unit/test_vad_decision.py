"""The decision, driven with speech and silence of any kind, ends where FunASR's own ends."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from funasr.models.fsmn_vad_streaming.model import FsmnVADStreaming, VADXOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_asr.engine.vad_decision import Decision, Options

Chunks = list[NDArray[np.bool_]]


def theirs(chunks: Chunks, silences_ms: list[float], options: dict[str, Any]) -> list[Any]:
    """FunASR's own state machine over the same frames; only its scores are made up."""
    machine = SimpleNamespace(vad_opts=VADXOptions(**options, speech_noise_thres=0.5))
    for name in vars(FsmnVADStreaming):
        if not name.startswith("_") and name not in ("training", "forward", "inference"):
            method = getattr(FsmnVADStreaming, name)
            setattr(machine, name, method.__get__(machine))
    cache: dict[str, Any] = {}
    machine.init_cache(cache)
    stats = cache["stats"]
    stats.data_buf_all = torch.zeros(160 * sum(map(len, chunks)) + 400)
    stats.data_buf = stats.data_buf_all
    found: list[Any] = []
    for number, chunk in enumerate(chunks):
        is_final = number == len(chunks) - 1
        if not len(chunk):
            continue
        stats.max_end_sil_frame_cnt_thresh = silences_ms[number]
        scores = torch.zeros(1, len(chunk), 2)
        scores[0, :, 0] = torch.from_numpy(np.where(chunk, 0.01, 0.99).astype(np.float32))
        stats.scores = scores if stats.scores is None else torch.cat([stats.scores, scores], 1)
        stats.decibel.extend([10.0] * len(chunk))
        stats.frm_cnt += len(chunk)
        machine.vad_opts.nn_eval_block_size = len(chunk)
        with contextlib.redirect_stdout(io.StringIO()):
            (machine.DetectLastFrames if is_final else machine.DetectCommonFrames)(cache=cache)
        machine.DropCachedFrames(min(stats.data_buf_start_frame, stats.frm_cnt), cache=cache)
        ended = []
        for segment in stats.output_data_buf[stats.output_data_buf_offset :]:
            whole = segment.contain_seg_start_point and segment.contain_seg_end_point
            if is_final or whole:
                ended.append((segment.start_ms, segment.end_ms))
                stats.output_data_buf_offset += 1
        found.append(ended)
    return found


def ours(chunks: Chunks, silences_ms: list[float], options: dict[str, Any]) -> list[Any]:
    decision = Decision(
        Options(
            window=options["window_size_ms"] // 10,
            to_speech=options["sil_to_speech_time_thres"] // 10,
            to_silence=options["speech_to_sil_time_thres"] // 10,
            lookback=options["lookback_time_start_point"] // 10,
            lookahead=options["lookahead_time_end_point"] // 10,
            extends=bool(options["do_extend"]),
            longest=options["max_single_segment_time"] / 10,
        )
    )
    return [
        decision.advance(chunk, silence_ms, number == len(chunks) - 1)
        for number, (chunk, silence_ms) in enumerate(zip(chunks, silences_ms, strict=True))
        if len(chunk)
    ]


@st.composite
def frames(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Runs of speech and silence of a few frames to some seconds, at times with single errors."""
    runs = draw(st.lists(st.one_of(st.integers(1, 6), st.integers(1, 40), st.integers(1, 400)),
                         max_size=25))  # fmt: skip
    speech = np.repeat(np.arange(len(runs)) % 2 == draw(st.integers(0, 1)), runs)
    if draw(st.booleans()):
        noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        speech ^= noise.random(len(speech)) < 0.08
    return speech


OPTIONS = st.fixed_dictionaries(
    {
        "window_size_ms": st.sampled_from([200, 100, 300]),
        "sil_to_speech_time_thres": st.sampled_from([150, 50, 100]),
        "speech_to_sil_time_thres": st.sampled_from([150, 50, 100]),
        "lookback_time_start_point": st.sampled_from([200, 0, 100]),
        "lookahead_time_end_point": st.sampled_from([100, 0, 200]),
        "do_extend": st.sampled_from([1, 1, 0]),
        "max_single_segment_time": st.sampled_from([30_000, 60_000, 2_000, 1_005]),
    }
)
SILENCE = st.sampled_from([1850.0, 850.0, 650.0, 50.0, 0.0, 455.0])


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(st.tuples(frames(), SILENCE), min_size=1, max_size=3), OPTIONS)
def test_segments_are_those_of_funasr(
    chunks: list[tuple[NDArray[np.bool_], float]], options: dict[str, Any]
) -> None:
    speech, silences = [c for c, _ in chunks], [s for _, s in chunks]
    if not len(speech[-1]):
        speech[-1] = np.array([True])
    assert ours(speech, silences, options) == theirs(speech, silences, options)


@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_how_frames_are_cut_into_calls_changes_nothing(pieces: int) -> None:
    random = np.random.default_rng(2)
    speech = np.repeat(np.arange(60) % 2 == 0, random.integers(5, 150, 60))
    whole = Decision(Options()).advance(speech, 650.0, True)
    decision = Decision(Options())
    cut = np.array_split(speech, pieces)
    found = [s for i, c in enumerate(cut) for s in decision.advance(c, 650.0, i == len(cut) - 1)]
    assert found == whole
    assert len(whole) > 5


def test_silence_has_no_segments() -> None:
    assert Decision(Options()).advance(np.zeros(1000, bool), 650.0, True) == []


def test_endless_speech_is_cut_at_the_longest() -> None:
    segments = Decision(Options(longest=500)).advance(np.ones(2000, bool), 650.0, True)
    assert all(end - start <= 5_200 for start, end in segments)
    assert segments[-1][1] == 20_000

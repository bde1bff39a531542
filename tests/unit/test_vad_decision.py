"""The decision against FunASR's own state machine, fed with the same scores."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.engine.vad_decision import Decision, DecisionRules, speech_frames

RIGHT = 2  # frames that wait for their neighbours at the end of a chunk
OPTIONS: dict[str, Any] = {
    "max_end_silence_time": 800, "window_size_ms": 200, "sil_to_speech_time_thres": 150,
    "speech_to_sil_time_thres": 150, "lookback_time_start_point": 200,
    "lookahead_time_end_point": 100, "max_single_segment_time": 60_000, "speech_noise_thres": 0.6,
    "speech_2_noise_ratio": 1.0, "sil_pdf_ids": [0], "chunk_size": 60_000, "schedule": None,
}  # fmt: skip


class _ScoresForSamples:
    """A front end whose features are the scores themselves."""

    fs, frame_shift, lfr_n = 16_000, 10, 1
    supports_aligned_waveforms = True

    def __init__(self, scores: np.ndarray, waveform: np.ndarray) -> None:
        self.scores, self.waveform = torch.from_numpy(scores)[None], torch.from_numpy(waveform)
        self.samples = self.given = 0

    def __call__(
        self, data: torch.Tensor, lengths: Any, cache: dict[str, Any], is_final: bool, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.samples += data.shape[1]
        end = frames(self.samples) - (0 if is_final else RIGHT)
        found = self.scores[:, self.given : end]
        cache["aligned_waveforms"] = self.waveform[None, self.given * 160 : (end - 1) * 160 + 400]
        self.given = end
        return found, torch.tensor([found.shape[1]])


def frames(samples: int) -> int:
    return 1 + (samples - 400) // 160 if samples >= 400 else 0


def theirs(scores: np.ndarray, samples: int, options: dict[str, Any], loudness: float) -> list:
    """What FunASR's `inference` finds, its network replaced by the scores."""
    from funasr.models.fsmn_vad_streaming.model import FsmnVADStreaming, VADXOptions

    made = {key: value for key, value in options.items() if key not in ("chunk_size", "schedule")}
    made["silence_pdf_num"] = len(options["sil_pdf_ids"])
    model = FsmnVADStreaming.__new__(FsmnVADStreaming)
    torch.nn.Module.__init__(model)
    model.vad_opts = VADXOptions(**made)
    model.encoder = lambda features, cache: features
    rng = np.random.default_rng(samples)
    waveform = rng.uniform(-loudness, loudness, samples).astype(np.float32)
    dynamic = {} if options["schedule"] is None else {"silence_schedule": options["schedule"]}
    results, _ = model.inference(
        [torch.from_numpy(waveform)],
        key=["recording"],
        frontend=_ScoresForSamples(scores, waveform),
        device="cpu",
        chunk_size=options["chunk_size"],
        # Given, so that short chunks do not turn the answer into events.
        is_streaming_input=False,
        is_final=True,
        dynamic_silence=bool(dynamic),
        **dynamic,
    )
    return [tuple(segment) for segment in results[0]["value"]]


def ours(
    scores: np.ndarray, samples: int, options: dict[str, Any], pieces: list[int]
) -> list[tuple[int, int]]:
    """Segments from the frames in pieces that end at these samples and at the last one."""
    given = SimpleNamespace(**options)
    window = given.window_size_ms // 10
    decision = Decision(
        DecisionRules(
            window=window,
            speech_at=given.sil_to_speech_time_thres // 10,
            silence_at=given.speech_to_sil_time_thres // 10,
            lookback=window + given.lookback_time_start_point // 10,
            lookahead=given.lookahead_time_end_point // 10,
            longest=given.max_single_segment_time // 10,
            end_silence_ms=given.max_end_silence_time - given.speech_to_sil_time_thres,
            schedule=tuple(given.schedule or ()),
            schedule_offset_ms=given.speech_to_sil_time_thres,
            chunk_ms=given.chunk_size,
        )
    )
    threshold = given.speech_noise_thres if given.schedule is None else 0.5
    speech = speech_frames(scores[:, given.sil_pdf_ids], threshold, given.speech_2_noise_ratio)
    chunk = given.chunk_size * 16
    found = []
    ends = [0, *sorted(piece for piece in pieces if piece < samples), samples]
    before = 0
    for first, last in pairwise(ends):
        is_final = last == samples
        ready = frames(last) if is_final else max(before, frames(last) - RIGHT)
        chunks = range(first // chunk + 1, last // chunk + 1)
        borders = [frames(i * chunk) - RIGHT for i in chunks]
        found += decision.accept(speech[before:ready], borders, is_final)
        before = ready
    return found


def made_scores(runs: list[tuple[int, float]], classes: int, seed: int) -> np.ndarray:
    """Scores `(T, classes)` in runs of frames, each with its share of frames that are speech."""
    rng = np.random.default_rng(seed)
    shares = np.concatenate([np.full(length, share) for length, share in runs])
    silence = np.where(
        rng.random(len(shares)) < shares,
        rng.uniform(0.001, 0.3, len(shares)),
        rng.uniform(0.1, 0.999, len(shares)),
    )
    parts = rng.dirichlet(np.ones(classes - 1), len(shares))
    scores = np.concatenate([silence[:, None], parts * (1 - silence[:, None])], axis=1)
    return scores.astype(np.float32)


def made_runs(rng: np.random.Generator) -> list[tuple[int, float]]:
    """Speech with pauses, or anything, in up to 20 s."""
    speech = [1.0, 0.95, 0.9] if rng.random() < 0.6 else [1.0, 0.8, 0.75, 0.7, 0.5]
    runs = []
    for _ in range(rng.integers(1, 12)):
        runs.append((int(rng.integers(1, 300)), float(rng.choice(speech))))
        runs.append((int(rng.integers(1, rng.choice([15, 60, 150]))), float(rng.choice([0, 0.1]))))
    return runs


def made_options(rng: np.random.Generator) -> dict[str, Any]:
    """FunASR's usual options, or all different, with chunks and segments short enough to end."""
    options = {
        **OPTIONS,
        "chunk_size": int(rng.choice([60_000, 500, 1000, 2340])),
        "max_single_segment_time": [60_000, 3000, int(rng.integers(0, 9000))][rng.integers(3)],
    }
    if rng.random() < 0.5:
        options |= {
            "window_size_ms": int(rng.choice([200, 10, 50, 400])),
            "sil_to_speech_time_thres": int(rng.integers(2, 25)) * 10,
            "speech_to_sil_time_thres": int(rng.integers(0, 25)) * 10,
            "lookback_time_start_point": int(rng.integers(0, 40)) * 10,
            "lookahead_time_end_point": int(rng.integers(0, 40)) * 10,
        }
    if rng.random() < 0.5:
        options |= {
            "max_end_silence_time": int(rng.integers(0, 1200)),
            "speech_noise_thres": float(rng.choice([0.6, 0.5, 0.0, 0.9, -0.2])),
            "speech_2_noise_ratio": float(rng.choice([1.0, 0.5, 2.0])),
            "sil_pdf_ids": [[0], [0, 2], [1, 0, 2]][rng.integers(3)],
        }
    if rng.random() < 0.5:
        limits = np.sort(rng.integers(0, 8000, rng.integers(1, 5)))
        silences = -np.sort(-rng.integers(0, 1500, len(limits)))
        options["schedule"] = list(zip(limits.tolist(), silences.tolist(), strict=True))
        if rng.random() < 0.5:
            options["schedule"].append((float("inf"), int(rng.choice([100, 300]))))
    return options


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_segments_are_those_of_funasrs_state_machine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = made_options(rng)
    scores = made_scores(made_runs(rng), 4, seed)
    samples = (len(scores) - 1) * 160 + 400 + int(rng.integers(160))
    chunk = options["chunk_size"] * 16
    if rng.random() < 0.2 and samples > chunk:
        samples = samples // chunk * chunk
        scores = scores[: frames(samples)]
    pieces = rng.integers(0, samples, rng.integers(4)).tolist()
    expected = theirs(scores, samples, options, loudness=float(rng.choice([1.0, 1e-3, 0.0])))
    assert ours(scores, samples, options, pieces) == expected


def test_a_tie_is_decided_by_the_same_operations_as_funasrs() -> None:
    for p, threshold in [(0.2, 0.6), (0.25, 0.5), (0.05, 0.9), (0.5, 0.0)]:
        score = np.array([[p]], np.float32)
        told = float(score[0, 0])
        expected = math.exp(math.log(1.0 - told)) >= math.exp(math.log(told)) + threshold
        assert speech_frames(score, threshold).tolist() == [expected]


def test_certain_scores_and_scores_that_are_no_numbers_are_decided() -> None:
    scores = np.array([[0.0], [1.0], [np.nan], [-np.inf], [np.inf]], np.float32)
    assert speech_frames(scores, 0.6).tolist()[:3] == [True, False, False]


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_pieces_of_any_length_give_the_segments_of_the_whole(pieces: int) -> None:
    runs = [(200, 0.0), (300, 0.95), (90, 0.1), (250, 0.8), (100, 0.0), (100, 1.0)]
    scores = made_scores(runs, 3, seed=5)
    samples = (len(scores) - 1) * 160 + 400
    options = {**OPTIONS, "chunk_size": 1000, "schedule": [(2000, 900), (4000, 300), (1e9, 0)]}
    whole = ours(scores, samples, options, [])
    cuts = np.random.default_rng(pieces).integers(0, samples, pieces).tolist()
    assert len(whole) >= 3
    assert ours(scores, samples, options, cuts) == whole


def test_no_frames_at_all_are_no_segment() -> None:
    rules = DecisionRules(20, 15, 15, 40, 10, 6000, 650)
    assert Decision(rules).accept(np.zeros(0, np.bool_), [], is_final=True) == []

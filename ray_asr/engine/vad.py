"""FSMN-VAD for many recordings, and for long ones in pieces: FunASR's segments, sooner.

Owns the way from waveforms to segments: batches, pieces of long recordings, where FunASR's chunks
end, and which of FunASR's settings are understood. Must not know Ray or Parquet.

FunASR hears a recording in chunks of 60 s. Its features, network and window go on from chunk to
chunk as if there were none; but it holds back each chunk's last frames until their neighbours
have come, and sets how much silence ends a segment once a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ray_asr.engine.features import FeatureExtractor
from ray_asr.engine.vad_decision import FRAME_MS, Decision, DecisionRules, speech_frames
from ray_asr.engine.vad_scores import SilenceScores
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

_MODELS = "funasr.models.fsmn_vad_streaming.model"
_FRAME_LENGTH_MS = 25
_CHUNK_MS = 60_000
# With shorter chunks FunASR answers in events instead of segments.
_SHORTEST_CHUNK_MS = 15_000
# What is heard at once of a long recording.
_CPU_PIECE_SAMPLES = 60 * SAMPLE_RATE_HZ
_GPU_PIECE_SAMPLES = 1200 * SAMPLE_RATE_HZ
# Waveforms in [-1, 1] have no frame of 25 ms below -60 dB, nor one 87 dB below another.
_QUIETEST_DB = -60.0
_WIDEST_DB = -87.0


class FsmnVad:
    """Voice activity detection with a FunASR `AutoModel` that holds an `FsmnVADStreaming`.

    The segments are those of the model's own `inference` for each recording alone. Its answers
    can differ where the score of a frame lies within some 1e-5 of the threshold, since features
    and scores are rounded in another way; and it raises where a score is exactly 0 or 1.

    Short recordings go through the network in padded batches, long ones in pieces: memory stays
    bounded, whatever comes.

    Args:
        auto: a model that `supports` allows; its weights and settings are read once, here.
    """

    def __init__(self, auto: Any) -> None:
        options, settings = auto.model.vad_opts, auto.kwargs
        frontend = settings["frontend"]
        device = next(auto.model.parameters()).device
        self._features = FeatureExtractor(frontend, str(device))
        self._scores = SilenceScores(
            auto.model.encoder, options.sil_pdf_ids, frontend.lfr_m, frontend.cmvn
        )
        self._device = device
        self._n_mels = int(frontend.n_mels)
        self._piece = _CPU_PIECE_SAMPLES if device.type == "cpu" else _GPU_PIECE_SAMPLES
        self._left = (frontend.lfr_m - 1) // 2
        self._right = frontend.lfr_m - 1 - self._left
        self._shift = SAMPLE_RATE_HZ * frontend.frame_shift // 1000
        self._chunk = _chunk_ms(settings) * SAMPLE_RATE_HZ // 1000
        self._rules = _rules(options, settings)
        self._noise_power = float(options.speech_2_noise_ratio)
        self._threshold = float(settings.get("speech_noise_thres", options.speech_noise_thres))
        if self._rules.schedule:
            # FunASR sets it together with the silence that ends a segment.
            self._threshold = 0.5

    @staticmethod
    def supports(auto: Any) -> bool:
        """Whether this class finds what `auto` finds; if not, FunASR's own must be asked."""
        model, settings = auto.model, auto.kwargs
        if type(model).__module__ != _MODELS or type(model).__name__ != "FsmnVADStreaming":
            return False
        return (
            SilenceScores.supports(model.encoder)
            and _supports_frontend(settings.get("frontend"))
            and _supports_options(model.vad_opts)
            and _supports_settings(settings)
        )

    def detect(self, waveforms: Sequence[Waveform]) -> list[list[tuple[int, int]]]:
        """The stretches of speech in each recording, in order.

        Returns:
            For each waveform its (start, end) in ms; none where it is shorter than 25 ms.
        """
        found: list[list[tuple[int, int]]] = [[] for _ in waveforms]
        with torch.inference_mode():
            for group in self._groups([len(waveform) for waveform in waveforms]):
                of_group = self._detect_group([waveforms[i] for i in group])
                for i, segments in zip(group, of_group, strict=True):
                    found[i] = segments
        return found

    def stream(self) -> VadStream:
        """`detect` for one recording that comes in pieces."""
        return VadStream(self)

    def _groups(self, samples: Sequence[int]) -> Iterator[list[int]]:
        """Recordings that are heard together, long ones alone."""
        group: list[int] = []
        room = self._piece
        for i, count in enumerate(samples):
            if group and count > room:
                yield group
                group, room = [], self._piece
            group.append(i)
            room -= count
        if group:
            yield group

    def _detect_group(self, waveforms: Sequence[Waveform]) -> list[list[tuple[int, int]]]:
        if len(waveforms) == 1:
            return [self.stream().accept(waveforms[0], is_final=True)]
        counts = [self._features.fbank_frames(len(waveform)) for waveform in waveforms]
        lengths = [count + self._left + self._right + self._scores.gap for count in counts]
        *starts, end = accumulate(lengths, initial=0)
        rows = torch.zeros(end, self._n_mels, device=self._device)
        keep = torch.zeros(end - self._left - self._right, 1)
        places = [
            rows[start + self._left : start + self._left + count]
            for start, count in zip(starts, counts, strict=True)
        ]
        self._features.fbank_into(waveforms, places)
        for start, place in zip(starts, places, strict=True):
            count = len(place)
            if count:
                rows[start : start + self._left] = place[0]
                rows[start + self._left + count :][: self._right] = place[-1]
                keep[start : start + count] = 1.0
        scores = self._scores(rows, self._scores.memory(), keep.to(self._device)).cpu().numpy()
        return [
            Decision(self._rules).accept(
                self._speech(scores[start : start + count]), self._borders(0, len(waveform)), True
            )
            for start, count, waveform in zip(starts, counts, waveforms, strict=True)
        ]

    def _speech(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        return speech_frames(scores, self._threshold, self._noise_power)

    def _borders(self, before: int, after: int) -> list[int]:
        """The frames before which FunASR starts a chunk, of those between two samples.

        A chunk's last frames wait for their neighbours, and belong to the next one.
        """
        chunks = range(before // self._chunk + 1, after // self._chunk + 1)
        return [self._features.frames(chunk * self._chunk) - self._right for chunk in chunks]


class VadStream:
    """One recording's segments from its pieces, which may be of any length.

    All pieces together give what `FsmnVad.detect` gives for the whole recording.
    """

    def __init__(self, vad: FsmnVad) -> None:
        self._vad = vad
        self._decision = Decision(vad._rules)
        self._memory = vad._scores.memory()
        self._samples = 0  # that have come
        self._frames = 0  # whose energies are known
        self._waiting = np.zeros(0, np.float32)  # from the next frame's first sample on

    def accept(self, samples: Waveform, is_final: bool) -> list[tuple[int, int]]:
        """The segments that this piece completes.

        Args:
            samples: `(T,)`, what follows the last piece; may be empty.
            is_final: nothing follows; what goes on then ends. No further call is allowed.

        Returns:
            (start, end) in ms from the start of the recording.
        """
        found: list[tuple[int, int]] = []
        with torch.inference_mode():
            for start in range(0, max(1, len(samples)), self._vad._piece):
                end = start + self._vad._piece
                found += self._accept(samples[start:end], is_final and end >= len(samples))
        return found

    def _accept(self, samples: Waveform, is_final: bool) -> list[tuple[int, int]]:
        vad = self._vad
        known = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        borders = vad._borders(self._samples, self._samples + len(samples))
        self._samples += len(samples)
        scores = vad._scores(self._rows(known, is_final), self._memory)
        return self._decision.accept(vad._speech(scores.cpu().numpy()), borders, is_final)

    def _rows(self, known: Waveform, is_final: bool) -> torch.Tensor:
        """Energies of the frames that are whole, with the recording's edges, for the network."""
        vad = self._vad
        count = vad._features.fbank_frames(len(known))
        before = vad._left if count and not self._frames else 0
        self._frames += count
        self._waiting = known[count * vad._shift :].copy()
        after = vad._right if is_final and self._frames else 0
        rows = torch.empty(before + count + after, vad._n_mels, device=vad._device)
        energies = rows[before : before + count]
        vad._features.fbank_into([known], [energies])
        if before:
            rows[:before] = energies[0]
        if after:
            rows[before + count :] = energies[-1] if count else self._memory[0][-1]
        return rows


def _chunk_ms(settings: Mapping[str, Any]) -> int:
    return int(settings.get("chunk_size", _CHUNK_MS))


def _schedule(settings: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    """How FunASR shortens the silence that ends a segment, or nothing where that is fixed."""
    from funasr.models.fsmn_vad_streaming.model import DEFAULT_SILENCE_SCHEDULE

    if not settings.get("dynamic_silence", settings.get("max_end_silence_time") is None):
        return ()
    return tuple(
        (float(limit_ms), float(silence_ms))
        for limit_ms, silence_ms in settings.get("silence_schedule", DEFAULT_SILENCE_SCHEDULE)
    )


def _rules(options: Any, settings: Mapping[str, Any]) -> DecisionRules:
    window = int(options.window_size_ms / FRAME_MS)
    end_silence_ms = settings.get("max_end_silence_time")
    if end_silence_ms is None:
        end_silence_ms = options.max_end_silence_time
    return DecisionRules(
        window=window,
        speech_at=int(options.sil_to_speech_time_thres / FRAME_MS),
        silence_at=int(options.speech_to_sil_time_thres / FRAME_MS),
        lookback=window + int(options.lookback_time_start_point / FRAME_MS),
        lookahead=int(options.lookahead_time_end_point / FRAME_MS),
        longest=math.floor(options.max_single_segment_time / FRAME_MS),
        end_silence_ms=end_silence_ms - options.speech_to_sil_time_thres,
        schedule=_schedule(settings),
        schedule_offset_ms=options.speech_to_sil_time_thres,
        chunk_ms=_chunk_ms(settings),
    )


def _supports_frontend(frontend: Any) -> bool:
    return (
        FeatureExtractor.supports(frontend)
        and type(frontend).__name__ == "WavFrontendOnline"
        and frontend.frame_shift == FRAME_MS
        and frontend.frame_length == _FRAME_LENGTH_MS
        and frontend.lfr_n == 1
        # A frame that waits for its neighbours: else FunASR can miss the end of a recording.
        and frontend.lfr_m >= 3
        and frontend.lfr_m % 2 == 1
    )


def _supports_options(options: Any) -> bool:
    """Whether the rules of `vad_decision` are those of a model's options.

    Loudness must not matter, each frame of a segment must be given out once (which FunASR does
    only when it extends segments), and it takes two frames to begin one.
    """
    return (
        options.detect_mode == 1
        and bool(options.do_extend)
        and options.sample_rate == SAMPLE_RATE_HZ
        and options.frame_in_ms == FRAME_MS
        and options.frame_length_ms == _FRAME_LENGTH_MS
        and options.decibel_thres < _QUIETEST_DB
        and options.snr_thres < _WIDEST_DB
        and options.fe_prior_thres < 1
        and options.silence_pdf_num == len(options.sil_pdf_ids) > 0
        and options.window_size_ms >= FRAME_MS
        and options.sil_to_speech_time_thres >= 2 * FRAME_MS
        and min(options.lookback_time_start_point, options.lookahead_time_end_point) >= 0
        and options.max_single_segment_time >= 0
    )


def _supports_settings(settings: Mapping[str, Any]) -> bool:
    return (
        _chunk_ms(settings) >= _SHORTEST_CHUNK_MS
        and _chunk_ms(settings) == settings.get("chunk_size", _CHUNK_MS)
        and not settings.get("is_streaming_input", False)
        and settings.get("is_final", True)
        and "cache" not in settings
        and settings.get("fs", SAMPLE_RATE_HZ) == SAMPLE_RATE_HZ
        and settings.get("data_type", "sound") == "sound"
        and all(limit_ms >= 0 for limit_ms, _ in _schedule(settings))
    )

"""FSMN-VAD for many recordings at once, and for one recording that comes in pieces.

Owns features, scores and the chunks of a minute in which FunASR changes its thresholds; the
segments are FunASR's own. Must not know Ray or Parquet.

Source: `FsmnVADStreaming.inference` and `WavFrontendOnline` of FunASR 1.4.16, which take one
recording a call, a minute at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ray_asr.engine.features import FeatureExtractor
from ray_asr.engine.vad_decision import FRAME_MS, Decision, Options
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

_SHIFT = SAMPLE_RATE_HZ * FRAME_MS // 1000
_WINDOW = SAMPLE_RATE_HZ * 25 // 1000
_CHUNK_MS = 60_000
# Longer recordings go through in pieces. What is computed at once fits a core's cache: ten times as
# much at once is half as fast.
_WHOLE_S = 40.0
_PADDED_S = 40.0
_BLOCK_FRAMES = 2000
# Of the thresholds that FunASR compares levels with, these are under any level.
_NO_LEVEL_DB = -100.0
_DYNAMIC_THRESHOLD = 0.5


class FsmnVad:
    """The speech of recordings, as `auto` finds it.

    Args:
        auto: a FunASR `AutoModel` that `supports` allows.
    """

    def __init__(self, auto: Any) -> None:
        model, kwargs = auto.model, auto.kwargs
        options = model.vad_opts
        self.device = next(model.parameters()).device
        self.encoder = model.encoder
        self.features = FeatureExtractor(kwargs["frontend"], str(self.device))
        self.context = kwargs["frontend"].lfr_m // 2  # frames that a score looks ahead
        self.silence_ids = list(options.sil_pdf_ids)
        self.ratio = float(options.speech_2_noise_ratio)
        self.dynamic = bool(
            kwargs.get("dynamic_silence", kwargs.get("max_end_silence_time") is None)
        )
        self.threshold = (
            _DYNAMIC_THRESHOLD
            if self.dynamic
            else float(kwargs.get("speech_noise_thres", options.speech_noise_thres))
        )
        self.to_silence_ms = options.speech_to_sil_time_thres
        end_ms = kwargs.get("max_end_silence_time")
        self.end_silence_ms = options.max_end_silence_time if end_ms is None else end_ms
        self.schedule = kwargs.get("silence_schedule", _default_schedule())
        self.options = Options(
            window=int(options.window_size_ms / FRAME_MS),
            to_speech=int(options.sil_to_speech_time_thres / FRAME_MS),
            to_silence=int(options.speech_to_sil_time_thres / FRAME_MS),
            lookback=int(options.lookback_time_start_point / FRAME_MS),
            lookahead=int(options.lookahead_time_end_point / FRAME_MS),
            extends=bool(options.do_extend),
            longest=options.max_single_segment_time / FRAME_MS,
        )

    @staticmethod
    def supports(auto: Any) -> bool:
        """Whether this class finds what `auto` finds; if not, FunASR's own has to be asked."""
        model, frontend = auto.model, auto.kwargs.get("frontend")
        if type(model).__name__ != "FsmnVADStreaming" or not FeatureExtractor.supports(frontend):
            return False
        options = model.vad_opts
        return (
            type(frontend).__name__ == "WavFrontendOnline"
            and (frontend.lfr_n, frontend.lfr_m % 2, frontend.frame_shift) == (1, 1, FRAME_MS)
            and (options.detect_mode, options.frame_in_ms) == (1, FRAME_MS)
            and options.snr_thres <= _NO_LEVEL_DB
            and options.decibel_thres <= _NO_LEVEL_DB
            and not options.output_frame_probs
            and options.fe_prior_thres < 1.0
            and auto.kwargs.get("chunk_size", _CHUNK_MS) == _CHUNK_MS
            and not auto.kwargs.get("is_streaming_input", False)
            and all(getattr(block, "conv_right", None) is None for block in model.modules())
        )

    def detect(self, waveforms: Sequence[Waveform]) -> list[list[tuple[int, int]]]:
        """(start_ms, end_ms) of the speech in each recording, in order.

        Args:
            waveforms: `(T,)` each, of any lengths.
        """
        found: list[list[tuple[int, int]]] = [[] for _ in waveforms]
        whole = []
        for index, waveform in enumerate(waveforms):
            if len(waveform) > _WHOLE_S * SAMPLE_RATE_HZ:
                found[index] = self._in_chunks(waveform)
            elif len(waveform) >= _WINDOW:
                whole.append(index)
        whole.sort(key=lambda i: len(waveforms[i]))
        for group in self._groups(whole, waveforms):
            features, frames = self.features([waveforms[i] for i in group])
            speech = self.speech(self.encoder(features, cache=None))
            for index, of_one, count in zip(group, speech, frames.tolist(), strict=True):
                listener = Listener(self)
                for chunk, is_final in _chunks(of_one[:count], len(waveforms[index]), self.context):
                    found[index] += listener.hear(chunk, is_final)
        return found

    @staticmethod
    def _groups(order: Sequence[int], waveforms: Sequence[Waveform]) -> Iterator[list[int]]:
        """Recordings of like length whose padded seconds are bounded."""
        group: list[int] = []
        for index in order:  # each is longer than the one before
            padded_s = (len(group) + 1) * len(waveforms[index]) / SAMPLE_RATE_HZ
            if group and padded_s > _PADDED_S:
                yield group
                group = []
            group.append(index)
        if group:
            yield group

    def _in_chunks(self, waveform: Waveform) -> list[tuple[int, int]]:
        stream = self.stream()
        step = _CHUNK_MS * SAMPLE_RATE_HZ // 1000
        return [
            segment
            for start in range(0, len(waveform), step)
            for segment in stream.accept(
                waveform[start : start + step], start + step >= len(waveform)
            )
        ]

    def speech(self, scores: torch.Tensor) -> NDArray[np.bool_]:
        """Whether frames are speech, `(N, T)`, of posteriors `(N, T, pdfs)`."""
        silence = sum(scores[..., i] for i in self.silence_ids)
        quiet = torch.as_tensor(silence).double().cpu().numpy()
        with np.errstate(divide="ignore"):  # certain silence is silence
            noise = np.exp(np.log(quiet) * self.ratio)
        return 1.0 - quiet >= noise + self.threshold

    def stream(self) -> VadStream:
        """One long recording, in pieces."""
        return VadStream(self)


class VadStream:
    """The speech of a recording whose samples come in pieces of any length.

    Args:
        vad: what listens.
    """

    def __init__(self, vad: FsmnVad) -> None:
        self._vad = vad
        self._listener = Listener(vad)
        self._cache: dict[str, Any] = {}
        self._kept: Waveform = np.zeros(0, np.float32)
        self._kept_from = 0  # the frame that `_kept` begins with
        self._scored = 0  # frames that have been scored
        self._chunk_ends = _CHUNK_MS * SAMPLE_RATE_HZ // 1000

    def accept(self, samples: Waveform, is_final: bool) -> list[tuple[int, int]]:
        """Segments (start_ms, end_ms) that these samples complete, on the recording's clock.

        Args:
            samples: the next of the recording, `(T,)`.
            is_final: whether they are its last.
        """
        self._kept = np.concatenate([self._kept, samples])
        found: list[tuple[int, int]] = []
        while True:
            come = self._kept_from * _SHIFT + len(self._kept)
            if come < self._chunk_ends or (come == self._chunk_ends and not is_final):
                break
            found += self._hear(self._chunk_ends, is_final=False)
            self._chunk_ends += _CHUNK_MS * SAMPLE_RATE_HZ // 1000
        if is_final:
            found += self._hear(self._kept_from * _SHIFT + len(self._kept), is_final=True)
        return found

    def _hear(self, samples: int, is_final: bool) -> list[tuple[int, int]]:
        """Score and decide the frames of the recording's first `samples` samples."""
        vad = self._vad
        until = _frames(samples) if is_final else max(0, _frames(samples) - vad.context)
        if until <= self._scored:
            return self._listener.hear(np.zeros(0, bool), is_final)
        waveform = self._kept[: samples - self._kept_from * _SHIFT]
        features, _ = vad.features([waveform])
        # Features at the edges of what is kept lack their neighbours, and are not used.
        mine = features[:, self._scored - self._kept_from : until - self._kept_from]
        speech = np.concatenate(
            [
                vad.speech(vad.encoder(block, cache=self._cache))[0]
                for block in mine.split(_BLOCK_FRAMES, 1)
            ]
        )
        self._scored = until
        first = max(0, until - vad.context)
        self._kept = self._kept[(first - self._kept_from) * _SHIFT :]
        self._kept_from = first
        return self._listener.hear(speech, is_final)


class Listener:
    """The decision for one recording, and its thresholds from chunk to chunk.

    FunASR shortens the silence that ends a segment the longer there has been speech, once a chunk.

    Args:
        vad: whose thresholds.
    """

    def __init__(self, vad: FsmnVad) -> None:
        self._vad = vad
        self._decision = Decision(vad.options)
        self._spoken_ms = 0
        self._was_in_speech = False

    def hear(self, speech: NDArray[np.bool_], is_final: bool) -> list[tuple[int, int]]:
        """The segments that the frames of the next chunk complete."""
        vad = self._vad
        most_silence_ms = max(vad.end_silence_ms - vad.to_silence_ms, -(10**9))
        if vad.dynamic:
            if self._decision.in_speech or self._was_in_speech:
                self._spoken_ms += _CHUNK_MS
                self._was_in_speech = True
            allowed = (silence for limit, silence in vad.schedule if self._spoken_ms <= limit)
            most_silence_ms = max(next(allowed, 0) - vad.to_silence_ms, 0)
        found = self._decision.advance(speech, most_silence_ms, is_final)
        if found:
            self._spoken_ms, self._was_in_speech = 0, False
        return found


def _chunks(
    speech: NDArray[np.bool_], samples: int, context: int
) -> Iterator[tuple[NDArray[np.bool_], bool]]:
    """The frames of a whole recording, in the chunks in which FunASR would have them."""
    step = _CHUNK_MS * SAMPLE_RATE_HZ // 1000
    begin = 0
    for end in range(step, samples + 1, step):
        frames = max(0, _frames(end) - context)
        yield speech[begin:frames], False
        begin = frames
    yield speech[begin:], True


def _frames(samples: int) -> int:
    return max(0, (samples - _WINDOW) // _SHIFT + 1)


def _default_schedule() -> Sequence[tuple[float, int]]:
    from funasr.models.fsmn_vad_streaming.model import DEFAULT_SILENCE_SCHEDULE

    return DEFAULT_SILENCE_SCHEDULE

"""A recording of hours, decoded and searched for speech in pieces.

Owns the pieces: what of the past is kept until the speech in it has been found. Must not know
FunASR or Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ray_asr.corpus.audio import MAX_DURATION_S, decode_pieces
from ray_asr.engine.protocol import Engine
from ray_asr.errors import RayAsrError
from ray_asr.job.utterance import Utterance, cut
from ray_asr.schema import SAMPLE_RATE_HZ, Span, Waveform

_PIECE_S = 300.0
# Speech is known of a little after it has ended.
_LATE_S = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may be, in seconds.

    Attributes:
        segment_s: the longest stretch of speech that voice activity detection passes on.
        recording_s: a longer recording is a failed row.
    """

    segment_s: float = 60.0
    recording_s: float = MAX_DURATION_S


class LongRecording:
    """The speech of one long row, as it is found; sets the row's spans and duration.

    Args:
        row: a row with `encoded` bytes.
        engine: detects the speech.
        chunk_s: how much speech is given out at once, in seconds.
        limits: of the recording and of its segments.
        progress: told of each piece before it is worked on, how many seconds it has.
    """

    def __init__(
        self,
        row: Utterance,
        engine: Engine,
        chunk_s: float,
        limits: Limits,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._row = row
        self._progress = progress
        self._limits = limits
        self._engine = engine
        self._chunk_s = chunk_s

    def segments(self) -> Iterator[list[Waveform]]:
        """The waveforms of the row's spans, in order, about `chunk_s` seconds at a time.

        Raises:
            RowError: the recording is damaged further on.
        """
        row, waiting, waiting_s = self._row, [], 0.0
        row.spans = []
        for span, waveform in self._found():
            row.spans.append(span)
            waiting.append(waveform)
            waiting_s += len(waveform) / SAMPLE_RATE_HZ
            if waiting_s >= self._chunk_s:
                yield waiting
                waiting, waiting_s = [], 0.0
        if waiting:
            yield waiting

    def _pieces(self) -> Iterator[tuple[Waveform, bool]]:
        """Pieces of the recording, and whether each is the last."""
        assert self._row.encoded is not None
        pieces = decode_pieces(
            memoryview(self._row.encoded),
            _PIECE_S,
            path_hint=self._row.name,
            max_duration_s=self._limits.recording_s,
        )
        held = next(pieces)
        for piece in pieces:
            self._progress(len(held) / SAMPLE_RATE_HZ)
            yield held, False
            held = piece
        self._progress(len(held) / SAMPLE_RATE_HZ)
        yield held, True

    def _found(self) -> Iterator[tuple[Span, Waveform]]:
        stream = self._engine.speech_stream()
        if stream is None:
            yield from self._found_in_the_whole()
            return
        kept: Waveform = np.empty(0, np.float32)
        before = 0  # samples of the recording in front of `kept`
        for piece, is_final in self._pieces():
            spans = stream.accept(piece, is_final)
            kept = np.concatenate([kept, piece])
            end = before + len(kept)
            self._row.duration_ms = end * 1000 // SAMPLE_RATE_HZ
            for span in spans:
                begin_ms = -(-before * 1000 // SAMPLE_RATE_HZ)
                if span.start_ms < begin_ms:
                    raise RayAsrError(
                        f"speech from {span.start_ms} ms on was found when samples before "
                        f"{begin_ms} ms were gone: this is a fault in ray_asr."
                    )
                local = Span(
                    span.start_ms - before * 1000 // SAMPLE_RATE_HZ,
                    span.end_ms - before * 1000 // SAMPLE_RATE_HZ,
                )
                yield span, cut(kept, local).copy()
            # A whole number of seconds goes, so that milliseconds stay whole.
            kept_s = self._limits.segment_s + _LATE_S
            gone_s = max(0, int(len(kept) / SAMPLE_RATE_HZ - kept_s))
            kept = kept[gone_s * SAMPLE_RATE_HZ :].copy()
            before += gone_s * SAMPLE_RATE_HZ

    def _found_in_the_whole(self) -> Iterator[tuple[Span, Waveform]]:
        """For a detector that takes recordings whole only, or where there is none."""
        whole = np.concatenate([piece for piece, _ in self._pieces()])
        self._row.duration_ms = len(whole) * 1000 // SAMPLE_RATE_HZ
        (spans,) = self._engine.detect_speech([whole])
        for span in spans:
            yield span, cut(whole, span)

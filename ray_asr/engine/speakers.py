"""Who speaks when in a whole recording: FunASR's steps from speech to the turns of its speakers.

Owns the windows in which a voice is heard, and the way from their labels to turns. Must not know
Ray, Parquet, or the model that makes an embedding of a window.

Source: `sv_chunk` and `postprocess` of FunASR 1.4.16 (`models/campplus/utils`), which count in
seconds and embed one window a call; here it is whole milliseconds, and windows of many stretches of
speech go through the model together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ray_asr.engine.clustering import cluster
from ray_asr.schema import SAMPLE_RATE_HZ, Span, Turn, Voices, Waveform

WINDOW_MS, SHIFT_MS = 1500, 750
# Activations of one window take some megabytes.
WINDOWS_AT_ONCE = {"cpu": 16, "cuda": 256}
_SHORTEST_MS = 700  # what is shorter is no turn of its own
_PER_MS = SAMPLE_RATE_HZ // 1000
_WINDOW = WINDOW_MS * _PER_MS


class WindowedSpeakers:
    """Tells the speakers of a recording apart (see `protocol.Speakers`).

    Args:
        embed: gives the embeddings `(N, D)` of N windows, each of 1.5 s.
        preset: how many speakers each recording has; 0: as many as are heard.
        at_once: windows in one call of `embed`.
    """

    def __init__(
        self, embed: Callable[[Sequence[Waveform]], Voices], preset: int, at_once: int
    ) -> None:
        self._embed = embed
        self._preset = preset
        self._at_once = at_once

    def voices(self, waveforms: Sequence[Waveform]) -> list[Voices]:
        cuts = [_cut(waveform) for waveform in waveforms]
        windows = [window for of_waveform in cuts for window in of_waveform]
        if not windows:
            return [np.empty((0, 0), np.float32) for _ in waveforms]
        batches = range(0, len(windows), self._at_once)
        embeddings = np.concatenate(
            [self._embed(windows[start : start + self._at_once]) for start in batches]
        )
        if len(embeddings) != len(windows):
            raise ValueError(f"the speaker model heard {len(embeddings)} of {len(windows)} windows")
        return np.split(embeddings, list(accumulate(len(cut) for cut in cuts))[:-1])

    def turns(self, spans: Sequence[Span], voices: Sequence[Voices]) -> list[Turn]:
        heard = [of_span for of_span in voices if len(of_span)]
        if not heard:
            return []
        labels = cluster(np.concatenate(heard), self._preset).tolist()
        windows = [
            (span.start_ms + start_ms, span.start_ms + end_ms)
            for span, of_span in zip(spans, voices, strict=True)
            for start_ms, end_ms in list(_windows(span.end_ms - span.start_ms))[: len(of_span)]
        ]
        pieces = [
            _Piece(start_ms, end_ms, label)
            for (start_ms, end_ms), label in zip(windows, labels, strict=True)
        ]
        return _told(pieces)


def _windows(duration_ms: int) -> Iterator[tuple[int, int]]:
    """Start and end of each window in a stretch of speech; the last ends with it."""
    last_end = 0
    for begin in range(0, duration_ms, SHIFT_MS):
        end = min(begin + WINDOW_MS, duration_ms)
        if end <= last_end:
            return
        last_end = end
        yield max(0, end - WINDOW_MS), end


def _cut(waveform: Waveform) -> list[Waveform]:
    """The windows of a stretch of speech."""
    return [
        _filled(waveform[start_ms * _PER_MS : end_ms * _PER_MS])
        for start_ms, end_ms in _windows(len(waveform) // _PER_MS)
    ]


def _filled(window: Waveform) -> Waveform:
    """A window of full length, with silence behind speech that is shorter."""
    return np.pad(window, (0, _WINDOW - len(window))) if len(window) < _WINDOW else window


@dataclass(slots=True)
class _Piece:
    start_ms: int
    end_ms: int
    label: int


def _told(pieces: Sequence[_Piece]) -> list[Turn]:
    """The turns of windows in the order of time, no two of them at once."""
    turns = _merged(pieces)
    for before, after in pairwise(turns):
        if before.end_ms > after.start_ms:  # windows overlap by half: each gets half of that
            before.end_ms = after.start_ms = (before.end_ms + after.start_ms) // 2
    turns = _smoothed(turns)
    names: dict[int, str] = {}
    return [
        Turn(turn.start_ms, turn.end_ms, names.setdefault(turn.label, str(len(names))))
        for turn in turns
    ]


def _merged(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Pieces of one speaker that touch made one."""
    merged: list[_Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if last and last.label == piece.label and piece.start_ms <= last.end_ms:
            last.end_ms = piece.end_ms
        else:
            merged.append(_Piece(piece.start_ms, piece.end_ms, piece.label))
    return merged


def _smoothed(turns: list[_Piece]) -> list[_Piece]:
    """Turns too short for one go to the speaker of the nearest other."""
    if len(turns) < 2:
        return turns
    for index, turn in enumerate(turns):
        if turn.end_ms - turn.start_ms >= _SHORTEST_MS:
            continue
        before = turns[index - 1] if index else None
        after = turns[index + 1] if index + 1 < len(turns) else None
        if before is None or after is None:
            turn.label = (before or after or turn).label
        elif turn.start_ms - before.end_ms <= after.start_ms - turn.end_ms:
            turn.label = before.label
        else:
            turn.label = after.label
    return _merged(turns)

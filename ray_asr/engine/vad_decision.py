"""FSMN-VAD's decision: from speech and silence of each frame to segments.

Owns the state machine, from change to change of state instead of frame to frame. Must not know
models, audio, Ray or Parquet.

Source: `FsmnVADStreaming` of FunASR 1.4.16 (`DetectOneFrame` and what it calls), whose segments
these are. There, Python runs for every frame of 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 10


@dataclass(frozen=True, slots=True)
class Options:
    """What of `VADXOptions` the decision reads, times in frames of 10 ms.

    Attributes:
        window: frames over which speech is counted.
        to_speech: as many of them begin speech.
        to_silence: as few of them end it.
        lookback: frames that a segment begins before the window that found it.
        lookahead: frames of silence that a segment keeps at its end.
        extends: whether segments are drawn out by the two.
        longest: frames after which a segment is cut.
    """

    window: int = 20
    to_speech: int = 15
    to_silence: int = 15
    lookback: int = 20
    lookahead: int = 10
    extends: bool = True
    longest: float = 6000.0

    @property
    def latency(self) -> int:
        """Frames between a segment's start and the frame at which it is found."""
        return self.window + (self.lookback if self.extends else 0)


class Decision:
    """The segments of one recording whose frames come in order, some at a time.

    Args:
        options: of the model.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._next = 0  # the first frame that has not been decided
        self._speech: NDArray[np.bool_] = np.zeros(0, bool)  # from frame `_first` on
        self._first = 0
        self._reset_at = 0  # frames from here on are counted in the window
        self._sounds_like_speech = False
        self._silent = 0  # frames since the window turned silent
        self._start = -1  # of the open segment; -1 between segments
        self._end = 0  # frame behind the open segment so far
        self._confirmed = 0  # last frame known to be speech
        self._taken = 0  # frames that no later segment may begin in

    @property
    def in_speech(self) -> bool:
        """Whether a segment is open."""
        return self._start >= 0

    def advance(
        self, speech: NDArray[np.bool_], most_silence_ms: float, is_final: bool
    ) -> list[tuple[int, int]]:
        """Decide on further frames.

        Args:
            speech: whether each of them is speech, `(F,)`.
            most_silence_ms: silence that ends a segment, from where the window turned silent.
            is_final: whether the last of them is the recording's last.

        Returns:
            The segments that they end, and the open one at the recording's end: (start_ms, end_ms).
        """
        if not len(speech):
            return []
        kept = max(self._first, self._next - self._options.window)
        self._speech = np.concatenate([self._speech[kept - self._first :], speech])
        self._first = kept
        counted = np.concatenate([[0], np.cumsum(self._speech)])
        stop = self._first + len(self._speech)
        last = stop - 1 if is_final else -1
        changes = _Changes(counted, self._first, self._options)
        done: list[tuple[int, int]] = []
        while self._next < stop:
            at = min(changes.after(self._next, self._reset_at, self._sounds_like_speech), stop)
            if self._next < at and self._through_like(at, last, most_silence_ms, done):
                continue
            if at < stop:
                self._change(at, last, done)
        if is_final and self._start >= 0:
            done.append(self._segment())
            self._start = -1
        return done

    def _segment(self) -> tuple[int, int]:
        return self._start * FRAME_MS, self._end * FRAME_MS

    def _through_like(
        self, stop: int, last: int, most_silence_ms: float, done: list[tuple[int, int]]
    ) -> bool:
        """Frames up to `stop` that leave the window as it is; whether a segment ended in them."""
        first, options = self._next, self._options
        self._next = stop
        if self._start < 0:  # silence, waiting for speech
            self._silent += stop - first
            if stop - 1 >= options.latency:
                self._taken = max(self._taken, stop - 1 - options.latency)
            return False
        until = min(stop, max(first, self._first_too_long()), stop if last < 0 else last)
        if self._sounds_like_speech:
            self._confirm(first, until)
            if until < stop:
                self._finish(until, until, done)
            return until < stop
        # The silence that is counted grows by a frame with each frame.
        enough = max(first, first - self._silent - 1 - int(-most_silence_ms // FRAME_MS))
        until = min(until, enough)
        if options.extends:
            self._confirm(first, min(until, first - self._silent + options.lookahead))
        self._silent += until - first
        if until == stop:
            return False
        back = 0
        if until == enough:
            back = int(most_silence_ms / FRAME_MS)
            if options.extends:
                back = max(0, back - options.lookahead - 1)
        self._finish(until - back, until, done)
        return True

    def _first_too_long(self) -> int:
        """The first frame at which the open segment has too many."""
        return self._start + int(self._options.longest // 1)

    def _confirm(self, first: int, stop: int) -> None:
        """Frames `[first, stop)` belong to the open segment."""
        if first >= stop:
            return
        self._confirmed = stop - 1
        self._taken = max(self._taken, first) + stop - first
        self._end = stop

    def _finish(self, end: int, at: int, done: list[tuple[int, int]]) -> None:
        """End the open segment with frame `end`, as is known at frame `at`; listen anew."""
        self._confirm(self._confirmed + 1, end)
        self._taken = max(self._taken, end) + 1
        self._end = end + 1
        done.append(self._segment())
        self._start, self._confirmed, self._silent = -1, 0, 0
        self._sounds_like_speech = False
        self._next = self._reset_at = at + 1

    def _change(self, at: int, last: int, done: list[tuple[int, int]]) -> None:
        """The frame at which the window turns to speech or to silence."""
        self._sounds_like_speech = not self._sounds_like_speech
        self._silent = 0
        self._next = at + 1
        if self._start < 0:
            self._start = max(self._taken, at - self._options.latency)
            self._taken = max(self._taken, self._start) + 1
            self._end = self._start + 1
            self._confirm(self._start + 1, at + 1)
            return
        if self._sounds_like_speech:
            self._confirm(self._confirmed + 1, at)
        if at >= self._first_too_long() or at == last:
            self._finish(at, at, done)
        else:
            self._confirm(at, at + 1)


class _Changes:
    """At which frames the window's count of speech crosses its bounds."""

    def __init__(self, counted: NDArray[np.int64], first: int, options: Options) -> None:
        self._counted = counted
        self._first = first
        self._options = options
        frames = np.arange(len(counted) - 1)
        sums = counted[1:] - counted[np.maximum(frames + 1 - options.window, 0)]
        self._rising = first + np.flatnonzero(sums >= options.to_speech)
        self._falling = first + np.flatnonzero(sums <= options.to_silence)

    def after(self, frame: int, reset_at: int, sounds_like_speech: bool) -> int:
        """The first frame from `frame` on at which the window changes; a large number if none."""
        options = self._options
        stop = self._first + len(self._counted) - 1
        # For a while after a reset, frames in front of it do not count.
        while frame < min(stop, reset_at + options.window):
            begin = max(reset_at, frame + 1 - options.window)
            speech = self._counted[frame + 1 - self._first] - self._counted[begin - self._first]
            if speech <= options.to_silence if sounds_like_speech else speech >= options.to_speech:
                return frame
            frame += 1
        places = self._falling if sounds_like_speech else self._rising
        index = int(np.searchsorted(places, frame))
        return int(places[index]) if index < len(places) else stop

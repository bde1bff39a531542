"""From frames of speech and silence to segments: FunASR's FSMN-VAD rules, by jumps.

Owns the decision: which frames are speech, where segments start and end. Must not know models,
features, FunASR's classes, Ray or Parquet.

Source of the rules: `FsmnVADStreaming` of FunASR 1.4.16, which walks frame by frame. Here Python
runs once for each change, since between two changes of the smoothed state nothing can happen but
three things whose frame is known beforehand: the silence gets too long, the segment gets too
long, the recording ends.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAME_MS = 10
# So near to a tie the last bit decides, and it has to be that of the same operations.
_NEAR_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """What decides where a segment starts and ends.

    Attributes:
        window: frames that the smoothed state looks back on, this one included.
        speech_at: speech begins where at least this many frames of the window are speech.
        silence_at: it ends where at most this many are.
        lookback: frames from the start of a segment to the frame where speech begins.
        lookahead: frames of silence that a segment keeps at its end.
        longest: a segment is cut when it has more frames than this.
        end_silence_ms: silence after which a segment ends, counted from the end of speech.
        schedule: (speech so far, end silence) pairs in ms, by which the end silence goes down
            from chunk to chunk while speech goes on; without them it stays as it is.
        schedule_offset_ms: taken off each end silence of the schedule.
        chunk_ms: by how much "speech so far" grows with each chunk.
    """

    window: int
    speech_at: int
    silence_at: int
    lookback: int
    lookahead: int
    longest: int
    end_silence_ms: float
    schedule: tuple[tuple[float, float], ...] = ()
    schedule_offset_ms: float = 0.0
    chunk_ms: float = 0.0


def speech_frames(
    silence: npt.NDArray[np.float32], threshold: float, noise_power: float = 1.0
) -> npt.NDArray[np.bool_]:
    """Which frames are speech: 1 - p >= p ** noise_power + threshold.

    FunASR takes the way over logarithms, which raises where p is exactly 0 or 1.

    Args:
        silence: `(T, S)` probabilities p of the classes that are silence; they add up.
        threshold: by how much speech must be likelier.
        noise_power: the exponent, which FunASR calls `speech_2_noise_ratio`.

    Returns:
        `(T,)`; a probability that is not a number is silence.
    """
    total = np.zeros(len(silence))
    for column in silence.T:
        total += column
    noise = total if noise_power == 1.0 else total**noise_power
    lead = 1.0 - total - noise - threshold
    speech = lead > 0.0
    for i in np.flatnonzero(np.abs(lead) < _NEAR_TIE):
        p = float(total[i])
        if 0.0 < p < 1.0:
            louder = math.exp(math.log(p) * noise_power) + threshold
            speech[i] = math.exp(math.log(1.0 - p)) >= louder
    return speech


class Decision:
    """One recording's segments, from its frames in pieces.

    A frame's smoothed state looks back on `window` frames, but not past the end of the segment
    before: there the window starts anew, as if only silence had been.
    """

    def __init__(self, rules: DecisionRules) -> None:
        self._rules = rules
        self._frame = 0  # the next one to be decided
        self._recent = np.zeros(rules.window, np.bool_)  # the frames before it
        self._anew = 0  # the first frame that the window may see
        self._speaking = False  # the smoothed state
        self._start = -1  # of the segment that goes on, or -1
        self._free = 0  # the first frame that is in no segment
        self._quiet = 0  # while a segment goes on: where its last speech ended
        self._ended_in_chunk = False
        self._lasting_ms = 0.0  # chunks that the segment which goes on has come through
        self._end_silence_ms = rules.end_silence_ms
        self._follow_schedule()

    def accept(
        self, speech: npt.NDArray[np.bool_], borders: Sequence[int], is_final: bool
    ) -> list[tuple[int, int]]:
        """The segments that these frames complete.

        Args:
            speech: `(T,)`, the frames after those of the last call.
            borders: frames of the recording before which a chunk starts, ascending, inside or
                at the end of these.
            is_final: no frames follow; what goes on then ends.

        Returns:
            (start, end) in ms from the start of the recording.
        """
        windows = _Windows(self._recent, speech, self._frame, self._rules)
        end = self._frame + len(speech)
        found: list[tuple[int, int]] = []
        for border in borders:
            found += self._advance(windows, border, final=-1)
            self._start_chunk()
        found += self._advance(windows, end, final=end - 1 if is_final else -1)
        self._recent = windows.last()
        return [(start * FRAME_MS, (last + 1) * FRAME_MS) for start, last in found]

    def _start_chunk(self) -> None:
        if self._ended_in_chunk:
            self._lasting_ms = 0.0
        self._ended_in_chunk = False
        if self._start >= 0:
            self._lasting_ms += self._rules.chunk_ms
        self._follow_schedule()

    def _follow_schedule(self) -> None:
        for limit_ms, silence_ms in self._rules.schedule:
            if self._lasting_ms <= limit_ms:
                self._end_silence_ms = max(silence_ms - self._rules.schedule_offset_ms, 0)
                return

    def _advance(self, windows: _Windows, end: int, final: int) -> list[tuple[int, int]]:
        """Decide the frames up to `end`; `final` is the recording's last frame, or -1."""
        found: list[tuple[int, int]] = []
        while self._frame < end:
            if self._start < 0:
                segment = self._wait(windows, end, final)
            else:
                segment = self._go_on(windows, end, final)
            if segment is not None:
                found.append(segment)
        return found

    def _wait(self, windows: _Windows, end: int, final: int) -> tuple[int, int] | None:
        """Go to the start of the next segment."""
        begins = windows.next_speech(self._frame, self._anew)
        if begins >= end:
            self._frame = end
            return None
        self._start = max(self._free, begins - self._rules.lookback)
        self._speaking = True
        self._frame = begins + 1
        return (self._start, begins) if begins == final else None

    def _go_on(self, windows: _Windows, end: int, final: int) -> tuple[int, int] | None:
        """Go to the next change of the smoothed state, or to the end of the segment."""
        frame = self._frame
        cut = max(frame, self._start + self._rules.longest)
        if final >= 0:
            cut = min(cut, final)
        last = cut
        if self._speaking:
            change = windows.next_silence(frame, self._anew)
        else:
            change = windows.next_speech(frame, self._anew)
            # A segment that gets too quiet and too long at once is too quiet.
            patience = self._end_silence_ms
            over = max(frame, self._quiet + max(1, math.ceil(patience / FRAME_MS)))
            if over <= cut and over < change:
                kept = int(patience / FRAME_MS) - self._rules.lookahead - 1
                cut, last = over, over - max(0, kept)
        if min(cut, change) >= end:
            self._frame = end
            return None
        if cut <= change:
            return self._end(last, cut)
        self._speaking = not self._speaking
        self._quiet = change
        self._frame = change + 1
        return None

    def _end(self, last: int, decided: int) -> tuple[int, int]:
        """End the segment with frame `last`, as is known at frame `decided`."""
        segment = (self._start, last)
        self._start, self._speaking = -1, False
        self._free = last + 1
        self._frame = self._anew = decided + 1
        self._ended_in_chunk = True
        return segment


class _Windows:
    """Where the smoothed state can change, in one piece of frames counted from `first`."""

    def __init__(
        self,
        before: npt.NDArray[np.bool_],
        speech: npt.NDArray[np.bool_],
        first: int,
        rules: DecisionRules,
    ) -> None:
        size = self._size = rules.window
        self._speech_at, self._silence_at = rules.speech_at, rules.silence_at
        self._known = np.concatenate([before, speech])
        self._offset = first - size  # the frame that `_known` starts with
        self._end = first + len(speech)
        self._sums = np.zeros(len(self._known) + 1, np.int64)
        np.cumsum(self._known, out=self._sums[1:])
        full = self._sums[1 + size :] - self._sums[1:-size]
        self._speech = (np.flatnonzero(full >= rules.speech_at) + first).tolist()
        self._silence = (np.flatnonzero(full <= rules.silence_at) + first).tolist()

    def last(self) -> npt.NDArray[np.bool_]:
        """The frames that the next piece looks back on."""
        return self._known[-self._size :].copy()

    def next_speech(self, frame: int, anew: int) -> int:
        """The first frame from `frame` on with speech enough; past the end if there is none.

        While the window grows from `anew` on, its sum only grows.
        """
        if frame < anew + self._size:
            wanted = self._before(anew) + self._speech_at
            reached = bisect_left(self._sums, wanted) - 1 + self._offset
            reached = max(reached, frame)
            if reached < anew + self._size:
                return min(reached, self._end)
        return self._listed(self._speech, max(frame, anew + self._size))

    def next_silence(self, frame: int, anew: int) -> int:
        """The first frame from `frame` on with little speech; past the end if there is none."""
        growing = frame < min(anew + self._size, self._end)
        if growing and self._before(frame + 1) - self._before(anew) <= self._silence_at:
            return frame
        return self._listed(self._silence, max(frame, anew + self._size))

    def _before(self, frame: int) -> int:
        """Frames of speech before `frame`, of those known."""
        return int(self._sums[frame - self._offset])

    def _listed(self, frames: list[int], frame: int) -> int:
        place = bisect_left(frames, frame)
        return frames[place] if place < len(frames) else self._end

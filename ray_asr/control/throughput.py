"""How fast a pool goes while its size stands still, and how sure that is.

Owns the measurement of a rate from cumulative counts. Must not know Ray, nor what is decided by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

_MOST_POINTS = 240
# Of a chunk: how much more or less of it than is seen an actor may have done at an end.
_CUT_OFF = 0.4
# Of what a chunk of a given length takes: how much chunks differ, whatever a few of them show.
_NOISE = 0.12


@dataclass(frozen=True, slots=True)
class Reading:
    """What a number of actors brought.

    Attributes:
        actors: that worked.
        rate: audio delivered, in seconds of audio a second.
        error: standard error of `rate`, in the same unit.
    """

    actors: int
    rate: float
    error: float

    @property
    def each(self) -> float:
        """What one of the actors brought, in seconds of audio a second."""
        return self.rate / self.actors


class Window:
    """A stretch of a run in which the number of actors did not change.

    Args:
        actors: that work in it.
    """

    def __init__(self, actors: int) -> None:
        self.actors = actors
        self._points: list[tuple[float, float, float | None]] = []

    def add(self, time_s: float, done_s: float, busy_s: float | None = None) -> None:
        """What is cumulative at a moment.

        Args:
            time_s: the moment, in seconds.
            done_s: audio delivered so far, in seconds of audio.
            busy_s: time that actors spent on it, summed over them; None where it is not counted.
        """
        if len(self._points) >= _MOST_POINTS:  # every other one says as much
            del self._points[1::2]
        self._points.append((time_s, done_s, busy_s))

    def reading(self, rounds: float) -> Reading | None:
        """What the actors bring; None before there is anything to tell it from.

        Args:
            rounds: chunks that each actor did in the window, in the mean.
        """
        if len(self._points) < 4:
            return None
        if all(busy_s is not None for _, _, busy_s in self._points):
            return self._by_work(rounds)
        return self._by_deliveries(rounds)

    def _by_work(self, rounds: float) -> Reading | None:
        """Audio against the time spent on it, for as many actors as there are.

        Source: the variance of a ratio of sums, sum (a - r b)^2 / (sum b)^2.
        """
        steps = [
            (later[1] - former[1], (later[2] or 0.0) - (former[2] or 0.0))
            for former, later in pairwise(self._points)
        ]
        done_s, busy_s = sum(a for a, _ in steps), sum(b for _, b in steps)
        if done_s <= 0 or busy_s <= 0:
            return None
        each = done_s / busy_s
        error = math.sqrt(sum((a - each * b) ** 2 for a, b in steps)) / busy_s
        least = _NOISE * each / math.sqrt(max(1.0, rounds * self.actors))
        return Reading(self.actors, self.actors * each, self.actors * max(error, least))

    def _by_deliveries(self, rounds: float) -> Reading | None:
        """The slope of what was delivered against time.

        Chunks come whole, so the counts go up in stairs beside the line. The error is that of a
        fitted slope whose residuals are as independent as they change sign: stairs of one actor
        count little, a mixture of many actors counts fully. It is never less than what the chunks
        cut off at both ends make.

        Source: the variance of an ordinary least-squares slope, 12 r^2 / (K T^2) for K independent
        residuals of variance r^2 spread evenly over T.
        """
        times, done = [p[0] for p in self._points], [p[1] for p in self._points]
        count, span_s = len(times), times[-1] - times[0]
        if span_s <= 0:
            return None
        mean_t, mean_d = sum(times) / count, sum(done) / count
        squares = sum((t - mean_t) ** 2 for t in times)
        slope = sum((t - mean_t) * (d - mean_d) for t, d in zip(times, done, strict=True)) / squares
        rest = [d - mean_d - slope * (t - mean_t) for t, d in zip(times, done, strict=True)]
        spread = math.sqrt(sum(r * r for r in rest) / count)
        turns = sum((a < 0) != (b < 0) for a, b in pairwise(rest))
        fitted = spread * math.sqrt(12 / (turns + 1)) / span_s
        cut_off = _CUT_OFF * slope / (math.sqrt(self.actors) * max(rounds, 0.1))
        return Reading(self.actors, slope, max(fitted, cut_off))

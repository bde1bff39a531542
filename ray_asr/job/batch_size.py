"""Batch size in motion: up while audio-seconds a second rise, down when memory gets short.

Owns the decision. Pure: it is told what each call took. Must not know engines, rows or clocks.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# A trial alternates between two sizes, a few calls each time, so that a machine that slows down
# slows both.
_TURN, _TURNS = 3, 4
_GROWTH = 1.4
# Noise of ten percent either way must not look like a gain: the medians have to differ, and nearly
# every call at one size has to be faster than nearly every call at the other.
_LEAST_GAIN, _LEAST_SUPERIOR = 1.05, 0.8
# A call whose batches were not full says nothing of the size that was allowed.
_FULL = 0.7
_MOST_NOT_FULL = 6
# Above the first share nothing larger is tried; above the second batches become smaller.
_NEARLY_FULL, _TOO_FULL = 0.8, 0.9
_SHRINKAGE = 1.5
# Calls after a step down before memory may ask for another: what was freed shows late.
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """Where the size of batches starts and how far it may go, in padded seconds.

    Attributes:
        start_s: of the first batches.
        least_s: one segment has to fit.
        most_s: what a chunk of rows holds and memory allows; as `start_s`, and it never grows.
    """

    start_s: float
    least_s: float
    most_s: float


class BatchSize:
    """The padded seconds of a batch from now on.

    Args:
        bounds: start and limits; a plain number is a size that only a lack of memory changes.
    """

    def __init__(self, bounds: BatchBounds | float) -> None:
        if not isinstance(bounds, BatchBounds):
            bounds = BatchBounds(bounds, bounds, bounds)
        self._least_s = min(bounds.least_s, bounds.start_s)
        self._most_s = max(bounds.most_s, bounds.start_s)
        self._base_s = bounds.start_s
        self._trial_s: float | None = None
        self._base_rates: list[float] = []
        self._trial_rates: list[float] = []
        self._not_full = 0
        self._calm = 0

    @property
    def current_s(self) -> float:
        """The bound on padded seconds for the next call."""
        if self._trial_s is None:
            return self._base_s
        done = len(self._base_rates) + len(self._trial_rates)
        # Base first: its turns are the even ones.
        return self._base_s if done // _TURN % 2 == 0 else self._trial_s

    @property
    def settled_s(self) -> float:
        """The size that has proved itself: `current_s` without the trial that may be under way."""
        return self._base_s

    def observe(
        self, padded_s: float, audio_s: float, seconds: float, memory_share: float | None = None
    ) -> None:
        """What one call with `current_s` took.

        Args:
            padded_s: of its largest batch, in seconds.
            audio_s: recognized in the call, without padding, in seconds.
            seconds: on the clock.
            memory_share: of the memory that it computes in, how much is taken; None: not known.
        """
        self._calm += 1
        if memory_share is not None and memory_share > _TOO_FULL:
            self._relieve()
            return
        if audio_s <= 0 or seconds <= 0:
            return
        if padded_s < _FULL * self.current_s:
            self._was_not_full()
            return
        if self._trial_s is None:
            if memory_share is None or memory_share <= _NEARLY_FULL:
                self._begin_trial()
            return
        of_base = self.current_s == self._base_s
        (self._base_rates if of_base else self._trial_rates).append(audio_s / seconds)
        if len(self._trial_rates) == _TURN * _TURNS:
            self._end_trial()

    def too_large(self, padded_s: float) -> bool:
        """A batch did not fit the memory: from now on at most half of it; whether that is less.

        This goes below the least size too: half of what does not fit is what may.

        Args:
            padded_s: of the batch, in seconds.
        """
        half_s = padded_s / 2
        if self._trial_s is not None and half_s >= self._base_s:
            self._most_s = min(self._most_s, half_s)
            self._drop_trial(self._base_s)
            return False
        self._most_s = min(self._most_s, max(half_s, self._base_s))
        if half_s >= self._base_s:
            return False
        self._least_s, self._most_s = min(self._least_s, half_s), half_s
        self._drop_trial(half_s)
        return True

    def _begin_trial(self) -> None:
        larger_s = min(self._base_s * _GROWTH, self._most_s)
        if larger_s > self._base_s * 1.01:
            self._trial_s = larger_s

    def _end_trial(self) -> None:
        larger_s = self._trial_s or self._base_s
        if _is_faster(self._trial_rates, self._base_rates):
            self._drop_trial(larger_s)
        else:
            # Remembered: what did not help is not tried again.
            self._most_s = self._base_s
            self._drop_trial(self._base_s)

    def _drop_trial(self, base_s: float) -> None:
        self._base_s, self._trial_s = base_s, None
        self._base_rates, self._trial_rates = [], []
        self._not_full = 0

    def _was_not_full(self) -> None:
        """Give a trial up whose size the rows do not fill."""
        self._not_full += 1
        if self._trial_s is not None and self._not_full > _MOST_NOT_FULL:
            self._drop_trial(self._base_s)

    def _relieve(self) -> None:
        if self._trial_s is not None:
            self._most_s = self._base_s
            self._drop_trial(self._base_s)
            self._calm = 0
        elif self._calm > _PATIENCE and self._base_s > self._least_s:
            self._most_s = max(self._least_s, self._base_s / _SHRINKAGE)
            self._drop_trial(self._most_s)
            self._calm = 0


def _is_faster(rates: Sequence[float], than: Sequence[float]) -> bool:
    """Whether the one is above the other by more than noise makes.

    Source: the second condition is the Mann-Whitney statistic as a share of all pairs.
    """
    if statistics.median(rates) < _LEAST_GAIN * statistics.median(than):
        return False
    superior = sum(a > b for a in rates for b in than) / (len(rates) * len(than))
    return superior >= _LEAST_SUPERIOR

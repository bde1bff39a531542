"""Which settings are worth measuring, and in which order: few, well chosen, the better half on.

Owns the choice and the halving. Pure: what fits and how fast a setting is, it is told. Must not
know Ray, models or clocks.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

FUSED, SPLIT = "fused", "split"
_WIDTHS = (1, 2, 4, 8)
_MOST_ROUNDS_OF_NEIGHBOURS = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A setting of a job: cores an actor, actors, padded seconds, precision, stages."""

    ncpu: int
    actors: int
    batch_size_s: float
    precision: str
    stages: str

    def __str__(self) -> str:
        return (
            f"{self.actors} actor(s) with {self.ncpu} core(s), {self.batch_size_s:g} s, "
            f"{self.precision}, {self.stages}"
        )


@dataclass(frozen=True, slots=True)
class Space:
    """What may be tried.

    Attributes:
        most_actors: actors that fit with so many cores each, fused or split; 0: none.
        batches_s: padded seconds that may be tried.
        precisions: that may be tried.
        stages: that may be tried.
    """

    most_actors: Callable[[int, str], int]
    batches_s: tuple[float, ...]
    precisions: tuple[str, ...]
    stages: tuple[str, ...]

    def holds(self, candidate: Candidate) -> bool:
        """Whether it fits."""
        most = self.most_actors(candidate.ncpu, candidate.stages)
        return 1 <= candidate.actors <= most


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition of a candidate.

    Attributes:
        x_real_time: seconds of audio a second.
        cpu_percent: None where not known, as the others.
        start_s: from the asking for the actors until all of them had loaded, in seconds.
        precision: what the recognizer really computed in.
    """

    x_real_time: float
    cpu_percent: float | None = None
    gpu_percent: float | None = None
    memory_gb: float | None = None
    load_s: float | None = None
    start_s: float | None = None
    precision: str = ""


class CandidateFailedError(Exception):
    """A setting that could not be measured; says why, in a line."""


@dataclass(slots=True)
class Trial:
    """A candidate and its runs, by the rung (sample) that they were measured on."""

    candidate: Candidate
    runs: dict[int, list[Run]] = field(default_factory=dict[int, list[Run]])
    error: str = ""

    @property
    def rung(self) -> int:
        """The longest sample that it reached; -1: none."""
        return max(self.runs, default=-1)

    @property
    def last(self) -> list[Run]:
        """Its runs on that sample."""
        return self.runs.get(self.rung, [])

    def speed(self, rung: int) -> float:
        """The median on a sample; 0 where it was not measured or failed."""
        runs = [] if self.error else self.runs.get(rung, [])
        return statistics.median(run.x_real_time for run in runs) if runs else 0.0


def overhead_s(trials: Iterable[Trial], sample_s: Sequence[float]) -> float:
    """What a run takes beside its audio, in seconds, by samples of different lengths.

    Each setting that ran on two of them gives a line through both; the median of where these begin.

    Args:
        trials: what was measured.
        sample_s: audio of each rung's sample, in seconds.
    """
    found: list[float] = []
    for trial in trials:
        shorter, longer = trial.rung - 1, trial.rung
        if shorter < 0 or not trial.speed(shorter) or not trial.speed(longer):
            continue
        less_s, more_s = sample_s[shorter], sample_s[longer]
        slope = (more_s / trial.speed(longer) - less_s / trial.speed(shorter)) / (more_s - less_s)
        found.append(less_s / trial.speed(shorter) - slope * less_s)
    return max(0.0, statistics.median(found)) if found else 0.0


def first_candidates(default: Candidate, space: Space) -> list[Candidate]:
    """The default, then what differs from it in one thing each.

    Another width of actors comes with as many of them as fit: cores that idle are not a setting.
    """
    found = [default]
    for ncpu in _WIDTHS:
        most = space.most_actors(ncpu, default.stages)
        found.append(replace(default, ncpu=ncpu, actors=most))
    found += neighbours(default, space)
    found += [replace(default, precision=precision) for precision in space.precisions]
    return [one for one in _distinct(found) if one == default or space.holds(one)]


def neighbours(center: Candidate, space: Space) -> list[Candidate]:
    """What lies next to a candidate: one batch up and down, actors more and fewer, other stages."""
    found: list[Candidate] = []
    larger = sorted(batch for batch in space.batches_s if batch > center.batch_size_s)
    smaller = sorted(batch for batch in space.batches_s if batch < center.batch_size_s)
    found += [replace(center, batch_size_s=batch) for batch in (*larger[:1], *smaller[-1:])]
    step = max(1, round(center.actors / 4))
    most = space.most_actors(center.ncpu, center.stages)
    for actors in {min(most, center.actors + step), center.actors - step}:
        found.append(replace(center, actors=actors))
    for stages in space.stages:
        most = space.most_actors(center.ncpu, stages)
        if stages != center.stages:
            found.append(replace(center, stages=stages, actors=min(most, center.actors)))
    found = sorted(found, key=lambda one: (one.stages, one.batch_size_s, one.actors))
    return [one for one in _distinct(found) if one != center and space.holds(one)]


def combined(trials: Sequence[Trial], default: Candidate, rung: int) -> Candidate:
    """What each single change that helped makes together.

    Args:
        trials: the candidates, as `first_candidates` chose them.
        default: what they differ from in one thing each.
        rung: the sample on which they were all measured.
    """
    base = next((trial.speed(rung) for trial in trials if trial.candidate == default), 0.0)
    together = default
    for trial in sorted(trials, key=lambda trial: trial.speed(rung)):
        one = trial.candidate
        if trial.speed(rung) <= base:
            continue
        if one.ncpu != default.ncpu or one.actors != default.actors:
            together = replace(together, ncpu=one.ncpu, actors=one.actors)
        for name in ("batch_size_s", "precision", "stages"):
            if getattr(one, name) != getattr(default, name):
                together = replace(together, **{name: getattr(one, name)})
    return together


@dataclass(slots=True)
class Search:
    """Successive halving over the first candidates, then steps to better neighbours.

    Attributes:
        space: what may be tried.
        measure: runs a candidate on the sample of a rung; raises CandidateFailedError.
        rungs: samples, of which the last is the longest.
        repeat: repetitions of each candidate on the last one, in turn.
        has_time: whether another run may begin.
    """

    space: Space
    measure: Callable[[Candidate, int], Run]
    rungs: int
    repeat: int
    has_time: Callable[[], bool]
    trials: dict[Candidate, Trial] = field(default_factory=dict[Candidate, Trial])

    def run(self, default: Candidate) -> list[Trial]:
        """Every candidate that was chosen, with what it brought.

        The default stays to the end whatever it brings: all others are compared with it.
        """
        going = [self._trial(one) for one in first_candidates(default, self.space)]
        for rung in range(self.rungs - 1):
            self._measured(going, rung, 1)
            if rung == 0:
                going += self._new([combined(going, default, rung)], rung)
            going = self._better_half(going, default, rung)
        last = self.rungs - 1
        self._measured(going, last, self.repeat)
        for _ in range(_MOST_ROUNDS_OF_NEIGHBOURS):
            best = max(self.trials.values(), key=lambda trial: trial.speed(last))
            fresh = [
                one for one in neighbours(best.candidate, self.space) if one not in self.trials
            ]
            if not fresh or not self.has_time():
                break
            # The best takes part again: a machine that slows down must not make it look better.
            self._measured([best, *(self._trial(one) for one in fresh)], last, self.repeat)
        return list(self.trials.values())

    def _trial(self, candidate: Candidate) -> Trial:
        return self.trials.setdefault(candidate, Trial(candidate))

    def _new(self, candidates: Iterable[Candidate], rung: int) -> list[Trial]:
        fresh = [one for one in candidates if one not in self.trials and self.space.holds(one)]
        trials = [self._trial(one) for one in fresh]
        self._measured(trials, rung, 1)
        return trials

    def _measured(self, trials: Sequence[Trial], rung: int, repeat: int) -> None:
        for _ in range(repeat):
            for trial in trials:
                if trial.error or not self.has_time():
                    continue
                try:
                    run = self.measure(trial.candidate, rung)
                except CandidateFailedError as error:
                    trial.error = str(error)
                    continue
                trial.runs.setdefault(rung, []).append(run)

    def _better_half(self, trials: Sequence[Trial], default: Candidate, rung: int) -> list[Trial]:
        ranked = sorted(trials, key=lambda trial: -trial.speed(rung))
        kept = [trial for trial in ranked[: -(-len(ranked) // 2)] if trial.speed(rung) > 0]
        if all(trial.candidate != default for trial in kept):
            kept.append(self._trial(default))
        return kept


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    return list(dict.fromkeys(candidates))

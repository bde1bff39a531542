"""How many actors a pool should have, from what is seen of a run.

Owns the decision alone: signals in, a number and its reason out, with a memory between them. Must
not know Ray, clocks or models. The bracket between too few actors and enough is `search.py`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ray_asr.control.search import Bracket, Trial
from ray_asr.control.signals import Decision, Signals
from ray_asr.control.throughput import Reading, Window
from ray_asr.errors import PlanError

# An audio length that nobody counts is taken for as long as the run already was, and this at least.
_UNKNOWN_LEFT_S = 900.0
# What a lost actor gives back is seen in the memory after so long.
_MEMORY_S = 10.0
# Of a rate: how sure it must be before a trial is held against it.
_SURE = 0.02
# So many times the actors before the cores are full: they are mostly idle.
_IDLE = 1.25
# Percent of all cores: with so many busy they are full, whatever is meant to be kept.
_FULL = 97.0
# Of a pool: giving up so much of it at once is not a small step.
_LARGE = 0.3
# Of the actors: with so many without a chunk, reading is what limits the run.
_STARVED = 0.1
# Of the actors that have chunks where reading is what limits: so many are kept.
_SPARE = 1.25
# Without a count of chunks, a round is taken for so long.
_ROUND_S = 5.0


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """What the policy is to keep to.

    Attributes:
        least: actors, while there is work for them.
        most: actors; 0: what the room allows.
        start: actors to begin with; 0: as many as there is room and work for.
        knee_share: of an actor's worth, what a step must bring for each actor, or it is taken back.
        slack: of the best throughput seen, what fewer actors may cost at most.
        trial_cost: of the time left, what one trial with fewer actors may cost.
        pay_share: of its load time, what an actor must still work for to be started.
        confidence: standard errors by which a trial must differ to be judged early.
        least_rounds: chunks an actor that a size is watched for before it is judged.
        most_rounds: chunks an actor after which a trial is judged by what was seen.
        memory_mark: of a node's memory, 0 to 1, above which an actor is given up.
        gpu_memory_mark: of a GPU's memory, 0 to 1, above which an actor is given up.
        retry_s: after so long a knee is no longer taken for known, in seconds.
        drift: share by which throughput, or of all cores the part that is busy, must change at one
            size for the knee to be looked for again: noise moves nothing.
    """

    least: int = 1
    most: int = 0
    start: int = 0
    knee_share: float = 0.28
    slack: float = 0.025
    trial_cost: float = 0.015
    pay_share: float = 0.5
    confidence: float = 2.5
    least_rounds: float = 1.0
    most_rounds: float = 12.0
    memory_mark: float = 0.92
    gpu_memory_mark: float = 0.95
    retry_s: float = 3600.0
    drift: float = 0.3

    def __post_init__(self) -> None:
        if self.least < 1:
            raise PlanError(f"At least {self.least} actors were asked for: ask for 1 or more.")
        if self.most and self.least > self.most:
            raise PlanError(
                f"At least {self.least} and at most {self.most} actors were asked for: lower the "
                "least or raise the most."
            )


class ScalingPolicy:
    """Decides a pool's size, moment by moment.

    It begins with what there is room and work for. When the actors work it measures what they
    bring, tries with a few less, and where that costs next to nothing, with half: until one step
    more is worth its actors and one step less is not. Where it began low it grows, by what idle
    cores allow or twofold, until a step brings too little. Trials happen only while enough of the
    job is left to pay for them, and so do starts.

    Args:
        options: bounds and thresholds.
    """

    def __init__(self, options: PolicyOptions | None = None) -> None:
        self._options = options or PolicyOptions()
        self._size: int | None = None
        self._why = "as many as there is room and work for"
        self._bracket = Bracket(self._options.slack, self._options.knee_share)
        self._trial: Trial | None = None
        self._window: Window | None = None
        self._counts_from = (0.0, 0)  # the time and the chunks done since `running` is what it is
        self._running = 0
        self._begun = False  # whether a size was judged by what it brought
        self._lost = 0
        self._room = 0
        self._cpu: float | None = None
        self._cpu_settled: float | None = None
        self._idle = 0.0
        self._settled_s: float | None = None
        self._memory_s = -math.inf
        self._ceiling: int | None = None
        self._rate = 0.0  # of `_rate_of` actors, in seconds of audio a second
        self._rate_of = 0
        self._first: tuple[float, float] | None = None

    def decide(self, signals: Signals) -> Decision:
        """The size from now on, and why."""
        self._observe(signals)
        limit = self._limit(signals)
        if self._size is None or not (self._options.start or self._begun):
            self._size = min(self._options.start or limit, limit)
            if self._options.start:
                self._why = "as many as were asked for to begin with"
        self._search(signals, limit)
        size, why = self._capped(signals, min(self._size, limit))
        return Decision(size, why)

    # What is seen.

    def _limit(self, signals: Signals) -> int:
        options = self._options
        if self._size is not None and signals.room > self._room > 0:  # more nodes, as full each
            self._size = math.ceil(self._size * signals.room / self._room)
            self._why = "nodes came: each has as many as before"
            self._bracket.forget()
            self._trial = self._settled_s = None
        self._room = max(self._room, signals.room)
        most = options.most or self._room or max(options.least, 2 * signals.running)
        if signals.node_s <= 0 and self._room:  # no nodes will come
            most = min(most, self._room)
        if self._ceiling is not None:
            most = min(most, self._ceiling)
        return max(options.least, most)

    def _observe(self, signals: Signals) -> None:
        if signals.cpu_percent is not None:
            before = signals.cpu_percent if self._cpu is None else self._cpu
            self._cpu = 0.7 * before + 0.3 * signals.cpu_percent
        idle = signals.idle / signals.running if signals.running else 0.0
        self._idle += 0.1 * (idle - self._idle)
        lost = signals.lost > self._lost
        self._lost = signals.lost
        same = self._window is not None and (
            abs(signals.running - self._window.actors) <= 0.02 * self._window.actors
        )
        if lost or (self._window is not None and not same):
            self._window = None
        if lost or signals.running != self._running:
            if self._window is None:
                self._counts_from = (signals.time_s, signals.chunks_done or 0)
            self._running = signals.running
        if not signals.running:
            return
        # A chunk from before the pool was what it is says little of it; full cores do not wait.
        first = not self._bracket.readings and signals.busy_s is not None and not signals.pending
        soon = first and self._crowded(signals) > 0
        if self._window is None and (soon or self._rounds(signals) >= 1.0):
            self._window = Window(signals.running)
            self._counts_from = (signals.time_s, signals.chunks_done or 0)
        if self._window is not None:
            # What an actor could do is no matter where it waits for chunks: what comes out is.
            busy_s = None if self._idle > _STARVED else signals.busy_s
            self._window.add(signals.time_s, signals.audio_done_s, busy_s)
        self._first = self._first or (signals.time_s, signals.audio_done_s)
        since_s = signals.time_s - self._first[0]
        if not self._bracket.readings and since_s > 0:
            self._rate = (signals.audio_done_s - self._first[1]) / since_s
            self._rate_of = signals.running

    def _rounds(self, signals: Signals) -> float:
        """Chunks that each actor has done since the pool is what it is, in the mean."""
        since_s, done = self._counts_from
        if signals.chunks_done is None:
            return (signals.time_s - since_s) / _ROUND_S
        return (signals.chunks_done - done) / max(1, signals.running)

    def _left_s(self, signals: Signals) -> float:
        """How long the pool would still take as it is."""
        if signals.audio_left_s is None:
            return max(signals.time_s, _UNKNOWN_LEFT_S)
        if self._rate <= 0 or not signals.running:
            return math.inf
        return signals.audio_left_s / (self._rate * signals.running / self._rate_of)

    # The knee.

    def _search(self, signals: Signals, limit: int) -> None:
        options, window = self._options, self._window
        assert self._size is not None
        if window is None or (signals.pending and signals.running < self._size):
            return
        if window.actors > 1.02 * self._size:  # it still shrinks
            return
        rounds = self._rounds(signals)
        if rounds < options.least_rounds:
            return
        reading = window.reading(rounds)
        if reading is None or reading.rate <= 0:
            return
        self._rate, self._rate_of = reading.rate, reading.actors
        late = rounds >= options.most_rounds
        if self._settled_s is not None:
            self._watch(signals, reading, rounds, limit)
            return
        if self._trial is None:
            if reading.error <= _SURE * reading.rate or late or self._plain(signals, limit):
                self._bracket.add(reading)
                self._next(signals, limit)
        elif self._trial.judged(reading, options.confidence) or late:
            self._bracket.add(reading)
            self._trial = None
            self._next(signals, limit)

    def _plain(self, signals: Signals, limit: int) -> bool:
        """Whether the cores already say which way to go: they are full, or most of them idle."""
        assert self._size is not None
        idle = self._size < limit and (self._head_room(signals) or 0.0) > _IDLE
        return idle or self._crowded(signals) > 0

    def _watch(self, signals: Signals, reading: Reading, rounds: float, limit: int) -> None:
        """After the knee is known: whether it still is, and a surer reading of it."""
        assert self._settled_s is not None
        known = self._bracket.readings.get(reading.actors)
        cpu, settled_cpu = self._cpu, self._cpu_settled
        if cpu is not None and abs(cpu - (settled_cpu or cpu)) > 100.0 * self._options.drift:
            known, self._settled_s = None, None  # someone else came or went
            self._bracket.forget()
        if known is not None and rounds >= self._options.least_rounds:
            change = abs(reading.rate - known.rate) - 3 * math.hypot(reading.error, known.error)
            if change > self._options.drift * known.rate:
                self._bracket.forget()
                self._settled_s = None
            elif reading.error < 0.6 * known.error:
                self._bracket.add(reading)
                self._bracket.doubt(self._options.confidence)
                self._next(signals, limit)
        if signals.time_s - (self._settled_s or signals.time_s) > self._options.retry_s:
            self._bracket.forget()
            self._settled_s = self._ceiling = None

    def _next(self, signals: Signals, limit: int) -> None:
        """The next size to try, or the one to stay at."""
        bracket = self._bracket
        self._begun = True
        load_s = signals.load_s or 0.0
        left_s = self._left_s(signals)
        crowded, starved = self._crowded(signals), self._idle > _STARVED
        fed = math.ceil(_SPARE * (1.0 - self._idle) * signals.running) if starved else 0
        nodes = max(1, signals.nodes)
        size, why = bracket.next_size(limit, self._head_room(signals), nodes, crowded, fed)
        here = max(signals.running, self._window.actors if self._window else 0)
        if crowded and here < size and here in bracket.readings:
            # What more actors brought, they took from who reads, or it was another time.
            bracket.forget_above(here)
            size, why = bracket.next_size(here, 1.0, nodes, crowded, fed)
        enough = bracket.enough()
        size = max(size, self._options.least)
        if size < enough.actors:
            given_up = (enough.actors - size) / enough.actors
            if starved:  # who has no chunk brings nothing
                given_up = max(0.0, given_up - self._idle)
            round_s = (signals.time_s - self._counts_from[0]) / max(self._rounds(signals), 1e-6)
            cost_s = given_up * (2.5 * round_s + 2 * load_s)
            if crowded:
                cost_s *= 0.2 / max(1.0, crowded)  # it is likely to gain
            elif bracket.flat and (size > 1 or given_up <= _LARGE):
                cost_s *= 0.3
            elif given_up > _LARGE:
                cost_s *= 2.0
            if cost_s > self._options.trial_cost * left_s:
                size, why = enough.actors, "too little is left to look for fewer"
        if size == enough.actors:
            if self._settled_s is None:
                self._settled_s, self._cpu_settled = signals.time_s, self._cpu
        else:
            self._settled_s = None
            self._trial = Trial(bracket.best(), size, bracket.allowed_loss(enough.actors, size))
        self._size, self._why = size, why

    def _head_room(self, signals: Signals) -> float | None:
        """By how much the pool could be multiplied before cores or GPUs are full; None: unknown."""
        if self._idle > _STARVED:
            return 1.0
        factors: list[float] = []
        if self._cpu is not None and self._cpu > 0:
            factors.append((100.0 - signals.reserve_percent) / self._cpu)
        if signals.gpu_percent is not None and signals.gpu_percent > 0:
            factors.append(100.0 / signals.gpu_percent)
        return min(factors, default=None)

    def _crowded(self, signals: Signals) -> float:
        """How many times the cores are taken, where they are full; 0 where they are not."""
        if self._cpu is None or self._cpu <= min(_FULL, 100.0 - signals.reserve_percent / 2):
            return 0.0
        if signals.granted_percent is None:
            return 2.0
        return signals.granted_percent / 100 if signals.granted_percent > 100.0 else 0.0

    # What a size must keep to, whatever throughput says.

    def _capped(self, signals: Signals, size: int) -> tuple[int, str]:
        options, why = self._options, self._why
        size = max(options.least, size)
        now = signals.running + signals.pending
        chunks = self._chunks_left(signals)
        ended = signals.all_read and not signals.queued
        if ended and signals.running:
            busy = max(1, signals.running - signals.idle)
            return min(size, busy), "no chunk waits: who has none is not needed"
        if chunks is not None and size > chunks:
            size, why = max(1, chunks), f"{chunks} chunks are left"
        tight = self._memory(signals)
        if tight:
            if size >= now > options.least and signals.time_s >= self._memory_s + _MEMORY_S:
                self._ceiling, self._memory_s = now - 1, signals.time_s
            return min(size, max(options.least, self._ceiling or now)), tight
        if size > now and now > 0 and not self._pays(signals, size - now, now):
            size, why = now, "what starts now would not pay for its load time"
        return size, why

    def _chunks_left(self, signals: Signals) -> int | None:
        known = signals.queued + signals.in_flight
        if signals.all_read:
            return max(1, known)
        if signals.audio_left_s is None or not signals.chunks_done or signals.audio_done_s < 1.0:
            return None
        each_s = signals.audio_done_s / signals.chunks_done
        return max(1, known, math.ceil(signals.audio_left_s / each_s))

    def _memory(self, signals: Signals) -> str:
        """Why there is no memory for one more, or nothing."""
        options = self._options
        for share, mark, what in (
            (signals.memory_share, options.memory_mark, "a node's memory"),
            (signals.gpu_memory_share, options.gpu_memory_mark, "a GPU's memory"),
        ):
            if share is not None and share > mark:
                return f"{what} is {100 * share:.0f} % full, above {100 * mark:.0f} %"
        return ""

    def _pays(self, signals: Signals, more: int, now: int) -> bool:
        """Whether `more` actors, started now, still work for a share of their load time."""
        if signals.load_s is None or signals.audio_left_s is None or not signals.running:
            return True
        wait_s = signals.load_s
        if signals.room and now + more > signals.room:
            wait_s += signals.node_s
        left_s = self._left_s(signals)
        if not math.isfinite(left_s):
            return True
        with_more_s = (left_s - wait_s) * signals.running / (signals.running + more)
        return with_more_s >= self._options.pay_share * signals.load_s

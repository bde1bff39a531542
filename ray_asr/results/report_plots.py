"""The plots of a run's report: what was sampled over time, and how sizes are spread.

Owns which curves stand in which plot, and their wording. Must not know where the figures come from,
or the page. What makes them SVG is `svg`'s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ray_asr.results import svg
from ray_asr.results.report_data import Timeline
from ray_asr.results.report_words import short

_MOST_MARKS = 40
# A speed is taken over so much of the run: chunks come in lumps.
_SPEED_WINDOW = 1 / 24
_LONG_S = ((180.0, 1.0, "seconds"), (3 * 3600.0, 60.0, "minutes"), (math.inf, 3600.0, "hours"))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision that is marked on every plot over time.

    Attributes:
        time_s: when, from the run's begin.
        label: the number that it has in the list below the plots.
        text: what was decided, and why.
    """

    time_s: float
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class _Line:
    """One curve: its points, what it is called, and how it is drawn."""

    label: str
    x: Floats
    y: Floats
    colour: int = 1
    style: str = "solid"
    steps: bool = False
    band: tuple[Floats, Floats] | None = None
    fill: bool = False

    def key(self) -> tuple[str, str]:
        return f"{self.colour} {self.style}", self.label

    def words(self) -> str:
        values = self.y[np.isfinite(self.y)]
        if not len(values):
            return f"{self.label}: nothing"
        mean, least, most = (short(float(f(values))) for f in (np.mean, np.min, np.max))
        return f"{self.label}: mean {mean}, least {least}, most {most}"


@dataclass(slots=True)
class OverTime:
    """Plots of one run over the same time, with the same marks.

    Args:
        timeline: what was sampled.
        marks: decisions.
        targets: how many actors were wanted, from which moment on.
    """

    timeline: Timeline
    marks: Sequence[Mark] = ()
    targets: Sequence[tuple[float, float]] = ()
    _until_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._until_s = max([self.timeline.end_s, *(mark.time_s for mark in self.marks)])

    def all(self, mean_speed: float | None, batch_s: float | None) -> list[svg.Plot]:
        """Every plot that there are samples for.

        Args:
            mean_speed: of the whole run, times real time.
            batch_s: padded seconds of a batch at the start.
        """
        plots = [
            self.actors(),
            self.speed(mean_speed),
            self.percents("CPU", "% of the cores", ("cpu_percent", "all processes", 1.0),
                          ("actors_cpu_percent", "our actors", 1.0)),
            self.percents("GPU", "% used", ("gpu_percent", "computing", 1.0),
                          ("gpu_memory_share", "memory of the fullest", 100.0)),
            self.batch(batch_s),
            self.waiting(),
            self.percents("Memory", "% of a node", ("memory_share", "in use", 100.0)),
            self.end(),
        ]  # fmt: skip
        return [plot for plot in plots if plot is not None]

    def actors(self) -> svg.Plot | None:
        """Recognizing actors that take work, and that load."""
        lines = [
            self._line("running", "take work", steps=True, fill=True),
            self._line("loading", "load", 2, "dashed", steps=True),
        ]
        if self.targets:
            moments = [*self.targets, (self._until_s, self.targets[-1][1])]
            x, y = (np.array(values) for values in zip(*moments, strict=True))
            lines.append(_Line("wanted", x, y, 3, "dotted", steps=True))
        return self._plot("Actors", "that recognize", lines, whole=True)

    def speed(self, mean: float | None) -> svg.Plot | None:
        """Seconds of audio a second."""
        if not self.timeline.has("audio_s"):
            return None
        rates = speeds(self.timeline.time_s, self.timeline.curves["audio_s"].mean)
        lines = [_Line("now", self.timeline.time_s, rates, fill=True)]
        if mean:
            ends = np.array([0.0, self._until_s])
            lines.append(_Line("whole run", ends, np.full(2, mean), 3, "dashed"))
        return self._plot("Throughput", "times real time", lines)

    def percents(self, title: str, unit: str, *columns: tuple[str, str, float]) -> svg.Plot | None:
        """Shares of a whole, each with what makes percents of it."""
        lines = [
            self._line(
                name, label, colour, style, factor=factor, fill=colour == 1, band=colour == 1
            )
            for colour, style, (name, label, factor) in zip(
                (1, 2), ("solid", "dashed"), columns, strict=False
            )
        ]
        return self._plot(title, unit, lines, most=100.0)

    def batch(self, start_s: float | None) -> svg.Plot | None:
        """Padded seconds of a batch."""
        line = self._line("batch_size_s", "as the last chunk had it", steps=True)
        if line is None or not np.nanmax(line.y, initial=0.0) > 0:
            return None
        y = np.where(line.y > 0, line.y, np.nan)
        lines: list[_Line | None] = [_Line(line.label, line.x, y, steps=True)]
        if start_s:
            ends = np.array([0.0, self._until_s])
            lines.append(_Line("as planned", ends, np.full(2, start_s), 3, "dashed"))
        return self._plot("Batch size", "padded seconds of a batch", lines)

    def waiting(self) -> svg.Plot | None:
        """Chunks in front of the actors, and in them."""
        lines = [
            self._line("queued", "wait for an actor"),
            self._line("in_flight", "are with an actor", 2, "dashed"),
        ]
        return self._plot("Chunks of rows", "chunks", lines, whole=True)

    def end(self) -> svg.Plot | None:
        """The end that was expected, at each moment."""
        line = self._line("left_s", "expected")
        if line is None or not np.isfinite(line.y).any():
            return None
        divisor, unit = time_unit(self._until_s)
        expected = (line.x + line.y) / divisor
        ends = np.array([0.0, self._until_s])
        lines = [
            _Line("expected", line.x, expected),
            _Line("as it was", ends, np.full(2, self.timeline.end_s / divisor), 3, "dashed"),
        ]
        top = min(float(np.nanmax(expected)) * 1.15, 3 * self._until_s / divisor)
        return self._plot("Expected end", f"{unit} after the start", lines, most=top)

    def _line(
        self,
        name: str,
        label: str,
        colour: int = 1,
        style: str = "solid",
        *,
        factor: float = 1.0,
        steps: bool = False,
        fill: bool = False,
        band: bool = False,
    ) -> _Line | None:
        if not self.timeline.has(name):
            return None
        curve = self.timeline.curves[name]
        between = None
        if band and self.timeline.nodes > 1:
            between = factor * curve.least, factor * curve.most
        y = factor * curve.mean
        return _Line(label, self.timeline.time_s, y, colour, style, steps, between, fill)

    def _plot(
        self,
        title: str,
        unit: str,
        lines: Sequence[_Line | None],
        *,
        most: float | None = None,
        whole: bool = False,
    ) -> svg.Plot | None:
        """A plot of the lines that there are; None without any."""
        there = [line for line in lines if line is not None]
        if not there:
            return None
        divisor, time_name = time_unit(self._until_s)
        with svg.canvas() as (figure, axes):
            for line in there:
                _draw(axes, line, divisor)
            axes.set_xlim(0, self._until_s / divisor)
            top = max(float(np.nanmax(line.y, initial=0.0)) for line in there)
            axes.set_ylim(0, most or 1.12 * top or 1.0)
            svg.few_ticks(axes, whole=whole)
            axes.set_xlabel(f"{time_name} since the start")
            titles = self._mark(axes, divisor)
            name = "".join(filter(str.isalnum, title)).lower()
            alt = f"{title}, {unit}, over {self._until_s / divisor:.3g} {time_name}. "
            alt += "; ".join(line.words() for line in there)
            picture = svg.finished(figure, name, alt, titles)
        shared = self.timeline.nodes > 1 and any(line.band for line in there)
        note = (
            f"Mean of {self.timeline.nodes} nodes, with the least and the most." if shared else ""
        )
        return svg.Plot(title, unit, picture, tuple(line.key() for line in there), note)

    def _mark(self, axes: Any, divisor: float) -> dict[str, str]:
        """A line for each decision, with its number where there is room for one."""
        titles: dict[str, str] = {}
        free_from = -math.inf
        for place, mark in enumerate(self.marks[:_MOST_MARKS]):
            at = mark.time_s / divisor
            axes.axvline(
                at, color=svg.SOFT, linewidth=0.8, linestyle=(0, (1.5, 2.5)), gid=f"m{place}"
            )
            titles[f"m{place}"] = mark.text
            if mark.time_s >= free_from:
                axes.text(
                    at, 1.03, mark.label, transform=axes.get_xaxis_transform(), color=svg.INK,
                    ha="center", va="bottom", fontsize=10,
                )  # fmt: skip
                free_from = mark.time_s + 0.035 * self._until_s
        return titles


def _draw(axes: Any, line: _Line, divisor: float) -> None:
    colour = svg.SERIES[line.colour - 1]
    x, y = line.x / divisor, line.y
    sound = np.isfinite(y)
    x, y = x[sound], y[sound]
    style = {"solid": "-", "dashed": (0, (5, 3)), "dotted": (0, (1.5, 2))}[line.style]
    how = "steps-post" if line.steps else "default"
    if line.band is not None:
        low, high = (side[sound] for side in line.band)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    elif line.fill:
        step = "post" if line.steps else None
        axes.fill_between(x, 0, y, color=colour, alpha=0.14, linewidth=0, step=step)
    alone = {"marker": "o", "markersize": 4} if len(x) == 1 else {}
    axes.plot(x, y, color=colour, linewidth=2, linestyle=style, drawstyle=how, **alone)


def speeds(time_s: Floats, audio_s: Floats) -> Floats:
    """Seconds of audio a second at each moment, over a little of the time before it."""
    sound = np.isfinite(audio_s)
    if sound.sum() < 2:
        return np.full(len(time_s), np.nan)
    x = np.concatenate([[0.0], time_s[sound]])
    y = np.concatenate([[0.0], np.maximum.accumulate(audio_s[sound])])
    steps = np.diff(time_s[sound])
    window = max(_SPEED_WINDOW * float(x[-1]), 3 * float(np.median(steps)))
    before = np.maximum(time_s - window, 0.0)
    return (np.interp(time_s, x, y) - np.interp(before, x, y)) / np.maximum(time_s - before, 1e-9)


def time_unit(until_s: float) -> tuple[float, str]:
    """What seconds are divided by on an axis that ends there, and the name of what comes out."""
    return next((divisor, name) for limit, divisor, name in _LONG_S if until_s < limit)

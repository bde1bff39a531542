"""How sizes are spread, as pictures: lengths of recordings, real-time factors, padding.

Owns the scale of each and its wording. Must not know where the counts come from, or the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ray_asr.results import svg
from ray_asr.results.histograms import Histogram
from ray_asr.results.report_words import short, took

_BARS, _TICKS = 40, 7
_DURATIONS_S = {
    0.05: "50 ms", 0.1: "0.1 s", 0.2: "0.2 s", 0.5: "0.5 s", 1: "1 s", 2: "2 s", 5: "5 s",
    10: "10 s", 20: "20 s", 30: "30 s", 60: "1 min", 120: "2 min", 300: "5 min", 600: "10 min",
    1800: "30 min", 3600: "1 h", 7200: "2 h", 14400: "4 h", 36000: "10 h",
}  # fmt: skip


def durations_plot(counts: Histogram) -> svg.Plot | None:
    """How long recordings are."""
    ticks = [(at, label) for at, label in _DURATIONS_S.items()]
    return _bars("durations", "Length of recordings", "rows", counts, ticks, _length)


def factors_plot(counts: Histogram) -> svg.Plot | None:
    """How long an actor works on a second of audio."""
    ticks = [(m * 10.0**e, f"{m * 10.0**e:g}") for e in range(-6, 3) for m in (1, 2, 5)]
    title = "Real-time factor of chunks"
    return _bars("factors", title, "chunks", counts, ticks, lambda factor: f"{factor:.2g}")


def padding_plot(counts: Histogram) -> svg.Plot | None:
    """What of the computed seconds was padding."""
    ticks = [(at / 100, f"{at} %") for at in range(0, 101, 5)]
    title = "Padding in the batches of chunks"

    def say(share: float) -> str:
        return f"{100 * share:.2g} %"

    return _bars("padding", title, "chunks", counts, ticks, say, even=True)


def _length(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else took(seconds)


def _bars(
    name: str,
    title: str,
    unit: str,
    counts: Histogram,
    ticks: Sequence[tuple[float, str]],
    say: Callable[[float], str],
    *,
    even: bool = False,
) -> svg.Plot | None:
    """A histogram on a scale of factors, or on an even one; None without any value."""
    low, middle, high = (counts.quantile(share) for share in (0.05, 0.5, 0.95))
    if low is None or middle is None or high is None:
        return None
    shown = counts.trimmed(_BARS)
    edges = shown.edges if even else np.log2(shown.edges)
    words = f"median {say(middle)}; nine in ten lie between {say(low)} and {say(high)}"
    with svg.canvas() as (figure, axes):
        widths = np.diff(edges)
        axes.bar(
            edges[:-1] + 0.05 * widths, shown.counts, 0.9 * widths, align="edge",
            color=svg.SERIES[0], linewidth=0,
        )  # fmt: skip
        margin = 0.02 * float(edges[-1] - edges[0])
        axes.set_xlim(edges[0] - margin, edges[-1] + margin)
        axes.set_ylim(0, 1.12 * float(shown.counts.max()))
        svg.few_ticks(axes, whole=True)
        inside = [(x, text) for x, text in ticks if shown.edges[0] <= x <= shown.edges[-1]]
        inside = inside[:: max(1, -(-len(inside) // _TICKS))]
        if len(inside) < 2:
            ends = (float(shown.edges[0]), float(shown.edges[-1]))
            inside = [(end, say(end)) for end in ends]
        places = [x if even else float(np.log2(x)) for x, _ in inside]
        axes.set_xticks(places, [text for _, text in inside])
        at = middle if even else float(np.log2(middle))
        axes.axvline(at, color=svg.INK, linewidth=1.4, linestyle=(0, (4, 3)))
        alt = f"{title}, {unit}: {short(counts.total)} in all; {words}."
        picture = svg.finished(figure, name, alt)
    note = f"{words[0].upper()}{words[1:]}."
    return svg.Plot(title, unit, picture, (("ink dashed", "median"),), note)

"""A plot as SVG that stands inside a page: its colours and its font are the page's.

Owns the canvas, the look of axes, and what is made of matplotlib's SVG. Must not know what is
plotted. A colour is drawn as a stand-in that becomes a CSS variable, so that one picture is right
on light and on dark paper; text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ray_asr.results.report_words import short
from ray_asr.terminal import printable

WIDTH, HEIGHT = 440, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 20, 36
_POINTS = 72  # to an inch, as SVG has it
_FONT_SIZE = 12.0

INK, SOFT, GRID = "#010a01", "#010a02", "#010a03"
# One after the other these are told apart by people of any sight, and on either paper.
SERIES = ("#010a11", "#010a12", "#010a13", "#010a14")
_VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    GRID: "--grid",
    **{stand_in: f"--s{number}" for number, stand_in in enumerate(SERIES, 1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ray_asr",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": _FONT_SIZE,
    "path.simplify": True,
    "text.usetex": False,
    "text.parse_math": False,
    "axes.unicode_minus": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for the page.

    Attributes:
        title: its heading, and `unit` what is on its upright axis.
        picture: an SVG element.
        legend: for each curve its key (`1 solid`) and what it is.
        note: a sentence below it; "" for none.
    """

    title: str
    unit: str
    picture: str
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


@contextmanager
def canvas() -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes, to be given to `finished` before the end."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH / _POINTS, HEIGHT / _POINTS), dpi=_POINTS, facecolor="none")
        FigureCanvasSVG(figure)
        axes = figure.add_axes(
            (
                _LEFT / WIDTH,
                _BOTTOM / HEIGHT,
                1 - (_LEFT + _RIGHT) / WIDTH,
                1 - (_TOP + _BOTTOM) / HEIGHT,
            ),
            facecolor="none",
        )
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(GRID)
        axes.tick_params(length=0, colors=SOFT, labelsize=_FONT_SIZE, pad=5)
        axes.grid(visible=True, axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.label.set_color(SOFT)
        yield figure, axes


def finished(figure: Figure, name: str, alt: str, titles: Mapping[str, str] | None = None) -> str:
    """The figure as an element of a page.

    Args:
        figure: from `canvas`.
        name: begins the ids in it, which are one another's in the page.
        alt: what it shows, in words.
        titles: for ids that were given to artists, what a pointer on them is told.
    """
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None})
    text = sink.getvalue()
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    inside = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", inside, flags=re.S
    )
    inside = inside.replace("xlink:href", "href")
    inside = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", inside)
    for stand_in, variable in _VARIABLES.items():
        inside = inside.replace(stand_in, f"var({variable})")
    for gid, title in (titles or {}).items():
        opened = f'<g id="{name}-{gid}">'
        inside = inside.replace(opened, f"{opened}<title>{escape(printable(title))}</title>")
    inside = re.sub(r"\s*\n\s*", " ", inside)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(printable(alt))}">'
    return f"{head}{inside}</svg>"


def few_ticks(axes: Any, *, whole: bool = False) -> None:
    """About four values on the upright axis and six on the other; `whole` numbers alone."""
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=whole, min_n_ticks=2))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_major_locator(MaxNLocator(6, min_n_ticks=2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))

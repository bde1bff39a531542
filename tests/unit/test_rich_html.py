"""Results in a notebook: whole, escaped, and the same words as in a terminal."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.blocks import Block, Facts, Grid, Said
from ray_asr.config import Config
from ray_asr.control.plan import ClusterResources, Node, make_plan
from ray_asr.control.plan_text import plan_report
from ray_asr.corpus.pack import PackSummary
from ray_asr.job.compact import CompactSummary
from ray_asr.job.findings import Finding, Verification
from ray_asr.rich_html import as_html, progress_html
from ray_asr.shown import Shown

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; \x1b[2J \u202e \x00 </td></table>"


class Page(HTMLParser):
    """The tags and the texts of a page, whose tags must close in the order that they open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def test_facts_have_headers_and_grids_have_heads() -> None:
    page = Page(as_html([Facts([("rows", "3")]), Grid(("set", "WER"), [("long", "1 %")])]))
    assert page.tags.count("table") == 2
    assert ("scope", "row") in page.attributes
    assert page.attributes.count(("scope", "col")) == 2
    assert page.texts == ["rows", "3", "set", "WER", "long", "1 %"]


@pytest.mark.parametrize(
    "block",
    [
        Facts([(HOSTILE, HOSTILE)]),
        Facts([("x", (HOSTILE, "bad"))]),
        Grid((HOSTILE,), [(HOSTILE,)]),
        Said(HOSTILE, "warning"),
    ],
)
def test_others_words_are_words(block: Block) -> None:
    page = Page(as_html([block]))
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes} - {"class", "scope", "style"}
    assert "<script>alert(1)</script>" in page.text
    assert "\\u001b[2J \\u202e \\u0000" in page.text


@given(st.text())
def test_any_text_comes_back_as_it_is_shown(text: str) -> None:
    shown = "".join(Page(as_html([Said(text)])).texts)
    assert "\x1b" not in shown
    Page(progress_html(0.5, text))


def test_good_and_bad_are_told_apart_without_colour() -> None:
    html = as_html([Said("proven", "good"), Said("not proven", "bad")])
    assert "<strong>✓ proven</strong>" in html
    assert "<strong>✗ not proven</strong>" in html
    assert "color" not in html


def test_of_a_huge_grid_the_first_rows_are_shown_and_the_others_counted() -> None:
    html = as_html([Grid(("n",), [(f"{n}",) for n in range(10_000)])])
    assert html.count("<tr>") == 201
    assert "… and 9,800 more rows" in html


def test_a_huge_text_is_cut() -> None:
    assert len(as_html([Said("x" * 10**6)])) < 3000


@pytest.mark.parametrize(("share", "value"), [(-1.0, "0.0000"), (0.25, "0.2500"), (9.0, "1.0000")])
def test_progress_is_a_bar_with_its_line(share: float, value: str) -> None:
    page = Page(progress_html(share, "<b>3/4 rows"))
    assert ("value", value) in page.attributes
    assert page.texts[-1] == "<b>3/4 rows"


CLUSTER = ClusterResources((Node(8, 8, 8, memory_gb=64.0),) * 2, 8.0)
PLAN = make_plan(CLUSTER, None, Config())
RESULTS: list[Shown] = [
    PackSummary("shards", 3, 1, 100, 2.0, ((HOSTILE, "is not there"),)),
    CompactSummary("out", 3, 2, 1, 10, 10, 0.1),
    Verification(
        "out", "in", 3, 2, 1, 0, 0, {"ok": 2}, [Finding("row", "part", HOSTILE)], {"r": 1}
    ),
    plan_report(PLAN, CLUSTER, 3600.0),
    PLAN,
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_says_the_same_in_a_notebook_and_in_a_terminal(result: Shown) -> None:
    page = Page(result._repr_html_())
    assert "script" not in page.tags
    html_words = [word for word in page.text.split() if word not in ("✓", "⚠", "✗")]
    assert html_words == str(result).split()


class Printer:
    """What IPython gives a result to print itself."""

    def __init__(self) -> None:
        self.said = ""

    def text(self, words: str) -> None:
        self.said += words


def test_ipython_prints_the_table() -> None:
    printer = Printer()
    RESULTS[0]._repr_pretty_(printer, False)
    assert printer.said == RESULTS[0].table()

"""What pages say is so: links, files, commands, settings, metrics; both READMEs say the same."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import yaml

from ray_asr.cli import cli
from ray_asr.config import SECTIONS
from ray_asr.control import monitor
from ray_asr.errors import ErrorCode
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.shell_lines import ROOT, check, code_lines, commands_in

README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = [README, CHINESE, *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {f"{section}.{leaf.name}" for section, cls in SECTIONS.items() for leaf in fields(cls)}
VERBS = set(cli.commands)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_SETTING = re.compile(rf"(?<![\w./-])(?:{'|'.join(SECTIONS)})\.[a-z]\w*(?![\w(/])")
_FOLDERS = ("docs", "jobs", "tests", "ray_asr", "benchmarks", "recipes", "notebooks")
_FILE = re.compile(rf"^(?:{'|'.join(_FOLDERS)})/[\w./*-]*$")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for _, heading in _HEADING.findall(text_of(page)):
        plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def prose(page: Path) -> str:
    return "\n".join(line for line in text_of(page).splitlines() if not line.startswith("    "))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(prose(page)):
        target = match["target"]
        if "://" in target:
            assert target.startswith("https://"), target
            continue
        path, _, anchor = target.partition("#")
        at = (page.parent / path).resolve() if path else page
        assert at.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(at), f"{target}: {at.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_thread_is_the_one_that_its_link_names(page: Path) -> None:
    for match in _LINK.finditer(prose(page)):
        if number := re.search(r"#(\d+)$", match["text"]):
            assert re.search(
                rf"github\.com/[\w-]+/[\w-]+/(issues|pull)/{number[1]}$", match["target"]
            )


_COMMAND = re.compile(r"(?:\.venv/bin/|\w+=\S* |)(?:ray|ray-asr|python|make|kubectl|docker|sed) ")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_a_page_are_taken(page: Path) -> None:
    lines = [line for line in code_lines(text_of(page)) if _COMMAND.match(line)]
    known = [words for line in lines for words in commands_in(line) if check(words)]
    assert len(known) >= {"clusters.md": 25, "README.md": 10}.get(page.name, 0)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_verbs_settings_and_files_that_a_page_names_are_there(page: Path) -> None:
    for span in _SPAN.findall(prose(page)):
        words = span.split()
        if words[0] == "ray-asr" and len(words) > 1 and words[1].isalpha():
            assert words[1] in VERBS, span
        if _FILE.match(span) and not span.endswith("/report.html"):
            assert list(ROOT.glob(span.rstrip("/"))), f"{span} is not there"
        for setting in _SETTING.findall(span):
            assert setting in SETTINGS, f"there is no setting {setting}"


@cache
def test_names() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name for f in files for name in re.findall(r"^def (test_\w+)", f.read_text(), re.MULTILINE)
    }


test_names.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    for span in _SPAN.findall(prose(page)):
        if re.fullmatch(r"test_\w+", span):
            assert span in test_names(), span
        elif re.fullmatch(r"test_\w+\.py", span):
            assert list((ROOT / "tests").rglob(span)), span


def test_every_question_names_a_thread_and_most_a_test() -> None:
    page = text_of(ROOT / "docs" / "faq.md")
    questions = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    assert len(questions) >= 20
    for question in questions:
        assert re.search(r"https://github\.com/\S+/(issues|pull)/\d+", question), question[:60]
    tested = [
        question for question in questions if "Tested" in question or "`make test" in question
    ]
    assert len(tested) >= len(questions) - 1


def test_figures_on_tuning_are_among_those_that_were_measured() -> None:
    figures = {
        page: set(re.findall(r"(?<![\w.])\d+\.\d+(?!\.?\d)", text_of(ROOT / "docs" / page)))
        for page in ("tuning.md", "performance.md")
    }
    of_the_article, of_a_setting = "1.8", "0.5"
    assert len(figures["tuning.md"]) >= 8
    assert figures["tuning.md"] - {of_the_article, of_a_setting} <= figures["performance.md"]


# The two READMEs.


def tables(page: Path) -> list[list[list[str]]]:
    """The tables of a page: rows of cells, the head left out."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text_of(page).splitlines():
        if not line.startswith("|"):
            inside = False
        elif re.fullmatch(r"[|\s:-]+", line):
            found.append([])
            inside = True
        elif inside:
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def spans(cells: list[str]) -> list[str]:
    return [span for cell in cells for span in _SPAN.findall(cell)]


def test_both_readmes_have_the_same_headings() -> None:
    levels = [[len(marks) for marks, _ in _HEADING.findall(text_of(p))] for p in (README, CHINESE)]
    assert levels[0] == levels[1]


def test_both_readmes_have_the_same_commands() -> None:
    def blocks(page: Path) -> list[str]:
        return [line.rstrip() for line in text_of(page).splitlines() if line.startswith("    ")]

    assert blocks(CHINESE) == blocks(README)


def test_both_readmes_have_the_same_tables() -> None:
    english, chinese = tables(README), tables(CHINESE)
    assert len(chinese) == len(english)
    for ours, theirs in zip(english, chinese, strict=True):
        assert [spans(row) for row in theirs] == [spans(row) for row in ours]
        assert [len(row) for row in theirs] == [len(row) for row in ours]


def test_both_readmes_link_to_the_same_pages_and_to_each_other() -> None:
    links = [{m["target"] for m in _LINK.finditer(prose(page))} for page in (README, CHINESE)]
    assert links[0] - {CHINESE.name} == links[1] - {README.name}
    assert README.name in links[1]


def test_every_setting_code_and_column_stands_in_the_chinese_readme() -> None:
    rows = {row[0].strip("*`"): row for table in tables(CHINESE) for row in table}
    for section, cls in SECTIONS.items():
        defaults = cls()
        for leaf in fields(cls):
            name = f"{section}.{leaf.name}"
            assert name in rows, name
            assert rows[name][0].startswith("**") is leaf.metadata["decides"], name
            assert rows[name][1] == f"`{getattr(defaults, leaf.name)}`", name
            assert rows[name][3], name
    for name in [*(code.value for code in ErrorCode), *TRANSCRIPT_SCHEMA.names]:
        assert f"`{name}`" in text_of(CHINESE), name


# Metrics.

GAUGES = {
    f"ray_asr_{name}" for name in (*monitor.NODE_GAUGES, *monitor.PART_GAUGES, *monitor.RUN_GAUGES)
}
_METRIC = re.compile(r"\bray_asr_[a-z0-9_]+\b")


def test_the_dashboard_shows_metrics_that_there_are_and_all_of_them() -> None:
    board = json.loads((ROOT / "docs" / "grafana" / "ray_asr.json").read_text(encoding="utf-8"))
    asked = {
        metric
        for panel in board["panels"]
        for target in panel["targets"]
        for metric in _METRIC.findall(target["expr"])
    }
    assert asked == GAUGES
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_page_on_watching_names_every_metric_and_no_other() -> None:
    page = text_of(ROOT / "docs" / "monitoring.md")
    assert set(_METRIC.findall(page)) == GAUGES


def test_prometheus_finds_what_pods_and_nodes_offer() -> None:
    page = text_of(ROOT / "docs" / "monitoring.md")
    documents = re.findall(
        r"(?:^    (?:scrape_configs|apiVersion):?.*\n(?:    .*\n)+)", page, re.MULTILINE
    )
    scrape, monitored = [yaml.safe_load(document) for document in documents]
    from ray._private.ray_constants import PROMETHEUS_SERVICE_DISCOVERY_FILE

    (files,) = [one["files"] for one in scrape["scrape_configs"][0]["file_sd_configs"]]
    assert files == [f"/tmp/ray/{PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    (endpoint,) = monitored["spec"]["podMetricsEndpoints"]
    for kind in ("rayjob", "raycluster"):
        manifest = (ROOT / "jobs" / "kuberay" / f"{kind}.yaml").read_text(encoding="utf-8")
        assert f"name: {endpoint['port']}, containerPort: 8080" in manifest
    assert "--metrics-export-port=8080" in (ROOT / "cluster.yaml").read_text(encoding="utf-8")

"""The page about a run: one HTML file that opens from a disk, with nothing outside it.

Owns what stands on it, and that whatever stands in an output is shown as text. Must not know Ray,
the engine, or where the page is written to. The page has no script, and its policy lets nothing be
loaded from anywhere; how it looks is the template's.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pyarrow as pa
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ray_asr.config import Config, to_dict
from ray_asr.errors import DataError
from ray_asr.redaction import redacted, redacted_settings
from ray_asr.results import report_sections as sections
from ray_asr.results import report_words as words
from ray_asr.results.columns import OpenFilesystem, ParquetColumns, by_pyarrow
from ray_asr.results.histogram_plots import durations_plot, factors_plot, padding_plot
from ray_asr.results.histograms import from_dict
from ray_asr.results.report_comparison import with_baseline, with_bench
from ray_asr.results.report_data import (
    Recorded,
    Timeline,
    differing,
    find_run,
    number,
    read_run,
    read_timeline,
)
from ray_asr.results.report_plots import OverTime
from ray_asr.results.report_rows import Clip, Clips, RowFacts, read_rows
from ray_asr.results.svg import Plot
from ray_asr.terminal import printable

_TEMPLATE = "report.html.j2"
_MOST_TEXT, _MOST_SHORT = 600, 200
_MOST_LANGUAGES = 12
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,4})?")  # what a browser takes for one


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is to have.

    Attributes:
        run_id: of the run; "" for the newest that did something.
        price_per_cpu_hour: of one core, in any currency.
        price_per_gpu_hour: of one GPU.
        baseline: see `report_comparison.with_baseline`.
        bench: the tree that `ray-asr bench --json` wrote.
        clips: gives the sound of rows by their file and number; None where there is none.
        until: by the monotonic clock, when the reading of rows and of sound is to end.
    """

    run_id: str = ""
    price_per_cpu_hour: float | None = None
    price_per_gpu_hour: float | None = None
    baseline: Mapping[str, Any] | None = None
    bench: Mapping[str, Any] | None = None
    clips: Clips | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A page, and its main figures for who reads JSON."""

    run_id: str
    html: str
    facts: dict[str, Any]


def make_report(
    output: str, asked: Asked | None = None, open_filesystem: OpenFilesystem = by_pyarrow
) -> Report:
    """The page about a run of an output.

    Memory is bounded: rows are read in batches of narrow columns, samples into bins of time.

    Args:
        output: folder of part files, a path or an address.
        asked: what it is to have.
        open_filesystem: gives the filesystem of `output`, and the path inside it.

    Raises:
        DataError: the output cannot be read, or records no run.
        ConfigError: it has no such run.
    """
    asked = asked or Asked()
    shown = redacted(output)
    try:
        filesystem, folder = open_filesystem(output)
        folder = filesystem.normalize_path(folder)
    except (pa.ArrowException, OSError) as error:
        reason = redacted(str(error))
        raise DataError(f"cannot read output {shown}: {reason}; check the path") from None
    run_id = find_run(filesystem, folder, asked.run_id, f"output {shown}")
    recorded = read_run(filesystem, folder, run_id)
    notes = list(recorded.notes)
    timeline = read_timeline(filesystem, folder, run_id, notes)
    facts = _rows(output, open_filesystem, run_id, asked.until, notes)
    clips: Mapping[tuple[str, int], Clip] = {}
    if asked.clips is not None and facts is not None:
        clips = asked.clips(facts.samples, asked.until)
    page = _page(recorded, shown, timeline, facts, clips, asked)
    html = _environment().from_string(_template()).render(**page, notes=notes)
    return Report(run_id, html, _figures(recorded, shown, facts, page["cost"], notes))


def _rows(
    output: str,
    open_filesystem: OpenFilesystem,
    run_id: str,
    until: float | None,
    notes: list[str],
) -> RowFacts | None:
    """What the rows come to; None where there are no parts."""
    try:
        columns = ParquetColumns(output, "output", open_filesystem)
    except DataError as error:
        notes.append(f"{error}.")
        return None
    columns.require("status", "give the folder that `ray-asr transcribe` wrote its part files to")
    try:
        # Another run shows other rows, the same run the same.
        facts = read_rows(columns, until=until, seed=zlib.crc32(run_id.encode()))
    except pa.ArrowException as error:
        raise DataError(
            f"output {redacted(output)} has columns of other types than transcripts have "
            f"({redacted(str(error))}); give the folder that `ray-asr transcribe` wrote to"
        ) from error
    if not facts.is_all:
        notes.append(
            f"Rows were read for so long: what is said of the output's rows is of the first "
            f"{words.count(facts.rows)} of them. `ray-asr report` reads all."
        )
    return facts


def _page(
    recorded: Recorded,
    shown: str,
    timeline: Timeline | None,
    facts: RowFacts | None,
    clips: Mapping[tuple[str, int], Clip],
    asked: Asked,
) -> dict[str, Any]:
    """What the template is given."""
    decisions, marks, more_decisions = sections.decisions(recorded)
    cost = sections.cost_of(recorded, asked.price_per_cpu_hour, asked.price_per_gpu_hour)
    summary, plan = recorded.summary, recorded.plan
    over_time: list[Plot] = []
    if timeline is not None:
        over = OverTime(timeline, marks, sections.targets(recorded))
        over_time = over.all(number(summary.get("rtfx")), number(plan.get("batch_size_s")))
    spreads = [
        durations_plot(facts.durations) if facts else None,
        _spread(recorded, "real_time_factors", factors_plot),
        _spread(recorded, "padding_shares", padding_plot),
    ]
    counts = sections.row_counts(recorded, facts)
    bars = sections.shares([float(count) for _, _, count in counts])
    return {
        "headline": sections.headline(recorded),
        "verdict": sections.verdict(recorded),
        "run_id": recorded.run_id,
        "tiles": sections.tiles(recorded, cost),
        "what": [(name, redacted(value)) for name, value in sections.what_ran(recorded, shown)],
        "settings": redacted_settings(dict(differing(recorded.settings, to_dict(Config())))),
        "plan": sections.plan_rows(recorded),
        "warnings": sections.warnings(recorded),
        "counts": list(zip(counts, bars, strict=True)),
        "rows_read": facts.rows if facts else None,
        "languages": list(facts.by_language.items())[:_MOST_LANGUAGES] if facts else [],
        "failures": _failures(facts),
        "over_time": over_time,
        "decisions": decisions,
        "more_decisions": more_decisions,
        "gpu": number(summary.get("gpu_percent_mean")) is not None,
        "spreads": [plot for plot in spreads if plot is not None],
        "baseline": with_baseline(recorded, asked.baseline),
        "bench": with_bench(asked.bench),
        "samples": _samples(facts, clips),
        "has_clips": asked.clips is not None,
        "cost": cost,
        "has_price": cost.amount is not None,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _spread(recorded: Recorded, name: str, plot: Callable[[Any], Plot | None]) -> Plot | None:
    counts = from_dict(recorded.chunks.get(name))
    return None if counts is None else plot(counts)


def _failures(facts: RowFacts | None) -> list[dict[str, Any]]:
    if facts is None:
        return []
    failed = sum(facts.by_code.values())
    return [
        {
            "code": code or "(no code)",
            "count": count,
            "share": words.percent(count / failed),
            "examples": [
                (cut(row.text("utterance_id"), _MOST_SHORT),
                 cut(redacted(row.text("error_message")), _MOST_TEXT))
                for row in facts.failures.get(code, ())
            ],
        }
        for code, count in facts.by_code.items()
    ]  # fmt: skip


def _samples(facts: RowFacts | None, clips: Mapping[tuple[str, int], Clip]) -> list[dict[str, Any]]:
    return [
        {
            "id": cut(row.text("utterance_id"), _MOST_SHORT),
            "text": cut(row.text("text"), _MOST_TEXT),
            "reference": cut(row.text("reference_text"), _MOST_TEXT),
            "length": words.took(row.duration_ms / 1000),
            "language": cut(row.language, 20),
            "lang": row.language if _LANGUAGE.fullmatch(row.language) else "",
            "clip": clips.get((row.file, row.number)),
        }
        for row in (facts.samples if facts else ())
    ]


def _figures(
    recorded: Recorded,
    shown: str,
    facts: RowFacts | None,
    cost: sections.Cost,
    notes: Sequence[str],
) -> dict[str, Any]:
    return {
        "run_id": recorded.run_id,
        "output": shown,
        "verdict": sections.verdict(recorded)[1],
        "summary": redacted_settings(dict(recorded.summary)),
        "rows_read": facts.rows if facts else 0,
        "all_rows_read": facts.is_all if facts else False,
        "by_status": dict(facts.by_status) if facts else {},
        "by_error_code": dict(facts.by_code) if facts else {},
        "audio_s": facts.audio_s if facts else 0.0,
        "cost": cost.amount,
        "notes": list(notes),
    }


def cut(text: str, most: int) -> str:
    """The beginning of a text, and how long it is where that is not all."""
    if len(text) <= most:
        return text
    return f"{text[:most]} … ({words.count(len(text))} characters)"


def _as_text(value: Any) -> Any:
    """What an expression of the template becomes: others' words with control characters written."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_as_text,
    )
    environment.filters |= {
        "count": words.count,
        "clock": words.clock,
        "percent": words.percent,
        "picture": Markup,
    }
    return environment


def _template() -> str:
    return (files("ray_asr.results") / _TEMPLATE).read_text(encoding="utf-8")

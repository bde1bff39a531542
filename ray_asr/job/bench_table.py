"""The benchmark's figures: medians, spread, ratios and marks, as JSON and as a table.

Owns how repetitions become figures. Must not know how they were measured. Ratios are taken within
a repetition and then their median, so that a machine that slows down slows both sides of one.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jiwer

from ray_asr.blocks import Block, Cell, Grid, Said
from ray_asr.job.bench_cases import FIRST_ROW, MARKS, MOST_OVERHEAD_MS, OVERHEAD_CASE, Case
from ray_asr.job.bench_process import Measured
from ray_asr.shown import Shown

_NOT_FACTS = ("started", "ended", "texts")


@dataclass(slots=True)
class Row:
    """One case and what its repetitions gave; `error` says why there is nothing (more)."""

    case: Case
    error: str = ""
    variant: dict[str, Any] = field(default_factory=dict[str, Any])
    speeds: list[float] = field(default_factory=list[float])
    cpu_percents: list[float] = field(default_factory=list[float])
    gpu_percents: list[float] = field(default_factory=list[float])
    peaks_mb: list[float] = field(default_factory=list[float])
    results: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    texts: dict[str, str] | None = None

    def add(self, measured: Measured, audio_s: float) -> None:
        """Take one repetition."""
        result = measured.result
        if self.case.is_recognition:
            self.speeds.append(audio_s / max(result["ended"] - result["started"], 1e-9))
        self.cpu_percents.append(measured.cpu_percent)
        if measured.gpu_percent is not None:
            self.gpu_percents.append(measured.gpu_percent)
        self.peaks_mb.append(measured.peak_mb)
        self.results.append({k: v for k, v in result.items() if k not in _NOT_FACTS})
        self.texts = self.texts or result.get("texts") or None


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "repetitions": list(values),
    }


def _ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, Any] | None:
    return _spread([a / b for a, b in zip(above, below, strict=False)])


def text_difference(texts: Mapping[str, str] | None, reference: Mapping[str, str] | None) -> Any:
    """Characters that differ from the reference's, as a share; blanks and case do not count."""
    if not texts or not reference:
        return None
    pairs = [
        ("".join(reference[name].split()).lower(), "".join(texts.get(name, "").split()).lower())
        for name in sorted(reference)
    ]
    pairs = [(said, heard) for said, heard in pairs if said]
    if not pairs:
        return None
    return jiwer.cer([said for said, _ in pairs], [heard for _, heard in pairs])


def report(rows: Sequence[Row], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything measured, ready for JSON."""
    by_name = {row.case.name: row for row in rows}
    first = by_name.get(FIRST_ROW)
    reference = first.texts if first is not None else None
    cases = {
        row.case.name: {
            "title": row.case.title,
            "error": row.error,
            "options": {**row.case.options, **row.variant},
            "x_real_time": _spread(row.speeds),
            "against_first_row": _ratio(row.speeds, first.speeds) if first else None,
            "cpu_percent": _spread(row.cpu_percents),
            "gpu_percent": _spread(row.gpu_percents),
            "peak_memory_mb": _spread(row.peaks_mb),
            "text_difference": text_difference(row.texts, reference),
            "results": row.results,
        }
        for row in rows
    }
    return {**facts, "cases": cases, "marks": _marks(by_name)}


def _marks(rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    marks: list[dict[str, Any]] = []
    for mark in MARKS:
        if mark.case in rows and mark.against in rows:
            measured = _ratio(rows[mark.case].speeds, rows[mark.against].speeds)
            marks.append({"mark": mark.text, "at_least": mark.at_least, "measured": measured})
    if OVERHEAD_CASE in rows:
        spent = [result["cpu_ms_per_row"] for result in rows[OVERHEAD_CASE].results]
        text = "the pipeline's own CPU, ms a row"
        marks.append({"mark": text, "at_most": MOST_OVERHEAD_MS, "measured": _spread(spent)})
    return marks


def _figure(spread: Mapping[str, Any] | None, form: str, scale: float = 1.0) -> str:
    return "" if spread is None else format(spread["median"] * scale, form)


def _range(spread: Mapping[str, Any] | None, form: str) -> str:
    return "" if spread is None else f"{spread['least']:{form}}-{spread['most']:{form}}"


@dataclass(frozen=True, slots=True)
class BenchResult(Shown):
    """What was measured.

    Attributes:
        figures: everything, as `report` gives it.
    """

    figures: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return dict(self.figures)

    def blocks(self) -> list[Block]:
        """What it was measured on, a row for each case, and the marks."""
        return _blocks(self.figures)


def _blocks(result: Mapping[str, Any]) -> list[Block]:
    head = ("case", "x real time", "least-most", "row 1", "CPU %", "GPU %", "GB", "text", "")
    rows: list[list[Cell]] = []
    for case in result["cases"].values():
        speed, ratio = case["x_real_time"], case["against_first_row"]
        difference = case["text_difference"]
        rows.append(
            [
                case["title"],
                _figure(speed, ".1f"),
                _range(speed, ".1f"),
                _figure(ratio, ".2f"),
                _figure(case["cpu_percent"], ".0f"),
                _figure(case["gpu_percent"], ".0f") if case["gpu_percent"] else "null",
                _figure(case["peak_memory_mb"], ".1f", 1 / 1024),
                "" if difference is None else f"{100 * difference:.1f} %",
                (case["error"], "bad") if case["error"] else ", ".join(_notes(case)),
            ]
        )
    options = result["options"]
    facts = (
        f"{result['cpu']}, {result['cores']} cores, {result['date']}; model {options['model']}, "
        f"{options['device']}; {result['utterances']} utterances, {result['audio_s']:.0f} s, "
        f"{options['container']}; {options['repeat']} repetitions in turn, medians."
    )
    blocks: list[Block] = [Said(facts), Grid(head, rows, "lrrrrrrrl")]
    marks: list[list[Cell]] = []
    for mark in result["marks"]:
        wanted = f">= {mark['at_least']:g}" if "at_least" in mark else f"<= {mark['at_most']:g}"
        spread = mark["measured"]
        measured = _figure(spread, ".3f") or "not measured"
        marks.append([mark["mark"], measured, _range(spread, ".3f"), wanted])
    if marks:
        blocks.append(Grid(("mark", "measured", "least-most", "wanted"), marks, "lrrl"))
    return blocks


def _notes(case: Mapping[str, Any]) -> list[str]:
    told = case["results"][-1] if case["results"] else {}
    notes = [f"{name}={told[name]}" for name in ("precision", "actors", "ncpu") if name in told]
    notes += [f"{k}={v}" for k, v in case["options"].items() if k.startswith("batch_size")]
    if "cpu_ms_per_row" in told:
        notes.append(f"{told['cpu_ms_per_row']:.3f} ms of CPU a row")
    return notes

"""A run's speed beside others: its baseline's, and what a benchmark measured.

Owns what is compared, and how the two files are read. Must not know markup, Ray or the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray_asr.results import report_words as words
from ray_asr.results.report_data import Recorded, number

_ARTICLE = "article-"


@dataclass(frozen=True, slots=True)
class Bar:
    """One speed.

    Attributes:
        label: of what.
        value: times real time, in words.
        share: of the fastest in the list, 0 to 100.
        kind: `run`, `article` or `other`.
        more: its other figures, by the name of a column.
    """

    label: str
    value: str
    share: float
    kind: str = "other"
    more: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some speeds and where they come from.

    Attributes:
        bars: in the order of the list.
        source: a sentence: of what machine, model and day the others are.
        warning: what makes them no equals; "" for nothing.
    """

    bars: tuple[Bar, ...]
    source: str
    warning: str = ""


def with_baseline(recorded: Recorded, baseline: Mapping[str, Any] | None) -> Comparison | None:
    """The run beside what the tuner measured; None without either.

    Args:
        recorded: the run.
        baseline: the tree of a `baseline.json`, with `best`, the fastest of its entries, and
            `steady_best`, what that is expected to reach in a long job.
    """
    speed = number(recorded.summary.get("rtfx"))
    if baseline is None or not speed:
        return None
    found: list[tuple[str, float, str]] = [("this run", speed, "run")]
    best, entries = _mapping(baseline.get("best")), baseline.get("entries")
    steady = number(baseline.get("steady_best"))
    if steady:
        found.append(("baseline's best, in a long job", steady, "other"))
    measured = number(best.get("x_real_time"))
    if measured:
        found.append(("baseline's best, as measured", measured, "other"))
    for entry in entries if isinstance(entries, list) else []:
        default = number(_mapping(entry).get("x_real_time"))
        if _mapping(entry).get("is_default") and default:
            found.append(("settings without a baseline", default, "other"))
    hardware, models = _mapping(baseline.get("hardware")), _mapping(baseline.get("models"))
    cpu, cores, nodes = (hardware.get(name) for name in ("cpu", "cores", "nodes"))
    source = (
        f"Measured {baseline.get('date')} on {nodes} node(s), {cores} cores that compute, {cpu}; "
        f"model {models.get('model')}; best setting: {best.get('actors')} actor(s) of "
        f"{best.get('ncpu')} core(s), batches of {best.get('batch_size_s')} s, "
        f"{best.get('precision')}."
    )
    warning, model = "", recorded.summary.get("model_id")
    if model and models.get("model") not in (None, model):
        warning = (
            f"The baseline is of another model ({models.get('model')}) than the run ({model})."
        )
    return Comparison(_bars(found), source, warning)


def with_bench(bench: Mapping[str, Any] | None) -> Comparison | None:
    """The article's rows, peers and our own on the same audio; None without a benchmark."""
    cases = _mapping(bench).get("cases")
    if bench is None or not isinstance(cases, Mapping):
        return None
    found: list[tuple[str, float, str]] = []
    more: list[tuple[tuple[str, str], ...]] = []
    for name, case in cases.items():
        case = _mapping(case)
        speed = number(_mapping(case.get("x_real_time")).get("median"))
        if speed is None:
            continue
        kind = "article" if str(name).startswith(_ARTICLE) else "other"
        kind = "run" if str(name).startswith("ours") else kind
        found.append((str(case.get("title") or name), speed, kind))
        spread, ratio = _mapping(case.get("x_real_time")), _mapping(case.get("against_first_row"))
        least, most = number(spread.get("least")), number(spread.get("most"))
        row = number(ratio.get("median"))
        cpu, gpu = (
            number(_mapping(case.get(column)).get("median"))
            for column in ("cpu_percent", "gpu_percent")
        )
        known = least is not None and most is not None
        more.append(
            (
                ("least to most", f"{least:.1f} to {most:.1f}" if known else ""),
                ("against row 1", "" if row is None else words.times(row)),
                ("CPU", "" if cpu is None else f"{cpu:.0f} %"),
                ("GPU", "" if gpu is None else f"{gpu:.0f} %"),
            )
        )  # fmt: skip
    if not found:
        return None
    told = {name for others in more for name, value in others if value}
    more = [tuple(one for one in others if one[0] in told) for others in more]
    options = _mapping(bench.get("options"))
    audio_s = number(bench.get("audio_s"))
    source = (
        f"Measured {bench.get('date')} on {bench.get('cpu')}, {bench.get('cores')} cores, "
        f"{options.get('device')}; model {options.get('model')}; "
        f"{'' if audio_s is None else words.audio(audio_s)} of audio, medians of "
        f"{options.get('repeat')} repetitions in turn."
    )
    return Comparison(_bars(found, more), source)


def _bars(
    speeds: list[tuple[str, float, str]], more: list[tuple[tuple[str, str], ...]] | None = None
) -> tuple[Bar, ...]:
    fastest = max(speed for _, speed, _ in speeds) or 1.0
    columns = more or [()] * len(speeds)
    return tuple(
        Bar(label, words.times(speed), 100 * speed / fastest, kind, others)
        for (label, speed, kind), others in zip(speeds, columns, strict=True)
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

"""What a report says of a run, section by section, as plain values for the page.

Owns the choice of figures and their wording. Must not know markup, files, Ray or the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ray_asr.results import report_words as words
from ray_asr.results.report_data import Recorded, number
from ray_asr.results.report_plots import Mark
from ray_asr.results.report_rows import RowFacts
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK

_MOST_DECISIONS = 40

# The plan's numbers in the order of a reader's questions, and the unit of each.
_PLAN = {
    "cores": ("Cores of the cluster", "{:g}"),
    "recognize": ("Recognizing actors", ""),
    "ncpu": ("Compute threads of an actor", "{:g}"),
    "num_cpus": ("Ray's CPUs for an actor", "{:g}"),
    "num_gpus": ("GPUs of an actor", "{:.4g}"),
    "stages": ("Stages", ""),
    "detect": ("Detecting actors", ""),
    "punctuate": ("Punctuating actors", ""),
    "autoscale": ("Number of actors changes", ""),
    "batch_size_s": ("Batch at the start", "{:g} s"),
    "least_batch_s": ("Smallest batch", "{:g} s"),
    "most_batch_s": ("Largest batch", "{:g} s"),
    "precision": ("Precision", ""),
    "reserve_cores": ("Cores kept free", "{:g}"),
    "pin_cores": ("Actors have cores of their own", ""),
    "object_store_gb": ("Audio on its way", "{:.2f} GB"),
    "load_s": ("Loading of an actor", "{:.1f} s"),
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure in large, and what it is."""

    label: str
    value: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One change of the number of actors, or of the size of batches.

    Attributes:
        label: its number, which the plots have too.
        at: when, from the run's begin.
        what: in a few words.
        why: the reason.
    """

    label: str
    at: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took of the machines, and what that cost; "" where there is no price."""

    rows: tuple[tuple[str, str], ...]
    total: str = ""
    an_hour: str = ""
    amount: float | None = None


def headline(recorded: Recorded) -> str:
    """What was done, in one line."""
    summary = recorded.summary
    audio_s, wall_s = number(summary.get("audio_s")), number(summary.get("wall_s"))
    if not summary or audio_s is None or wall_s is None:
        return "A run without an end"
    if not number(summary.get("rows_out")):
        return "Nothing was left to do"
    return f"{words.audio(audio_s)} of audio in {words.took(wall_s)}"


def verdict(recorded: Recorded) -> tuple[str, str]:
    """How it went: `good`, `fair` or `bad`, and a few words."""
    summary = recorded.summary
    if not summary:
        return "bad", "no summary: it goes on, or was ended before its end"
    rows_in, out = number(summary.get("rows_in")) or 0, number(summary.get("rows_out")) or 0
    before, failed = (number(summary.get(n)) or 0 for n in ("rows_resumed", "rows_failed"))
    if out + before < rows_in:
        left = rows_in - out - before
        return "bad", f"ended early: {words.count(left)} rows are not done"
    if failed:
        return "fair", f"every row is done; {words.count(failed)} of them failed"
    return "good", "every row is done, none failed"


def tiles(recorded: Recorded, cost: Cost) -> list[Tile]:
    """The figures that are looked for first."""
    summary = recorded.summary

    def of(name: str) -> float | None:
        return number(summary.get(name))

    found: list[Tile] = []
    out, rows_in, before = of("rows_out"), of("rows_in"), of("rows_resumed")
    if out is not None and rows_in is not None:
        below = f"of {words.count(rows_in)} in the input"
        below += f", {words.count(before)} done before" if before else ""
        found.append(Tile("Rows", words.count(out), below))
    if not out:
        return found
    rtfx, audio_s, wall_s = of("rtfx"), of("audio_s"), of("wall_s")
    if rtfx:
        found.append(Tile("Speed", words.times(rtfx), f"real-time factor {1 / rtfx:.2g}"))
    if audio_s is not None and out:
        mean = f"{words.took(audio_s / out)} a row in the mean"
        found.append(Tile("Audio", words.brief_audio(audio_s), mean))
    if wall_s is not None:
        began = _moment(recorded)
        found.append(Tile("Time", words.took(wall_s), f"from {began}" if began else ""))
    for name, label, below in (
        ("cpu_percent_mean", "CPU", "of all cores, in the mean"),
        ("gpu_percent_mean", "GPU", "in the mean"),
    ):
        share = of(name)
        if share is not None:
            found.append(Tile(label, f"{share:.0f} %", below))
    actors, ncpu = of("actors_max"), of("ncpu")
    if actors:
        each = f"at most, {ncpu:g} core(s) each" if ncpu else "at most"
        found.append(Tile("Actors", words.count(actors), each))
    padded_s, speech_s = (number(recorded.chunks.get(n)) for n in ("padded_s", "speech_s"))
    if padded_s and speech_s is not None:
        waste = max(0.0, 1 - speech_s / padded_s)
        found.append(Tile("Padding", words.percent(waste), "of what batches computed"))
    if cost.total:
        found.append(Tile("Cost", cost.total, f"{cost.an_hour} an hour of audio"))
    return found


def what_ran(recorded: Recorded, output: str) -> list[tuple[str, str]]:
    """Input, output, models, and how it was computed."""
    engine = recorded.settings.get("engine")
    engine = engine if isinstance(engine, Mapping) else {}
    summary, run = recorded.summary, recorded.run
    versions = run.get("versions")
    shown = ""
    if isinstance(versions, Mapping):
        shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    batch_s = number(summary.get("batch_size_s"))
    facts = [
        ("Input", run.get("source")),
        ("Output", output),
        ("Model", summary.get("model_id") or engine.get("model")),
        ("Voice activity", engine.get("vad_model")),
        ("Punctuation", engine.get("punc_model")),
        ("Speakers", engine.get("spk_model")),
        ("Language", engine.get("language")),
        ("Hotwords", engine.get("hotword")),
        ("Device", engine.get("device")),
        ("Precision", summary.get("precision")),
        ("Batches at the end", f"{batch_s:g} padded seconds" if batch_s else ""),
        ("Began", _moment(recorded)),
        ("Started on", run.get("host")),
        ("Run", recorded.run_id),
        ("Settings' fingerprint", run.get("config_fingerprint")),
        ("Versions", shown),
    ]
    return [(name, str(value)) for name, value in facts if value not in (None, "")]


def plan_rows(recorded: Recorded) -> list[tuple[str, str, str]]:
    """Each number of the plan, and why."""
    plan = recorded.plan
    reasons = plan.get("reasons")
    reasons = reasons if isinstance(reasons, Mapping) else {}
    rows: list[tuple[str, str, str]] = []
    for name, (label, form) in _PLAN.items():
        if name in plan:
            rows.append((label, _value(plan[name], form), str(reasons.get(name, ""))))
    return rows


def _value(value: Any, form: str) -> str:
    if isinstance(value, Mapping):  # of a pool: how many at the start, at least, at most
        start, least, most = (number(value.get(n)) or 0 for n in ("start", "least", "most"))
        return f"{start:g}" if start == least == most else f"{start:g} ({least:g} to {most:g})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    figure = number(value)
    if figure is None:
        return "not known" if value is None else str(value)
    return form.format(figure) if form else f"{figure:g}"


def _moment(recorded: Recorded) -> str:
    """When the run began."""
    return str(recorded.run.get("began", "")).replace("T", " ").replace("Z", " UTC")


def warnings(recorded: Recorded) -> list[str]:
    """What the plan wanted looked at."""
    found = recorded.plan.get("warnings")
    return [str(one) for one in found] if isinstance(found, list) else []


def targets(recorded: Recorded) -> list[tuple[float, float]]:
    """How many actors were wanted, from which moment on."""
    found = [(number(m.get("time_s")), number(m.get("target"))) for m in recorded.scaling]
    return [(max(0.0, at_s), to) for at_s, to in found if at_s is not None and to is not None]


def decisions(recorded: Recorded) -> tuple[list[Decision], list[Mark], int]:
    """Changes with their reasons; the same as marks of the plots; how many more there are."""
    found: list[tuple[float, str, str]] = []
    before: float | None = None
    for moment in recorded.scaling:
        at_s, target = number(moment.get("time_s")), number(moment.get("target"))
        if at_s is None or target is None or target == before:
            continue
        what = f"{target:g} actor(s)" if before is None else f"{before:g} → {target:g} actors"
        found.append((at_s, what, str(moment.get("reason", ""))))
        before = target
    found += _batch_sizes(recorded)
    found.sort(key=lambda one: one[0])
    kept = found[:_MOST_DECISIONS]
    shown = [
        Decision(str(n), words.clock(at_s), what, why)
        for n, (at_s, what, why) in enumerate(kept, 1)
    ]
    marks = [
        Mark(max(0.0, at_s), one.label, f"{one.label}: {what}, {why}")
        for one, (at_s, what, why) in zip(shown, kept, strict=True)
    ]
    return shown, marks, len(found) - len(kept)


def _batch_sizes(recorded: Recorded) -> list[tuple[float, str, str]]:
    """The sizes of batches as they were met: a larger one is kept where a trial was faster."""
    sizes = recorded.chunks.get("batch_sizes")
    met: list[tuple[float, float]] = []
    for size in sizes if isinstance(sizes, list) else []:
        if isinstance(size, Mapping):
            at_s, batch_s = number(size.get("time_s")), number(size.get("batch_size_s"))
            if at_s is not None and batch_s is not None:
                met.append((at_s, batch_s))
    changes: list[tuple[float, str, str]] = []
    for (_, old), (at_s, new) in pairwise(met):
        why = "a trial with more was faster" if new > old else "memory was short"
        changes.append((at_s, f"batches of {old:g} → {new:g} s in an actor", why))
    return changes


def row_counts(recorded: Recorded, facts: RowFacts | None) -> list[tuple[str, str, float]]:
    """For each status its rows: the key, the label, the count."""
    by_status = facts.by_status if facts else {}
    if not by_status:
        names = {STATUS_OK: "rows_ok", STATUS_NO_SPEECH: "rows_no_speech",
                 STATUS_FAILED: "rows_failed"}  # fmt: skip
        by_status = {s: int(number(recorded.summary.get(n)) or 0) for s, n in names.items()}
    labels = {STATUS_OK: "transcribed", STATUS_NO_SPEECH: "without speech", STATUS_FAILED: "failed"}
    return [(status, label, by_status.get(status, 0)) for status, label in labels.items()]


def cost_of(recorded: Recorded, cpu_price: float | None, gpu_price: float | None) -> Cost:
    """Cores and GPUs for the time of the run, at a price for an hour of one."""
    summary, plan = recorded.summary, recorded.plan
    wall_s, audio_s = number(summary.get("wall_s")), number(summary.get("audio_s"))
    cores = number(plan.get("cores"))
    if not wall_s or cores is None:
        return Cost(())
    hours = wall_s / 3600
    gpus = (number(plan.get("num_gpus")) or 0.0) * (number(summary.get("actors_max")) or 0.0)
    rows = [("Core-hours", f"{cores * hours:.4g} ({cores:g} cores for {words.took(wall_s)})")]
    if gpus:
        rows.append(("GPU-hours", f"{gpus * hours:.4g} ({gpus:g} GPUs for {words.took(wall_s)})"))
    if audio_s:
        each = cores * hours / (audio_s / 3600)
        rows.append(("Core-hours an hour of audio", f"{each:.3g}"))
    if cpu_price is None and gpu_price is None:
        return Cost(tuple(rows))
    amount = hours * (cores * (cpu_price or 0.0) + gpus * (gpu_price or 0.0))
    if cpu_price is not None:
        rows.append(("Price of a core for an hour", words.money(cpu_price)))
    if gpu_price is not None:
        rows.append(("Price of a GPU for an hour", words.money(gpu_price)))
    an_hour = words.money(amount / (audio_s / 3600)) if audio_s else ""
    rows.append(("Cost of the run", words.money(amount)))
    if an_hour:
        rows.append(("Cost of an hour of audio", an_hour))
    return Cost(tuple(rows), words.money(amount), an_hour, amount)


def shares(counts: Sequence[float]) -> list[float]:
    """Each of them as a percentage of all."""
    whole = sum(counts)
    return [100 * each / whole if whole else 0.0 for each in counts]

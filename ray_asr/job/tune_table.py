"""What a run of the tuner says: a baseline as a table, or how it was held against one.

Owns its columns. Must not know how anything was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray_asr.blocks import Block, Facts, Grid, Said
from ray_asr.control.baseline import Baseline, Entry
from ray_asr.shown import Shown

_HEAD = (
    "actors", "ncpu", "batch s", "precision", "stages", "CPU %", "GPU %", "GB", "x real time",
    "least-most", "default", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TuneResult(Shown):
    """What a run of the tuner says.

    Attributes:
        baseline: what was measured, or with `check` what it was held against.
        out: the baseline's file.
        checked: with `check`: how fast the best setting is now.
        slower: with `check`: it has become slower than the tolerance allows.
    """

    baseline: Baseline
    out: str
    checked: str = ""
    slower: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "out": self.out,
            "checked": self.checked,
            "slower": self.slower,
            "baseline": self.baseline.to_dict(),
        }

    def blocks(self) -> list[Block]:
        """The settings, the fastest first; or what became of the best."""
        if self.checked:
            return [Said(self.checked, "bad" if self.slower else "plain")]
        use = f"--set control.baseline={self.out}"
        return [
            *tune_blocks(self.baseline),
            Facts([("written", self.out), ("to use it", use)]),
        ]


def tune_blocks(baseline: Baseline) -> list[Block]:
    """Every setting, the fastest first, its speed against the default, the best marked."""
    default = baseline.default()
    best = baseline.best()
    entries = sorted(baseline.entries, key=lambda e: (-e.sample_s, -e.x_real_time))
    hardware, sample = baseline.hardware, baseline.sample
    gpus = f", {', '.join(hardware.gpus)}" if hardware.gpus else ""
    facts = (
        f"{hardware.cpu}, {hardware.cores} cores on {hardware.nodes} node(s){gpus}, "
        f"{baseline.date}; model {baseline.models.model}; {sample.utterances} utterances, "
        f"{sample.audio_s:.0f} s; medians of repetitions in turn."
    )
    rows = [_line(entry, default, entry is best) for entry in entries]
    return [Said(facts), Grid(_HEAD, rows, "r" * (len(_HEAD) - 1) + "l")]


def _line(entry: Entry, default: Entry | None, is_best: bool) -> tuple[str, ...]:
    # Speeds on samples of different lengths say nothing of each other.
    same = default is not None and abs(entry.sample_s - default.sample_s) < 0.5
    ratio = ""
    if default is not None and same and default.x_real_time > 0 and entry.x_real_time > 0:
        ratio = f"{entry.x_real_time / default.x_real_time:.2f}"
    notes = [note for note, holds in (("best", is_best), ("default", entry.is_default)) if holds]
    if entry.error:
        notes.append(entry.error)
    elif not same and default is not None:
        notes.append(f"out on {entry.sample_s:.0f} s")
    measured = entry.x_real_time > 0
    return (
        str(entry.actors),
        str(entry.ncpu),
        f"{entry.batch_size_s:g}",
        entry.precision,
        entry.stages,
        _figure(entry.cpu_percent, ".0f"),
        _figure(entry.gpu_percent, ".0f") or "null",
        _figure(entry.memory_gb, ".1f"),
        f"{entry.x_real_time:.1f}" if measured else "",
        f"{entry.x_least:.1f}-{entry.x_most:.1f}" if measured else "",
        ratio,
        ", ".join(notes),
    )


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def check_line(best: Entry, speed: float, tolerance: float) -> str:
    """A setting's speed now and then, and whether that is within the tolerance."""
    change = speed / best.x_real_time - 1
    verdict = "slower than allowed" if change < -tolerance else "within the tolerance"
    return (
        f"{best.actors} actors with {best.ncpu} cores, {best.batch_size_s:g} s, {best.precision}, "
        f"{best.stages}: {speed:.1f}x real time now, {best.x_real_time:.1f}x in the baseline "
        f"({100 * change:+.0f} %): {verdict} ({100 * tolerance:.0f} %)."
    )

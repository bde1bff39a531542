"""The demonstration: embedded speech through the whole job, scored and shown.

Owns what the demo runs and its table. Must not know how any step works.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from ray_asr.blocks import Block, Cell, Facts
from ray_asr.config import Config, with_settings
from ray_asr.corpus.pack import pack
from ray_asr.demo import DEMO, speech_folder
from ray_asr.job.pipeline import connect, transcribe_path
from ray_asr.job.summary import RunSummary
from ray_asr.results.report_data import REPORT, RUNS
from ray_asr.results.score import ErrorCounts, Score, score
from ray_asr.shown import Shown

_SHOWN = 6


@dataclass(frozen=True, slots=True)
class DemoResult(Shown):
    """What the demonstration came to.

    Attributes:
        run: the job.
        score: of its transcripts.
        formats: recordings of each container or codec.
        samples: some rows, each with `utterance_id`, `format`, `reference_text` and `text`.
        report: the page to open; "" where none was kept.
    """

    run: RunSummary
    score: Score
    formats: Mapping[str, int]
    samples: Sequence[Mapping[str, str]]
    report: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "run": self.run.to_dict(),
            "score": self.score.to_dict(),
            "formats": dict(self.formats),
            "samples": [dict(row) for row in self.samples],
            "report": self.report,
        }

    def blocks(self) -> list[Block]:
        """The facts, then some of what was said and what was heard."""
        run, score = self.run, self.score
        cpu = "" if run.cpu_percent_mean is None else f"{run.cpu_percent_mean:.0f} %"
        facts: list[tuple[str, Cell]] = [
            ("files", f"{run.rows_in}"),
            ("formats", ", ".join(f"{name} {count}" for name, count in self.formats.items())),
            ("audio", f"{run.audio_s:.0f} s"),
            ("WER", _percent(score.wer)),
            *(
                (f"  {name}", f"{_percent(group.wer)} of {group.wer.reference_units} words")
                for name, group in sorted(score.groups["set"].items())
            ),
            ("speed", f"{run.rtfx:.1f}x real time, real-time factor {1 / max(run.rtfx, 1e-9):.4f}"),
            ("CPU use", cpu),
            ("actors", f"{run.actors_max} with {run.ncpu} core(s) each"),
        ]
        samples = [
            Facts(
                [
                    ("recording", f"{row['utterance_id']} ({row['format']})"),
                    ("said", row["reference_text"]),
                    ("transcribed", row["text"]),
                ]
            )
            for row in self.samples
        ]
        report = self.report or "none is kept: --output FOLDER keeps it, and the transcripts"
        return [Facts(facts), *samples, Facts([("report", report)])]


def run_demo(output: str | None, address: str | None) -> DemoResult:
    """Pack the embedded speech, transcribe it with the embedded models, score it.

    With a folder it is the whole job again each time, on shards that are packed once.

    Args:
        output: a folder to keep shards, transcripts and the report in; None for a temporary one.
        address: the Ray cluster (see `pipeline.connect`).
    """
    with tempfile.TemporaryDirectory(prefix="ray_asr_demo_") as temporary:
        root = Path(output or temporary)
        shards, transcripts = root / "shards", root / "transcripts"
        if not shards.exists():
            packing = root / "packing"  # it has its name once it is whole
            shutil.rmtree(packing, ignore_errors=True)
            manifest = speech_folder() / "manifest.jsonl"
            pack(str(manifest), str(packing), shard_mb=4.0, connect=lambda: connect(address))
            packing.rename(shards)
        config = with_settings(
            Config(), {"model": DEMO, "vad_model": DEMO, "punc_model": DEMO, "language": "en"}
        )
        run = transcribe_path(str(shards), str(transcripts), config, address, restart=True)
        result = score(str(transcripts), by=("set", "format"))
        parts = ds.dataset(str(transcripts), format="parquet", exclude_invalid_files=False)
        table = parts.to_table(columns=["utterance_id", "set", "format", "text", "reference_text"])
        rows = table.to_pylist()
        report = _kept(transcripts / RUNS / run.run_id / REPORT, root) if output else ""
    formats = Counter(sorted(row["format"] for row in rows))
    return DemoResult(run, result, formats, _samples(rows), report)


def _kept(report: Path, root: Path) -> str:
    """The report where it is easily found; "" where none was written."""
    if not report.exists():
        return ""
    shutil.copyfile(report, root / REPORT)
    return str(root / REPORT)


def _percent(counts: ErrorCounts) -> str:
    return f"{100 * counts.rate:.1f} %"


def _samples(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Some of the short recordings, from all over the list."""
    short = sorted((row for row in rows if row["set"] != "long"), key=lambda r: r["utterance_id"])
    step = max(1, len(short) // _SHOWN)
    return short[step // 2 :: step][:_SHOWN]

"""The demonstration: embedded speech through the whole job, scored and shown.

Owns what the demo runs and its table. Must not know how any step works.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.dataset as ds

from ray_asr.config import Config, with_settings
from ray_asr.corpus.pack import pack
from ray_asr.demo import DEMO, speech_folder
from ray_asr.job.pipeline import connect, transcribe_path
from ray_asr.job.summary import RunSummary
from ray_asr.results.score import ErrorCounts, Score, score

_SHOWN = 6


def run_demo(output: str | None, address: str | None) -> str:
    """Pack the embedded speech, transcribe it with the embedded models, score it.

    Args:
        output: a folder to keep shards and transcripts in; None for a temporary one.
        address: the Ray cluster (see `pipeline.connect`).

    Returns:
        The tables and transcripts to show.
    """
    with tempfile.TemporaryDirectory(prefix="ray_asr_demo_") as temporary:
        root = Path(output or temporary)
        shards, transcripts = root / "shards", root / "transcripts"
        if not shards.exists():
            manifest = speech_folder() / "manifest.jsonl"
            pack(str(manifest), str(shards), shard_mb=4.0, connect=lambda: connect(address))
        config = with_settings(
            Config(), {"model": DEMO, "vad_model": DEMO, "punc_model": DEMO, "language": "en"}
        )
        run = transcribe_path(str(shards), str(transcripts), config, address)
        result = score(str(transcripts), by=("set", "format"))
        rows = ds.dataset(str(transcripts), format="parquet", exclude_invalid_files=False)
        table = rows.to_table(columns=["utterance_id", "set", "format", "text", "reference_text"])
        shown = _tables(run, result, table.to_pylist())
    return shown


def _percent(counts: ErrorCounts) -> str:
    return f"{100 * counts.rate:.1f} %"


def _tables(run: RunSummary, result: Score, rows: Sequence[dict[str, str]]) -> str:
    formats = Counter(row["format"] for row in rows)
    cpu = "" if run.cpu_percent_mean is None else f"{run.cpu_percent_mean:.0f} %"
    facts = [
        ("files", f"{len(rows)}"),
        ("formats", ", ".join(f"{name} {count}" for name, count in sorted(formats.items()))),
        ("audio", f"{run.audio_s:.0f} s"),
        ("WER", _percent(result.wer)),
        *(
            (f"  {name}", f"{_percent(group.wer)} of {group.wer.reference_units} words")
            for name, group in sorted(result.groups["set"].items())
        ),
        ("speed", f"{run.rtfx:.1f}x real time, real-time factor {1 / max(run.rtfx, 1e-9):.4f}"),
        ("CPU use", cpu),
        ("actors", f"{run.actors_max} with {run.ncpu} core(s) each"),
    ]
    lines = [f"{name:<16}{value}" for name, value in facts]
    samples = sorted((row for row in rows if row["set"] != "long"), key=lambda r: r["utterance_id"])
    step = max(1, len(samples) // _SHOWN)
    for row in samples[step // 2 :: step][:_SHOWN]:
        lines += ["", f"{row['utterance_id']} ({row['format']})"]
        lines += [f"  said        {row['reference_text']}", f"  transcribed {row['text']}"]
    return "\n".join(lines)

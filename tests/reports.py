"""Outputs with recorded runs, made on the spot without Ray, and a page as a browser has it."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.config import Config, with_settings
from ray_asr.control.monitor import SAMPLES_SCHEMA
from ray_asr.job.chunk_work import ChunkSums, Work
from ray_asr.job.summary import RunSummary, begin_run, write_run
from ray_asr.schema import Transcript, transcripts_to_table
from tests.fakes import PROVENANCE, planned

RUN_ID = "20261129T060000-abcdef"
SCALING = [
    {"time_s": 0.5, "target": 2, "running": 0, "loading": 2, "reason": "as many as there is room"},
    {"time_s": 12.0, "target": 2, "running": 2, "loading": 0, "reason": "as many as there is room"},
    {"time_s": 31.0, "target": 1, "running": 2, "loading": 0, "reason": "one & <two> cost less"},
]
# Elements that HTML closes by itself.
_VOID = {"meta", "link", "br", "img", "input", "path", "use", "rect"}


def summary_of(output: str, run_id: str = RUN_ID, **changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "run_id": run_id, "output": output, "rows_in": 40, "rows_out": 40, "rows_ok": 30,
        "rows_no_speech": 6, "rows_failed": 4, "rows_resumed": 0, "audio_s": 3600.0, "wall_s": 60.0,
        "rtfx": 60.0, "cpu_percent_mean": 91.5, "gpu_percent_mean": None, "actors_max": 2,
        "ncpu": 1, "precision": "int8", "batch_size_s": 42.0, "model_id": "demo",
        "config_fingerprint": "0" * 12,
    }  # fmt: skip
    return RunSummary(**{**values, **changes})


def samples(seconds: int = 60, nodes: int = 1, gpu: bool = False) -> pa.Table:
    """A sample a second of each node."""
    rows = [
        {
            "time_s": second + 0.9,
            "node": f"node{node}",
            "cpu_percent": 80.0 + 10 * np.sin(second + node),
            "actors_cpu_percent": 70.0,
            "actors": 2,
            "busy_share": 0.9,
            "load_1m": 2.0,
            "memory_share": 0.4,
            "gpu_percent": 60.0 if gpu else None,
            "gpu_memory_share": 0.5 if gpu else None,
            "core_groups": [],
            "actors_busy": [],
            "running": 2 if second > 10 else 0,
            "loading": 0 if second > 10 else 2,
            "queued": 3,
            "in_flight": 4,
            "rows": 40 * second // seconds,
            "audio_s": 60.0 * second,
            "left_s": None if second < 3 else float(seconds - second),
            "batch_size_s": 30.0 if second < 40 else 42.0,
            "padded_s": 66.0 * second,
            "speech_s": 60.0 * second,
            "work_s": 2.0 * second,
        }
        for second in range(seconds)
        for node in range(nodes)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES_SCHEMA)


def chunks() -> ChunkSums:
    """Twenty chunks, the last ten with larger batches."""
    moments = iter(np.arange(100.0))
    sums = ChunkSums(clock=lambda: float(next(moments)))
    for number in range(20):
        work = Work(work_s=1.0 + 0.1 * number, speech_s=50.0, padded_s=52.0 + number / 2)
        table = work.in_metadata(pa.table({"duration_ms": pa.array([30_000, 30_000])}))
        sums.add(table, 30.0 if number < 10 else 42.0)
    return sums


def record_run(
    filesystem: pafs.FileSystem,
    folder: str,
    run: RunSummary | None = None,
    *,
    source: str = "shards",
    config: Config | None = None,
    seconds: int = 60,
    nodes: int = 1,
    gpu: bool = False,
) -> RunSummary:
    """Everything that a run records."""
    run = run or summary_of(folder)
    config = config or with_settings(Config(), {"model": "demo", "batch_size_s": 30})
    begin_run(filesystem, folder, run.run_id, config, source)
    write_run(
        filesystem,
        folder,
        run,
        planned(config).to_dict(),
        SCALING,
        samples(seconds, nodes, gpu),
        chunks().to_dict(),
    )
    return run


def write_rows(
    output: Path, transcripts: Sequence[Transcript], name: str = "part-a.parquet"
) -> Path:
    """A part of these rows, each with its text as reference too."""
    output.mkdir(parents=True, exist_ok=True)
    table = transcripts_to_table(transcripts, PROVENANCE)
    table = table.append_column("reference_text", table.column("text"))
    pq.write_table(table, output / name, row_group_size=64)
    return output


class Page(HTMLParser):
    """What a page holds: its text, its elements, what they point to."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is read, styles left out."""
        return " ".join(" ".join(self.texts).split())

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each such element."""
        return [attributes for name, attributes in self.elements if name == tag]

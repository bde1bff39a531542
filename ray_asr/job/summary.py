"""What a run says of itself: its settings from the start, its numbers at the end, both on disk.

Owns the summary's fields and the folders `_runs/<run_id>/`. Must not know how a run is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import yaml

from ray_asr.blocks import Block, Cell, Facts
from ray_asr.config import Config, fingerprint, to_dict
from ray_asr.corpus.storage import write_whole
from ray_asr.redaction import redacted, redacted_settings
from ray_asr.shown import Shown
from ray_asr.yaml_text import parse_yaml

_PACKAGES = ("ray_asr", "ray", "funasr", "torch", "pyarrow")


@dataclass(frozen=True, slots=True)
class RunSummary(Shown):
    """One run of `transcribe` on one output.

    Attributes:
        rows_in: rows of the input; `rows_resumed` of them were done by earlier runs.
        rows_out: rows written by this run: `rows_ok`, `rows_no_speech` and `rows_failed`.
        audio_s: decoded audio of this run, in seconds.
        wall_s: from the first task to the last part written, in seconds.
        rtfx: audio over wall time.
        cpu_percent_mean: of the cores that processes may use, over all nodes; None where the run
            was too short for a sample.
        gpu_percent_mean: None without a GPU.
    """

    run_id: str
    output: str
    rows_in: int
    rows_out: int
    rows_ok: int
    rows_no_speech: int
    rows_failed: int
    rows_resumed: int
    audio_s: float
    wall_s: float
    rtfx: float
    cpu_percent_mean: float | None
    gpu_percent_mean: float | None
    actors_max: int
    ncpu: int
    precision: str
    batch_size_s: float
    model_id: str
    config_fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON; what `summary.json` has."""
        return dataclasses.asdict(self)

    def blocks(self) -> list[Block]:
        """The run in a few facts."""
        return [Facts(self.facts())]

    def facts(self) -> list[tuple[str, Cell]]:
        """Names and values, as they are shown."""
        rows = f"{self.rows_in} in, {self.rows_out} written, {self.rows_resumed} done before"
        status = f"{self.rows_ok} ok, {self.rows_no_speech} no_speech, {self.rows_failed} failed"
        lines: list[tuple[str, Cell]] = [("rows", rows), ("output", self.output)]
        if self.rows_out:
            lines[1:1] = [
                ("status", (status, "warning") if self.rows_failed else status),
                ("audio", f"{self.audio_s / 3600:.3f} h in {self.wall_s:.1f} s"),
                ("speed", f"{self.rtfx:.1f}x real time"),
                ("actors", f"{self.actors_max} with {self.ncpu} cores each"),
            ]
        if self.cpu_percent_mean is not None:
            lines.insert(-1, ("CPU", f"{self.cpu_percent_mean:.0f} % of all cores"))
        return lines


def new_run_id() -> str:
    """A name for a run; later ones are greater, to the second."""
    return time.strftime("%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:6]


def begin_run(
    filesystem: pafs.FileSystem, folder: str, run_id: str, config: Config, source: str
) -> None:
    """Leave what a run sets out to do in `_runs/<run_id>/`: `config.yaml` and `run.json`."""
    run_folder = _run_folder(folder, run_id)
    filesystem.create_dir(run_folder, recursive=True)
    shown = redacted_settings(to_dict(config))
    settings = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    write_whole(filesystem, f"{run_folder}/config.yaml", settings.encode())
    record = {
        "run_id": run_id,
        "source": redacted(source),
        "config_fingerprint": fingerprint(config),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": platform.node(),
        "versions": _versions(),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    write_whole(filesystem, f"{run_folder}/run.json", text.encode())


def _versions() -> dict[str, str]:
    """Of Python and of the packages that decide what comes out and how fast."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What an earlier run was to do.

    Attributes:
        source: its input.
        settings: its `config.yaml`, as read.
    """

    source: str
    settings: dict[str, Any]


def latest_run(
    filesystem: pafs.FileSystem, folder: str, config_fingerprint: str
) -> RecordedRun | None:
    """The newest run of these settings that an output records; None where there is none."""
    runs = filesystem.get_file_info(pafs.FileSelector(f"{folder}/_runs", allow_not_found=True))
    for run in sorted(runs, key=lambda run: run.base_name, reverse=True):
        try:
            record = json.loads(_read(filesystem, f"{run.path}/run.json"))
            if record["config_fingerprint"] == config_fingerprint:
                settings = parse_yaml(_read(filesystem, f"{run.path}/config.yaml").decode())
                return RecordedRun(record["source"], settings)
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            continue  # of a version that recorded less, or cut short
    return None


def _run_folder(folder: str, run_id: str) -> str:
    return f"{folder}/_runs/{run_id}"


def _read(filesystem: pafs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as source:
        return source.read()


def write_run(
    filesystem: pafs.FileSystem,
    folder: str,
    run: RunSummary,
    plan: Mapping[str, Any] | None = None,
    scaling: Sequence[Mapping[str, Any]] = (),
    samples: pa.Table | None = None,
    chunks: Mapping[str, Any] | None = None,
) -> None:
    """Leave what became of a run in its folder.

    `summary.json`; `plan.json` with the reason for each number; `scaling.json`, every change in the
    number of actors, with its reason; `samples.parquet`, what the monitor saw; `chunks.json`, what
    chunks of rows took, and how much of it was padding.
    """
    run_folder = _run_folder(folder, run.run_id)
    filesystem.create_dir(run_folder, recursive=True)
    for name, values in (("plan", plan), ("scaling", list(scaling)), ("chunks", chunks)):
        if values:
            shown = redacted_settings(values)
            text = json.dumps(shown, indent=2, ensure_ascii=False, default=str)
            write_whole(filesystem, f"{run_folder}/{name}.json", text.encode())
    if samples is not None:
        sink = pa.BufferOutputStream()
        pq.write_table(samples, sink, compression="zstd")
        write_whole(filesystem, f"{run_folder}/samples.parquet", sink.getvalue())
    summary = json.dumps(run.to_dict(), indent=2, ensure_ascii=False)
    write_whole(filesystem, f"{run_folder}/summary.json", summary.encode())

"""What a run recorded of itself: its files in `_runs/<run_id>/`, and its samples over time.

Owns finding a run and reading its files with bounded memory, whatever state they are in: a run that
was killed has only some of them. Must not know how they are shown, Ray or the engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from ray_asr.errors import ConfigError, DataError
from ray_asr.redaction import redacted
from ray_asr.yaml_text import parse_yaml

RUNS = "_runs"
REPORT = "report.html"
_MOST_BYTES = 64 * 2**20  # of one of a run's JSON files
# Points of a curve: as many as a plot has room for.
_BINS = 240
_ROWS_AT_ONCE = 65_536
# What is sampled of nodes and of the run; older runs have fewer of these columns.
_NODE_COLUMNS = (
    "cpu_percent", "actors_cpu_percent", "memory_share", "gpu_percent", "gpu_memory_share",
)  # fmt: skip
_RUN_COLUMNS = (
    "running", "loading", "queued", "in_flight", "rows", "audio_s", "batch_size_s", "left_s",
)  # fmt: skip
_READ = ("time_s", *_NODE_COLUMNS, *_RUN_COLUMNS)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The files of one run; what is not there is empty.

    Attributes:
        run: `run.json`: source, host, when it began, versions.
        summary: `summary.json`; empty where the run did not end, or has not yet.
        plan: `plan.json`, and `scaling` and `chunks` likewise.
        settings: `config.yaml`, by section.
        notes: of files that cannot be read, a sentence each.
    """

    run_id: str
    run: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    scaling: Sequence[Mapping[str, Any]] = ()
    chunks: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure over the run: its mean in each bin of time, and its extremes; NaN without any."""

    mean: Floats
    least: Floats
    most: Floats


@dataclass(frozen=True, slots=True)
class Timeline:
    """The samples of a run, in bins of time.

    Attributes:
        time_s: the mean moment of each bin that has samples, from the run's begin.
        end_s: the last moment.
        curves: by the sampled column.
        nodes: that were sampled.
    """

    time_s: Floats
    end_s: float
    curves: Mapping[str, Curve]
    nodes: int

    def has(self, name: str) -> bool:
        """Whether a column was sampled at all."""
        return name in self.curves and bool(np.isfinite(self.curves[name].mean).any())


def find_run(filesystem: pafs.FileSystem, folder: str, run_id: str, shown: str) -> str:
    """The id of a run that an output records: `run_id`, or the newest that ended where that is "".

    Args:
        filesystem: where the output is.
        folder: the output.
        run_id: as its folder is called.
        shown: what messages call the output.

    Raises:
        DataError: no run is recorded.
        ConfigError: there is no such run.
    """
    try:
        listing = filesystem.get_file_info(
            pafs.FileSelector(f"{folder}/{RUNS}", allow_not_found=True)
        )
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {shown}: {redacted(str(error))}; check the path") from None
    runs = sorted(info.base_name for info in listing if info.type == pafs.FileType.Directory)
    if not runs:
        raise DataError(
            f"{shown} records no run in {RUNS}/: give the folder that `ray-asr transcribe` wrote to"
        )
    if run_id and run_id not in runs:
        some = ", ".join(runs[-5:])
        raise ConfigError(f'{shown} has no run "{run_id}"; the last ones are {some}.')
    if run_id:
        return run_id
    for candidate in reversed(runs):
        # The newest may be under way, or have had nothing to do.
        summary = _json(filesystem, f"{folder}/{RUNS}/{candidate}/summary.json", [])
        if isinstance(summary, Mapping) and number(summary.get("rows_out")):
            return candidate
    return runs[-1]


def read_run(filesystem: pafs.FileSystem, folder: str, run_id: str) -> Recorded:
    """What a run recorded; what cannot be read is left out and noted."""
    notes: list[str] = []
    where = f"{folder}/{RUNS}/{run_id}"

    def mapping(name: str) -> Mapping[str, Any]:
        value = _json(filesystem, f"{where}/{name}", notes)
        return value if isinstance(value, Mapping) else {}

    scaling = _json(filesystem, f"{where}/scaling.json", notes)
    moments = [m for m in scaling if isinstance(m, Mapping)] if isinstance(scaling, list) else []
    settings: Any = {}
    text = _read(filesystem, f"{where}/config.yaml", notes)
    try:
        settings = parse_yaml(text.decode()) if text else {}
    except ValueError:
        notes.append("config.yaml cannot be read.")
    return Recorded(
        run_id,
        run=mapping("run.json"),
        summary=mapping("summary.json"),
        plan=mapping("plan.json"),
        scaling=moments,
        chunks=mapping("chunks.json"),
        settings=settings if isinstance(settings, Mapping) else {},
        notes=tuple(notes),
    )


def _read(filesystem: pafs.FileSystem, path: str, notes: list[str]) -> bytes:
    """A small file; nothing where there is none, or where it cannot be read."""
    name = path.rpartition("/")[2]
    try:
        with filesystem.open_input_file(path) as source:
            if source.size() > _MOST_BYTES:
                notes.append(f"{name} is too large to be one of a run.")
                return b""
            return source.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except (pa.ArrowException, OSError) as error:
        notes.append(f"{name} cannot be read ({redacted(str(error))}).")
        return b""


def _json(filesystem: pafs.FileSystem, path: str, notes: list[str]) -> Any:
    text = _read(filesystem, path, notes)
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        notes.append(f"{path.rpartition('/')[2]} is damaged.")
        return None


def read_timeline(
    filesystem: pafs.FileSystem, folder: str, run_id: str, notes: list[str]
) -> Timeline | None:
    """The samples of a run; None without any. What cannot be read is added to `notes`."""
    path = f"{folder}/{RUNS}/{run_id}/samples.parquet"
    try:
        with filesystem.open_input_file(path) as source:
            return _binned(pq.ParquetFile(source))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (pa.ArrowException, OSError) as error:
        notes.append(f"samples.parquet cannot be read ({redacted(str(error))}).")
        return None


def _binned(file: pq.ParquetFile) -> Timeline | None:
    present = [name for name in _READ if name in file.schema_arrow.names]
    if "time_s" not in present:
        return None
    end_s = 0.0
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["time_s"]):
        times = _floats(batch.column(0))
        end_s = max(end_s, float(np.nanmax(times, initial=0.0)))
    if end_s <= 0 or not math.isfinite(end_s):
        return None
    bins = {name: _Bins() for name in present}
    nodes: set[str] = set()
    with_nodes = [*present, *({"node"} & {*file.schema_arrow.names})]
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=with_nodes):
        table = {name: batch.column(name) for name in batch.schema.names}
        times = _floats(table["time_s"])
        share = np.nan_to_num(times) / end_s
        place = np.clip((share * _BINS).astype(np.int64), 0, _BINS - 1)
        for name in present:
            bins[name].add(place, _floats(table[name]))
        if "node" in table:
            nodes.update(str(node) for node in table["node"].unique().to_pylist())
    curves = {name: one.curve() for name, one in bins.items()}
    time_s = curves.pop("time_s").mean
    filled = np.isfinite(time_s)
    kept = {
        name: Curve(curve.mean[filled], curve.least[filled], curve.most[filled])
        for name, curve in curves.items()
    }
    return Timeline(time_s[filled], end_s, kept, max(1, len(nodes)))


class _Bins:
    """Sums and extremes of one column by bins of time."""

    def __init__(self) -> None:
        self._sum, self._count = np.zeros(_BINS), np.zeros(_BINS)
        self._least, self._most = np.full(_BINS, np.inf), np.full(_BINS, -np.inf)

    def add(self, place: npt.NDArray[np.int64], values: Floats) -> None:
        sound = np.isfinite(values)
        place, values = place[sound], values[sound]
        np.add.at(self._sum, place, values)
        np.add.at(self._count, place, 1.0)
        np.minimum.at(self._least, place, values)
        np.maximum.at(self._most, place, values)

    def curve(self) -> Curve:
        empty = self._count == 0
        mean = self._sum / np.where(empty, np.nan, self._count)
        return Curve(
            mean, np.where(empty, np.nan, self._least), np.where(empty, np.nan, self._most)
        )


def _floats(column: pa.Array) -> Floats:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def number(value: Any) -> float | None:
    """A figure that a file has; None where it has something else there."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def differing(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The settings, as `section.name`, that are not those of `defaults`."""
    found: list[tuple[str, Any]] = []
    for section, leaves in settings.items():
        known = defaults.get(section)
        if isinstance(leaves, Mapping) and isinstance(known, Mapping):
            found += [
                (f"{section}.{name}", value)
                for name, value in leaves.items()
                if name not in known or known[name] != value
            ]
    return found

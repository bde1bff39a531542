"""The report of a run: what it is made from, and where it is written to.

Owns the way from an output's address to its page on disk, and that a page never costs a job its
end. Must not know what stands on the page, or Ray. What draws takes half a second to import: that
is done where a page is made.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from ray_asr.blocks import Block, Cell, Facts
from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import load_baseline
from ray_asr.corpus.storage import open_filesystem, write_whole
from ray_asr.corpus.units import input_units
from ray_asr.errors import ConfigError, DataError, RayAsrError
from ray_asr.job.clips import read_clips
from ray_asr.redaction import HIDDEN, redacted
from ray_asr.results.report_data import REPORT, RUNS, find_run, read_run
from ray_asr.results.report_rows import Clips
from ray_asr.shown import Shown

if TYPE_CHECKING:
    from ray_asr.results.report import Report

# A job's own report: rows and sound are read for so long, and all of it is waited for so long.
_READING_S, _WAITING_S = 20.0, 60.0
_MOST_BENCH_BYTES = 64 * 2**20

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report is to have beside what the run recorded.

    Attributes:
        run: the run's id; "" for the newest that did something.
        out: the file to write; "" for `report.html` in the run's folder.
        source: the input, for players beside transcripts; "" for the recorded one, where it is
            there.
        price_per_cpu_hour: of one core, in any currency.
        price_per_gpu_hour: of one GPU.
        baseline: a `baseline.json` of `ray-asr tune`; "" for the recorded one, where it is there.
        bench: what `ray-asr bench --json` wrote; "" for none.
    """

    run: str = ""
    out: str = ""
    source: str = ""
    price_per_cpu_hour: float | None = None
    price_per_gpu_hour: float | None = None
    baseline: str = ""
    bench: str = ""

    def __post_init__(self) -> None:
        for name in ("price_per_cpu_hour", "price_per_gpu_hour"):
            price = getattr(self, name)
            if price is not None and not 0 <= price < 1e12:
                raise ConfigError(f"{name} is {price:g}: use 0 or more.")


@dataclass(frozen=True, slots=True)
class WrittenReport(Shown):
    """A report that was written.

    Attributes:
        path: the file.
        size: its bytes.
        facts: its main figures.
    """

    path: str
    size: int
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Where it is, and its main figures, ready for JSON."""
        return {"report": self.path, "bytes": self.size, **self.facts}

    def blocks(self) -> list[Block]:
        """Where it is, and what the run came to."""
        facts = self.facts
        by_status = ", ".join(f"{count:,} {name}" for name, count in facts["by_status"].items())
        rows: list[tuple[str, Cell]] = [("run", facts["run_id"]), ("outcome", facts["verdict"])]
        if by_status:
            rows.append(("rows", by_status))
        if facts["cost"] is not None:
            rows.append(("cost", f"{facts['cost']:.4g}"))
        rows += [("note", note) for note in facts["notes"]]
        return [Facts([*rows, ("report", self.path)])]


def write_report(output: str, options: ReportOptions | None = None) -> WrittenReport:
    """Write the page about a run of an output; `report.html` of that run unless said otherwise.

    Raises:
        ConfigError: there is no such run, or a baseline or benchmark that cannot be read.
        DataError: the output cannot be read, or the page cannot be written.
    """
    options = options or ReportOptions()
    baseline = _baseline(options.baseline) if options.baseline else None
    bench = _bench(options.bench) if options.bench else None
    filesystem, folder = open_filesystem(output)
    run_id = find_run(filesystem, folder, options.run, f"output {redacted(output)}")
    recorded = read_run(filesystem, folder, run_id)
    if baseline is None:
        baseline = _recorded_baseline(recorded.settings)
    page = _page_maker()
    asked = page.Asked(
        run_id=run_id,
        price_per_cpu_hour=options.price_per_cpu_hour,
        price_per_gpu_hour=options.price_per_gpu_hour,
        baseline=baseline,
        bench=bench,
        clips=_clips(filesystem, folder, options.source, recorded.run, recorded.settings),
    )
    report = page.make_report(output, asked, open_filesystem)
    if options.out:
        return _written(report, *open_filesystem(options.out), options.out)
    return _written(report, filesystem, _place(folder, run_id), _place(output, run_id))


def report_of_run(
    filesystem: pafs.FileSystem,
    folder: str,
    shown: str,
    run_id: str,
    clips: Clips,
    baseline: str = "",
) -> None:
    """Write the page of a run that has just ended; what goes wrong with it is a warning.

    Args:
        filesystem: where the output is.
        folder: the output.
        shown: what the output is called.
        run_id: of the run.
        clips: gives the sound of rows.
        baseline: the file that the run had as its baseline; "" for none.
    """

    def make() -> None:
        page = _page_maker()
        asked = page.Asked(
            run_id=run_id,
            baseline=_recorded_baseline({"control": {"baseline": baseline}}),
            clips=clips,
            until=time.monotonic() + _READING_S,
        )
        report = page.make_report(shown, asked, lambda _: (filesystem, folder))
        if time.monotonic() < given_up:
            data = report.html.encode(errors="replace")
            write_whole(filesystem, _place(folder, run_id), data, durable=False)

    given_up = time.monotonic() + _WAITING_S
    thread = ThreadPoolExecutor(1, "report")
    made = thread.submit(make)
    thread.shutdown(wait=False)
    try:
        error = made.exception(_WAITING_S)
    except NotInTime:
        error = NotInTime(f"it took longer than {_WAITING_S:.0f} s")
    if error is None:
        logger.info("the report of this run is %s.", _place(shown, run_id))
        return
    logger.warning(
        "the report of this run was not written (%s: %s): `ray-asr report %s` tries again.",
        type(error).__name__, redacted(str(error)), shown,
    )  # fmt: skip


def _page_maker() -> ModuleType:
    """The module that makes pages; imported late, and told to keep the news of its caches."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from ray_asr.results import report

    return report


def _place(output: str, run_id: str) -> str:
    """Where a run's own report is; the options of an address stay at its end."""
    base, mark, options = output.partition("?") if "://" in output else (output, "", "")
    return f"{base.rstrip('/')}/{RUNS}/{run_id}/{REPORT}{mark}{options}"


def _written(report: Report, filesystem: pafs.FileSystem, path: str, where: str) -> WrittenReport:
    data = report.html.encode(errors="replace")
    if filesystem.type_name == "local":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the report cannot be written to {where} ({error.strerror}): name another file "
                "with --out."
            ) from error
        if Path(path).is_dir():
            raise DataError(f"{where} is a folder: name a file for the report with --out.")
    write_whole(filesystem, path, data, durable=False)
    return WrittenReport(redacted(where), len(data), report.facts)


def _clips(
    filesystem: pafs.FileSystem,
    folder: str,
    source: str,
    run: Mapping[str, Any],
    recorded: Mapping[str, Any],
) -> Clips | None:
    """What gives the sound of rows; None where the input is not at hand.

    Raises:
        DataError: the input that was named cannot be read.
    """
    settings = {
        f"{section}.{name}": leaf
        for section, leaves in recorded.items()
        if section in ("input", "job") and isinstance(leaves, Mapping)
        for name, leaf in leaves.items()
        if name in ("id_column", "audio_column", "unit_mb")
    }
    where = source or str(run.get("source", ""))
    if not where or HIDDEN in where:
        return None
    try:
        config = with_settings(Config(), settings)
        store, units = input_units(where, config)
    except RayAsrError:
        if source:
            raise
        return None  # it was moved, or is another machine's
    return partial(read_clips, filesystem, folder, store, units, config.input)


def _baseline(path: str) -> dict[str, Any]:
    """A baseline's tree, with its fastest entry and what that is expected to reach."""
    baseline = load_baseline(path)
    best, steady = baseline.best(), baseline.steady_best()
    names = ("actors", "ncpu", "batch_size_s", "precision", "x_real_time")
    tree = baseline.to_dict()
    tree["entries"] = [entry for entry in tree["entries"] if not entry["error"]]
    return {**tree, "best": {name: getattr(best, name) for name in names}, "steady_best": steady}


def _recorded_baseline(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The baseline that a run had; None where it had none, or it is gone."""
    control = settings.get("control")
    path = control.get("baseline") if isinstance(control, Mapping) else None
    if not isinstance(path, str) or not path:
        return None
    try:
        return _baseline(path)
    except ConfigError:
        return None


def _bench(path: str) -> dict[str, Any]:
    """What a benchmark wrote.

    Raises:
        ConfigError: it cannot be read, or is something else.
    """
    again = "name a file that `ray-asr bench --json` wrote"
    try:
        file = Path(path)
        if file.stat().st_size > _MOST_BENCH_BYTES:
            raise ConfigError(f"{path} is too large to be a benchmark's: {again}.")
        tree = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): {again}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}): {again}.") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("cases"), dict):
        raise ConfigError(f"{path} has no cases of a benchmark: {again}.")
    return tree

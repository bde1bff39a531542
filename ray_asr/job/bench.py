"""The benchmark: cases in turn, again and again, on the same audio and model; then a table.

Owns the order of runs, what is prepared for them, and the figures made of them. Must not know what
a case does: each is a process of its own, so that threads, memory and libraries are its own.
Imports neither Ray nor models, which would take part in what is measured.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray_asr
from ray_asr.config import load_config
from ray_asr.errors import ConfigError
from ray_asr.job.bench_cases import LIMIT_MODULE, Case, chosen_cases
from ray_asr.job.bench_inputs import UNTRAINED, find_models, machine, write_audio
from ray_asr.job.bench_process import CaseFailedError, Measured, run_case
from ray_asr.job.bench_table import BenchResult, Row, report

_QUICK = {"minutes": 1.0, "repeat": 1}
_BENCHMARKS = "benchmarks"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured, on what.

    Attributes:
        model: a folder, "demo", or "untrained": Paraformer-large with random weights, built once.
        minutes: of audio, in utterances of 2 to 10 s.
        repeat: repetitions of every case, in turn.
        cases: names of cases; all where empty.
        quick: a minute, once, with the first variant of each case.
        device: cpu or cuda, for every case.
        container: FLAC or WAV, 16 bits.
        vad_model: "" for none: the utterances are short.
        punc_model: "" for none.
        sets: further settings of ray_asr's own cases, as `section.setting=value`.
        cache: where the untrained model and exports are kept.
        timeout_s: for one run of one case.
    """

    model: str = UNTRAINED
    minutes: float = 6.0
    repeat: int = 3
    cases: Sequence[str] = ()
    quick: bool = False
    device: str = "cpu"
    container: str = "FLAC"
    vad_model: str = ""
    punc_model: str = ""
    sets: Sequence[str] = ()
    cache: str = ""
    timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ConfigError(f"--minutes is {self.minutes:g}: use a time above 0.")
        if self.repeat < 1:
            raise ConfigError(f"--repeat is {self.repeat}: use 1 or more.")
        if self.container not in ("FLAC", "WAV"):
            raise ConfigError(f'--container is "{self.container}": use FLAC or WAV.')
        if self.device != "cpu" and self.device.split(":")[0] != "cuda":
            raise ConfigError(f'--device is "{self.device}": use cpu or cuda.')
        load_config(None, self.sets)  # says what is wrong with them


def run_bench(options: BenchOptions, json_file: str | None = None) -> BenchResult:
    """Measure, and give the figures; the JSON goes to `json_file`.

    Raises:
        ConfigError: an option that cannot work; said before anything runs.
    """
    if options.quick:
        options = dataclasses.replace(options, **_QUICK)
    cores = len(os.sched_getaffinity(0))
    cases = chosen_cases(options.cases, cores)
    if json_file is not None and not Path(json_file).absolute().parent.is_dir():
        raise ConfigError(f"--json {json_file}: there is no such folder to write into.")
    spec = {
        **find_models(
            options.model,
            options.vad_model,
            options.punc_model,
            options.cache,
            load_config(None, options.sets).engine.trust_model,
        ),
        "device": options.device,
        "sets": list(options.sets),
        "quick": options.quick,
        "cores": cores,
    }
    # Told to stop, as by `timeout`, it ends what it has started, as with Ctrl-C.
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        return _measured(cases, spec, options, json_file)
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)


def _measured(
    cases: Sequence[Case], spec: dict[str, Any], options: BenchOptions, json_file: str | None
) -> BenchResult:
    with tempfile.TemporaryDirectory(prefix="ray_asr_bench_") as folder:
        root = Path(folder)
        spec |= write_audio(root, 60 * options.minutes, options.container)
        rows = [Row(case, _reason_to_skip(case, options)) for case in cases]
        facts = {**machine(spec["cores"]), "options": dataclasses.asdict(options)}
        facts |= {"audio_s": spec["audio_s"], "utterances": spec["utterances"]}

        def keep() -> BenchResult:
            result = BenchResult(report(rows, facts))
            if json_file is not None:
                text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False)
                part = Path(f"{json_file}.part")
                part.write_text(f"{text}\n", encoding="utf-8")
                part.replace(json_file)
            return result

        try:
            _run_all(rows, spec, root, options, after_each=keep)
        except KeyboardInterrupt:
            if any(row.results for row in rows):
                logger.warning("stopped; what was measured until then:\n%s", keep().table())
            raise
        return keep()


def _benchmarks_folder() -> Path | None:
    """`benchmarks/` of a checkout: in the working directory, or beside the package."""
    for root in (Path.cwd(), Path(ray_asr.__file__).parents[1]):
        if (root / _BENCHMARKS / "article.py").is_file():
            return root / _BENCHMARKS
    return None


def _reason_to_skip(case: Case, options: BenchOptions) -> str:
    if not case.is_in_package and _benchmarks_folder() is None:
        return f"its program is in {_BENCHMARKS}/ of a checkout of ray_asr; run there"
    if missing := [name for name in case.needs if importlib.util.find_spec(name) is None]:
        return f"not installed: pip install 'ray_asr[bench]' ({', '.join(missing)})"
    if case.recognizer_only and (options.vad_model or options.punc_model):
        return "it recognizes only: leave out --vad-model and --punc-model"
    return ""


def _command(case: Case) -> list[str]:
    if not case.is_in_package:
        folder = _benchmarks_folder() or Path(_BENCHMARKS)
        return [sys.executable, "-W", "ignore", str(folder / case.program)]
    flag = ["--spec"] if case.program == LIMIT_MODULE else []
    return [sys.executable, "-W", "ignore", "-m", case.program, *flag]


def _search_path(case: Case) -> dict[str, str]:
    """Where the processes that a peer starts find the modules beside it."""
    if case.is_in_package:
        return {}
    paths = [str(_benchmarks_folder() or ""), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _run_all(
    rows: list[Row],
    spec: dict[str, Any],
    root: Path,
    options: BenchOptions,
    after_each: Callable[[], object],
) -> None:
    """Choose each case's variant, then repetition 1 of all cases, and so on."""
    runs = 0

    def run(row: Row, variant: Mapping[str, Any], what: str) -> Measured | None:
        nonlocal runs
        runs += 1
        case = row.case
        logger.info("%s: %s", case.name, what)
        given = {**spec, "options": {**case.options, **variant}}
        folder = root / f"run-{runs}"
        try:
            measured = run_case(
                _command(case),
                given,
                folder,
                environment={"RAY_AUTH_MODE": "disabled", **_search_path(case), **case.environment},
                cores=spec["cores"],
                timeout_s=options.timeout_s,
            )
            _check_rows(case, measured, spec["utterances"])
        except CaseFailedError as error:
            row.error = str(error)
            return None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return measured

    for row in rows:
        row.variant = dict(row.case.variants[0]) if row.case.variants else {}
        if row.error or options.quick or len(row.case.variants) < 2:
            continue
        best_s = float("inf")
        for variant in row.case.variants:
            tried = run(row, variant, f"trying {variant}")
            if tried is not None and (wall_s := _wall_s(tried)) < best_s:
                best_s, row.variant = wall_s, dict(variant)
        if best_s < float("inf"):
            row.error = ""
    for repetition in range(1, options.repeat + 1):
        for row in rows:
            if not row.error:
                what = f"repetition {repetition} of {options.repeat}"
                measured = run(row, row.variant, what)
                if measured is not None:
                    row.add(measured, spec["audio_s"])
        after_each()


def _wall_s(measured: Measured) -> float:
    return measured.result["ended"] - measured.result["started"]


def _check_rows(case: Case, measured: Measured, utterances_in: int) -> None:
    """A case that loses rows has no speed."""
    texts = measured.result.get("texts")
    if not case.is_recognition or texts is None:
        return
    if len(texts) != utterances_in:
        raise CaseFailedError(f"{len(texts)} of {utterances_in} rows came out")
    if failed := measured.result.get("failed_rows"):
        raise CaseFailedError(f"{failed} of {utterances_in} rows failed")

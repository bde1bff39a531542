"""Settings measured on one's own audio, on the cluster that is there: a baseline and its table.

Owns what a run of the tuner is, from the sample to the file, and the clock of one measurement.
Must not know FunASR's insides, or how a plan is made: it is given a function that makes one.
"""

from __future__ import annotations

import logging
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import ray
from ray.data import DataContext
from ray.exceptions import RayError

from ray_asr.config import Config, with_settings
from ray_asr.control.baseline import Baseline, Entry, Sample, load_baseline
from ray_asr.control.capacity import ClusterResources
from ray_asr.control.plan import Plan, make_plan
from ray_asr.corpus.units import input_units
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.errors import ConfigError, DataError, PlanError, RayAsrError
from ray_asr.job.cluster import cluster_resources
from ray_asr.job.pipeline import MEASURING, MakeEngine, check_models, connect, transcribe_path
from ray_asr.job.quiet_ray import at_least
from ray_asr.job.ray_errors import reason
from ray_asr.job.tune_candidates import (
    FUSED,
    SPLIT,
    Candidate,
    CandidateFailedError,
    Run,
    Search,
    Space,
    Trial,
    first_candidates,
    overhead_s,
)
from ray_asr.job.tune_machine import Meter, hardware_of, models_of, versions
from ray_asr.job.tune_sample import Drawn, draw_samples
from ray_asr.job.tune_table import TuneResult, check_line
from ray_asr.job.tune_watch import noting, ready_board
from ray_asr.live import Live

PlanOf = Callable[[Config], Plan]

# Nothing is recognized before every actor has loaded its models: then the clock starts.
_MOST_LOADING_S = 1800
_RUNGS = 2
# The first chunks of a sample are of one batch, and its last ones smaller: with fewer than four for
# each actor it tells more of who got the last one than of the setting.
_BATCHES_AN_ACTOR = 4
_GPU_MINUTES = 20.0  # of audio a GPU takes as long as a CPU takes for one

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What the tuner may use, and where its result goes.

    Attributes:
        sample_minutes: of audio for each actor; twenty times that on a GPU.
        budget_minutes: no run begins after so long, a first one of the default aside.
        repeat: repetitions of each setting that is left at the end, in turn.
        precisions: to be tried; what the configuration says where empty, since texts hang on it.
        out: the baseline's file.
        check: measure the best setting of that file again, and write nothing.
        tolerance: how much slower it may be, as a share.
        work_folder: a folder that every node sees; a temporary one where empty.
        seed: of the choice of rows.
    """

    sample_minutes: float = 3.0
    budget_minutes: float = 10.0
    repeat: int = 3
    precisions: tuple[str, ...] = ()
    out: str = "baseline.json"
    check: bool = False
    tolerance: float = 0.1
    work_folder: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("sample_minutes", "budget_minutes", "repeat"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: use more than 0.")
        if not 0 <= self.tolerance < 1:
            raise ConfigError(f"tolerance is {self.tolerance}: use a share from 0 to below 1.")


def run_tune(
    source: str,
    config: Config,
    options: TuneOptions,
    address: str | None = None,
    make_engine: MakeEngine = FunASREngine,
    plan_of: PlanOf | None = None,
) -> TuneResult:
    """Measure settings of a job on a sample of `source` and keep what was found.

    Args:
        source: the Parquet files of the job.
        config: the job's; what it fixes stays fixed, except for cores, actors, batch and stages.
        options: the sample's size, the time, and the file.
        address: of the Ray cluster (see `pipeline.connect`).
        make_engine: what each actor holds.
        plan_of: what a job with a configuration takes of the cluster, or a PlanError; by default
            `make_plan` on what the nodes say.

    Raises:
        ConfigError, DataError, PlanError: said before anything is measured.
    """
    known = load_baseline(options.out) if options.check else None
    config = check_models(config)
    input_units(source, config)  # what is wrong with the input is said before Ray starts
    connect(address)
    cluster = cluster_resources()
    plan_of = plan_of or partial(make_plan, cluster, None)
    _check_folder(cluster, options)
    with tempfile.TemporaryDirectory(
        prefix="tune-", dir=options.work_folder or None, ignore_cleanup_errors=True
    ) as work:
        tuning = _Tuning(source, config, options, cluster, plan_of, make_engine, Path(work))
        with tuning.live:
            return tuning.check(known) if known is not None else tuning.tune()


def _check_folder(cluster: ClusterResources, options: TuneOptions) -> None:
    if len(cluster.nodes) > 1 and not options.work_folder:
        raise ConfigError(
            f"the cluster has {len(cluster.nodes)} nodes, which must all see the sample: name a "
            "folder that they share (work_folder)."
        )


class _Tuning:
    """One run: what is measured, where, and for how long."""

    def __init__(
        self,
        source: str,
        config: Config,
        options: TuneOptions,
        cluster: ClusterResources,
        plan_of: PlanOf,
        make_engine: MakeEngine,
        work: Path,
    ) -> None:
        self._source = source
        self._config = with_settings(config, _FIXED)
        self._options = options
        self._cluster = cluster
        self._plan_of = plan_of
        self._make_engine = make_engine
        self._work = work
        self._samples: list[Drawn] = []
        self._failed_rows: dict[int, int] = {}
        self._deadline = 0.0
        self._runs = 0
        self.live = Live(logger)

    def tune(self) -> TuneResult:
        """Measure candidates and write the baseline."""
        default = self._default()
        space = self._space(default)
        on_gpu = self._config.engine.device != "cpu"
        minutes = self._options.sample_minutes * (_GPU_MINUTES if on_gpu else 1.0)
        actors = max(one.actors for one in first_candidates(default, space))
        longest_s = max(60 * minutes, _BATCHES_AN_ACTOR * max(space.batches_s)) * actors
        self._samples = self._drawn([longest_s / 2 ** (_RUNGS - 1 - n) for n in range(_RUNGS)])
        # Once, off the record: Ray starts its processes, files come into the cache. What is wrong
        # with the models or the input is said here.
        resolved = replace(default, precision=self._warmed(default))
        self._deadline = time.monotonic() + 60 * self._options.budget_minutes
        search = Search(
            space=replace(space, precisions=self._options.precisions),
            measure=self._measured,
            rungs=_RUNGS,
            repeat=self._options.repeat,
            has_time=lambda: time.monotonic() < self._deadline,
        )
        trials = search.run(resolved)
        if not any(trial.runs and not trial.error for trial in trials):
            why = next((trial.error for trial in trials if trial.error), "the time was over")
            raise RayAsrError(f"no setting could be measured: {why}")
        entries = [self._entry(trial, resolved) for trial in trials]
        beside_s = overhead_s(trials, [sample.audio_s for sample in self._samples])
        baseline = self._baseline(entries, beside_s)
        baseline.save(self._options.out)
        return TuneResult(baseline, self._options.out)

    def _warmed(self, default: Candidate) -> str:
        """Run the default once; what its recognizer really computed in."""
        try:
            return self._transcribed(default, 0).precision or default.precision
        except RayError as error:  # a process that died: that is the setting's, not the job's
            logger.warning("the default setting failed: %s", error)
            return default.precision

    def check(self, known: Baseline) -> TuneResult:
        """Measure the baseline's best setting again."""
        differs = known.matches(hardware_of(self._cluster), models_of(self._config))
        if differs:
            raise ConfigError(
                f"{self._options.out} is of something else ({'; '.join(differs)}): run "
                "`ray-asr tune` here."
            )
        best = known.best()
        candidate = Candidate(
            best.ncpu, best.actors, best.batch_size_s, best.precision, best.stages
        )
        self._samples = self._drawn([known.sample.audio_s])
        self._transcribed(candidate, 0)  # off the record, as in `tune`
        trial = Trial(candidate)
        for _ in range(self._options.repeat):
            trial.runs.setdefault(0, []).append(self._transcribed(candidate, 0))
        speed = trial.speed(0)
        slower = speed < best.x_real_time * (1 - self._options.tolerance)
        checked = check_line(best, speed, self._options.tolerance)
        return TuneResult(known, self._options.out, checked, slower)

    def _default(self) -> Candidate:
        plan = self._plan_of(self._config)
        return Candidate(
            plan.ncpu, plan.recognize.start, plan.batch_size_s, plan.precision, plan.stages
        )

    def _space(self, default: Candidate) -> Space:
        most: dict[tuple[int, str], int] = {}

        def most_actors(ncpu: int, stages: str) -> int:
            if (ncpu, stages) not in most:
                asked = with_settings(
                    self._config, {"ncpu": ncpu, "stages": stages, "num_actors": 0}
                )
                try:
                    most[ncpu, stages] = self._plan_of(asked).recognize.most
                except PlanError:
                    most[ncpu, stages] = 0
            return most[ncpu, stages]

        engine = self._config.engine
        least_s = engine.max_single_segment_time / 1000 if engine.vad_model else 1.0
        batches_s = {max(least_s, default.batch_size_s * factor) for factor in (0.5, 1.0, 2.0)}
        both = bool(engine.vad_model and engine.punc_model)
        return Space(
            most_actors,
            tuple(sorted(batches_s)),
            self._options.precisions,
            (FUSED, SPLIT) if both else (default.stages,),
        )

    def _drawn(self, seconds: Sequence[float]) -> list[Drawn]:
        return draw_samples(
            self._source, self._config, seconds, self._work / "samples", self._options.seed
        )

    def _measured(self, candidate: Candidate, rung: int) -> Run:
        """As the search wants it: what goes wrong with a setting is that setting's."""
        try:
            return self._transcribed(candidate, rung)
        except (RayAsrError, RayError, MemoryError) as error:
            raise CandidateFailedError(reason(error)) from error

    def _transcribed(self, candidate: Candidate, rung: int) -> Run:
        """One job on a sample, from loaded models to the last part written."""
        sample = self._samples[rung]
        self._runs += 1
        spent = 1 - (self._deadline - time.monotonic()) / (60 * self._options.budget_minutes)
        line = f"run {self._runs}, {sample.audio_s:.0f} s of audio, {candidate}"
        self.live.say(line, spent if self._deadline else 0.0)
        output = self._work / f"out-{uuid.uuid4().hex[:8]}"
        context = DataContext.get_current()
        waited_s, context.wait_for_min_actors_s = context.wait_for_min_actors_s, _MOST_LOADING_S
        board = ready_board()
        try:
            # That a setting does not fit the cores is what is measured.
            quiet = at_least("ray_asr.job.steering", logging.ERROR)
            with quiet, Meter(len(self._cluster.nodes) == 1) as meter:
                summary = transcribe_path(
                    str(sample.folder),
                    str(output),
                    config_of(self._config, candidate),
                    make_engine=partial(noting, board, self._make_engine),
                    purpose=MEASURING,
                )
            ready, load_s = ray.get(board.read.remote())
        finally:
            context.wait_for_min_actors_s = waited_s
            ray.kill(board)
        ended = max(part.stat().st_mtime for part in output.glob("part-*.parquet"))
        failed = self._failed_rows.setdefault(rung, summary.rows_failed)
        if summary.rows_failed > failed:
            raise DataError(f"{summary.rows_failed} rows failed, {failed} with the default.")
        seen = meter.between(ready, ended)
        return Run(
            x_real_time=summary.audio_s / max(ended - ready, 1e-3),
            cpu_percent=seen.cpu_percent,
            gpu_percent=seen.gpu_percent,
            memory_gb=seen.memory_gb,
            load_s=load_s,
            start_s=max(0.0, summary.wall_s - (ended - ready)),
            precision=summary.precision,
        )

    def _entry(self, trial: Trial, default: Candidate) -> Entry:
        one, runs = trial.candidate, trial.last
        speeds = [run.x_real_time for run in runs]
        return Entry(
            ncpu=one.ncpu,
            actors=one.actors,
            batch_size_s=one.batch_size_s,
            precision=one.precision,
            stages=one.stages,
            is_default=one == default,
            x_real_time=trial.speed(trial.rung),
            x_least=min(speeds, default=0.0),
            x_most=max(speeds, default=0.0),
            repetitions=len(runs),
            sample_s=self._samples[trial.rung].audio_s if runs else 0.0,
            cpu_percent=_middle([run.cpu_percent for run in runs]),
            gpu_percent=_middle([run.gpu_percent for run in runs]),
            memory_gb=_middle([run.memory_gb for run in runs]),
            load_s=_middle([run.load_s for run in runs]),
            start_s=_middle([run.start_s for run in runs]),
            error=trial.error or ("" if runs else "the time was over"),
        )

    def _baseline(self, entries: Sequence[Entry], beside_s: float) -> Baseline:
        longest = self._samples[-1]
        return Baseline(
            date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            hardware=hardware_of(self._cluster),
            models=models_of(self._config),
            versions=versions(),
            sample=Sample(longest.audio_s, longest.utterances),
            entries=tuple(entries),
            overhead_s=beside_s,
        )


# A setting is measured as it stands: nothing changes while it runs, and no baseline decides.
_FIXED = {
    "autoscale": False, "vary_batch": False, "baseline": "", "num_actors": 0, "min_actors": 0,
    "max_actors": 0,
}  # fmt: skip


def config_of(config: Config, candidate: Candidate) -> Config:
    """A job's configuration with a candidate's numbers, none of them to change while it runs."""
    numbers = {
        "ncpu": candidate.ncpu,
        "num_actors": candidate.actors,
        "batch_size_s": candidate.batch_size_s,
        "precision": candidate.precision,
        "stages": candidate.stages,
    }
    return with_settings(config, {**_FIXED, **numbers})


def _middle(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    return known[len(known) // 2] if known else None

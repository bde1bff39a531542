"""The verbs of the command line as functions, beside `ray_asr.transcribe`.

Owns their signatures: settings by name, a result that shows itself. Importing it starts
nothing and imports neither Ray nor a model library. Must not know how a verb is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from ray_asr.config import Config, with_settings
from ray_asr.verbs_results import score as score

if TYPE_CHECKING:
    from ray_asr.control.plan_text import PlanReport
    from ray_asr.control.prediction import Prediction
    from ray_asr.control.simulate import SimulationOptions, SimulationResult
    from ray_asr.corpus.pack import PackSummary
    from ray_asr.job.bench import BenchOptions
    from ray_asr.job.bench_table import BenchResult
    from ray_asr.job.compact import CompactSummary
    from ray_asr.job.demo import DemoResult
    from ray_asr.job.findings import Verification
    from ray_asr.job.forecast import ForecastOptions
    from ray_asr.job.reporting import WrittenReport
    from ray_asr.job.retry import RetrySummary
    from ray_asr.job.tune import TuneOptions, TuneResult
    from ray_asr.results.export import ExportSummary, Format


def run_demo(output: str | None = None, *, address: str | None = None) -> DemoResult:
    """Run the whole job on the embedded speech with the embedded models.

    Args:
        output: a folder to keep shards and transcripts in; None for a temporary one.
        address: of the Ray cluster; None takes the one that is there, or starts one.
    """
    from ray_asr.job import demo

    return demo.run_demo(output, address)


def pack(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    shard_mb: float = 512.0,
    row_group_mb: float = 32.0,
    address: str | None = None,
) -> PackSummary:
    """Pack a folder, `wav.scp`, JSONL manifest or Parquet into Parquet shards.

    Args:
        source: the recordings, a path or a URI.
        destination: a folder that is empty or not there yet.
        shard_mb: of one shard, in MiB.
        row_group_mb: of one row group, in MiB.
        address: of the Ray cluster; None takes the one that is there, or starts one.

    Raises:
        DataError: there is nothing to pack, or the destination holds something.
    """
    from functools import partial

    from ray_asr.corpus import pack as packing
    from ray_asr.job.pipeline import connect

    return packing.pack(
        fspath(source),
        fspath(destination),
        shard_mb=shard_mb,
        row_group_mb=row_group_mb,
        connect=partial(connect, address),
    )


def plan(
    source: str | PathLike[str] | None = None,
    *,
    config: Config | None = None,
    address: str | None = None,
    measure: bool = True,
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
    **settings: Any,
) -> PlanReport:
    """What `transcribe` would start with these settings, why, and what it would take.

    Args:
        source: the input, for time and cost; None for the plan alone.
        config: where settings start from; the defaults where it is None.
        address: of the Ray cluster; None takes the one that is there, or starts one.
        measure: load the models once, for their memory and time.
        price_per_cpu_hour: of one core, in any currency.
        price_per_gpu_hour: of one GPU.
        settings: single settings by their name, such as `model="demo"`.

    Raises:
        ConfigError, DataError: as `transcribe` raises them.
        PlanError: the job does not fit the cluster; says what is missing.
    """
    from ray_asr.job.dry_run import dry_run

    return dry_run(
        None if source is None else fspath(source),
        with_settings(config or Config(), settings),
        address,
        measure=measure,
        price_per_cpu_hour=price_per_cpu_hour,
        price_per_gpu_hour=price_per_gpu_hour,
    )


def tune(
    source: str | PathLike[str],
    options: TuneOptions | None = None,
    *,
    config: Config | None = None,
    address: str | None = None,
    **settings: Any,
) -> TuneResult:
    """Measure settings on a sample of `source` and write the best as a baseline.

    Args:
        source: the Parquet files of the job.
        options: how much is measured, and the baseline's file (`ray_asr.job.tune.TuneOptions`).
        config: where settings start from; the defaults where it is None.
        address: of the Ray cluster; None takes the one that is there, or starts one.
        settings: single settings by their name.

    Raises:
        ConfigError, DataError, PlanError: said before anything is measured.
    """
    from ray_asr.job.tune import TuneOptions, run_tune

    config = with_settings(config or Config(), settings)
    return run_tune(fspath(source), config, options or TuneOptions(), address)


def bench(options: BenchOptions | None = None, json_file: str | None = None) -> BenchResult:
    """Compare settings, peers, ray_asr and the bare model on the same audio, in turn.

    Args:
        options: the model, the audio and the cases (`ray_asr.job.bench.BenchOptions`).
        json_file: where all figures are written to.

    Raises:
        ConfigError: an option that cannot work.
    """
    from ray_asr.job.bench import BenchOptions, run_bench

    return run_bench(options or BenchOptions(), json_file)


def export(
    output: str | PathLike[str],
    destination: str | PathLike[str],
    format: Format = "jsonl",
    *,
    status: Sequence[str] = ("ok",),
    ids: Sequence[str] = (),
    language: str = "",
    source: str | PathLike[str] = "",
    audio_column: str = "",
    audio_root: str | PathLike[str] = "",
    sampling_rate: int = 0,
    speakers: bool = False,
    max_line_chars: int = 0,
    max_lines: int = 2,
    max_cps: float = 0.0,
    min_cue_s: float = 0.833,
    max_cue_s: float = 7.0,
    gap_s: float = 0.083,
    overwrite: bool = False,
) -> ExportSummary:
    """Write the transcripts of a run in another format.

    Args:
        output: the folder of the transcripts.
        destination: a file for jsonl, txt and nemo; a folder for srt, vtt, kaldi, lhotse and hf.
        format: one of these.
        status: of the rows to export: ok, no_speech, failed or all.
        ids: of the rows to export; all where it is empty.
        language: of the text, where a row does not say it.
        source: the job's input, where the output does not say where recordings lie.
        audio_column: of the output or the input, with their paths; "" for `audio_path`.
        audio_root: a folder or an address that relative paths start from.
        sampling_rate: of the recordings' files, for lhotse.
        speakers: say who speaks, in txt, srt and vtt.
        max_line_chars: in a subtitle; 0 for 42, or 16 where the text is Chinese.
        max_lines: in a subtitle.
        max_cps: characters a second in a subtitle; 0 for 17, or 9 where the text is Chinese.
        min_cue_s: that a subtitle is shown.
        max_cue_s: that a subtitle is shown.
        gap_s: between two subtitles.
        overwrite: replace an export that is there.

    Raises:
        ConfigError: an option cannot work.
        DataError: there is nothing to read, or something is at the destination.
    """
    from ray_asr.corpus.storage import open_filesystem, whole_file, write_whole
    from ray_asr.results import export as exporting
    from ray_asr.results.export_place import Storage

    options = exporting.ExportOptions(
        statuses=status, ids=ids, language=language, source=fspath(source),
        audio_column=audio_column, audio_root=fspath(audio_root), sampling_rate=sampling_rate,
        has_labels=speakers, max_line_chars=max_line_chars, max_lines=max_lines, max_cps=max_cps,
        min_cue_s=min_cue_s, max_cue_s=max_cue_s, gap_s=gap_s, overwrite=overwrite,
    )  # fmt: skip
    storage = Storage(open_filesystem, whole_file, write_whole)
    return exporting.export(fspath(output), fspath(destination), format, options, storage)


def report(
    output: str | PathLike[str],
    *,
    run: str = "",
    out: str | PathLike[str] = "",
    source: str | PathLike[str] = "",
    price_per_cpu_hour: float | None = None,
    price_per_gpu_hour: float | None = None,
    baseline: str | PathLike[str] = "",
    bench: str | PathLike[str] = "",
) -> WrittenReport:
    """Write one HTML page about a run, complete in itself.

    Args:
        output: the folder of the transcripts.
        run: the run's id; "" for the newest that did something.
        out: the file to write; "" for `report.html` in the run's folder.
        source: the input, for players beside transcripts; "" for the recorded one, where it is
            at hand.
        price_per_cpu_hour: of one core, in any currency.
        price_per_gpu_hour: of one GPU.
        baseline: a file of `tune`; "" for the one that the run had.
        bench: a file that `ray-asr bench --json` wrote.

    Raises:
        ConfigError: there is no such run, or a file of it cannot be read.
        DataError: the output cannot be read, or the page not be written.
    """
    from ray_asr.job.reporting import ReportOptions, write_report

    options = ReportOptions(
        run, fspath(out), fspath(source), price_per_cpu_hour, price_per_gpu_hour,
        fspath(baseline), fspath(bench),
    )  # fmt: skip
    return write_report(fspath(output), options)


def verify(output: str | PathLike[str], source: str | PathLike[str]) -> Verification:
    """Whether an output has each row of its input once, sound, and nothing else; changes nothing.

    Args:
        output: the folder of the transcripts.
        source: the input that it was made of.

    Returns:
        What was found; `proven` says whether it is all as it must be.

    Raises:
        DataError: the output is none of ray_asr, or the input cannot be read.
    """
    from ray_asr.job.verify import verify as look

    return look(fspath(output), fspath(source))


def compact(
    output: str | PathLike[str], to: str | PathLike[str] = "", *, target_mb: float = 256.0
) -> CompactSummary:
    """Join the small parts of an output, so that no reader sees a row twice or not at all.

    Args:
        output: the folder of the transcripts.
        to: a new folder for the joined output; "" to do it in place.
        target_mb: what a joined file should not exceed, in MiB.

    Raises:
        ConfigError: it cannot be done in place there; nothing has changed.
        DataError: the output is none of ray_asr, is in use, or has a part that cannot be read.
    """
    from ray_asr.job.compact import compact as join

    return join(fspath(output), fspath(to), target_mb)


def retry(
    output: str | PathLike[str],
    source: str | PathLike[str] = "",
    *,
    codes: Sequence[str] = (),
    address: str | None = None,
    **settings: Any,
) -> RetrySummary:
    """Transcribe the failed rows of an output again, each in its place.

    Args:
        output: the folder of the transcripts.
        source: the input; "" for that of the last run.
        codes: only rows with one of these error codes; all where it is empty.
        address: of the Ray cluster; None takes the one that is there, or starts one.
        settings: on top of those of the last run, by their name; those that decide transcripts
            cannot be others.

    Raises:
        ConfigError, DataError, PlanError: as `transcribe` raises them; nothing has changed.
    """
    from ray_asr.job.retry import retry as try_again

    def change(config: Config) -> Config:
        return with_settings(config, settings)

    return try_again(fspath(output), change, fspath(source), codes, address)


def simulate(options: SimulationOptions | None = None) -> SimulationResult:
    """Jobs on paper under the scaling policy, Ray's rule, fixed sizes, and hindsight.

    Args:
        options: how many, and their seed (`ray_asr.control.simulate.SimulationOptions`).
    """
    from ray_asr.control.simulate import run_simulation

    return run_simulation(options)


def predict(
    source: str | PathLike[str] | None = None,
    options: ForecastOptions | None = None,
    *,
    config: Config | None = None,
    **settings: Any,
) -> Prediction:
    """What a job would take on a cluster that need not be there, by a baseline of its nodes.

    Args:
        source: the Parquet files of the job; None where the options name a run or audio-hours.
        options: the job and the cluster (`ray_asr.job.forecast.ForecastOptions`).
        config: where settings start from; the defaults where it is None.
        settings: single settings by their name; `baseline` is needed.

    Raises:
        ConfigError: there is no baseline, or it is of something else.
        DataError: the input or the run cannot be read.
        PlanError: the cluster cannot hold what is asked for.
    """
    from ray_asr.job.forecast import forecast

    job = None if source is None else fspath(source)
    return forecast(job, with_settings(config or Config(), settings), options)

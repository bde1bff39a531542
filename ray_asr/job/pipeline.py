"""The job: units or a dataset through Ray Data to transcripts.

Owns the Ray connection, and the loop that takes transcripts and has parts written. The operators
are in `graph`, how many actors there are in `steering`. Must not know what is inside a model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow.fs as pafs
import ray
from ray.data import DataContext, Dataset
from ray.exceptions import RayError

from ray_asr.config import Config
from ray_asr.config_sections import MODEL_KINDS
from ray_asr.control.block_stats import few_block_stats
from ray_asr.control.plan import Plan
from ray_asr.control.turns import unhurried
from ray_asr.corpus.lease import Lease, held
from ray_asr.corpus.restart import Placement, finish_switch, is_switching
from ray_asr.corpus.resume import parts_done
from ray_asr.corpus.storage import open_filesystem
from ray_asr.corpus.units import Unit, bundle, input_units
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import check_model
from ray_asr.errors import ConfigError, TooManyFailuresError
from ray_asr.job.address import check_address, named_address
from ray_asr.job.chunk_work import ChunkSums, without
from ray_asr.job.clips import read_clips
from ray_asr.job.continuation import (
    Choose,
    Work,
    precision_of,
    rows_of,
    say_what_differs,
    settings_to_match,
    what_is_missing,
)
from ray_asr.job.graph import (
    MakeEngine,
    chunks_of_bundles,
    chunks_of_rows,
    provenance,
    recognizing_operator,
    transcripts_of,
)
from ray_asr.job.hotword_list import with_hotwords
from ray_asr.job.interrupts import afterwards
from ray_asr.job.lean_ray import SYSTEM_CONFIG, fewer_processes
from ray_asr.job.local_ray import on_loopback, private_place
from ray_asr.job.parts import PartWriter, Tally
from ray_asr.job.progress import Progress
from ray_asr.job.quiet_ray import quiet_execution, quiet_start
from ray_asr.job.ray_errors import own_error
from ray_asr.job.reporting import report_of_run
from ray_asr.job.staging import stage, with_copies_here
from ray_asr.job.steering import Steering, plan_run
from ray_asr.job.summary import RunSummary, begin_run, new_run_id, write_run
from ray_asr.redaction import redacted
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK

MEASURING = "tune"  # the purpose of a run that nobody looks at
_MOST_BLOCKS = 10_000
_ACTORS_A_READER = 4

logger = logging.getLogger(__name__)


def connect(address: str | None = None, config: Config | None = None, **local: Any) -> None:
    """Use the Ray that is there, or start one on this machine.

    Args:
        address: a cluster's address; "local" starts one of its own; None takes what `RAY_ADDRESS`
            names, and starts one where it names none; "auto" also finds one on this machine.
        config: where it asks for a number of actors, one's own Ray has slots for them, whatever the
            machine has.
        local: what `ray.init` is given besides, where it starts one.

    Raises:
        ConfigError: no cluster answers at the address.
    """
    if ray.is_initialized():
        return
    address = named_address(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        # Reading takes a few percent of a core: on one machine it has a share of the cores that
        # the actors have, and a slot beside them.
        cores = len(os.sched_getaffinity(0))
        asked = config.job.num_actors * max(config.engine.ncpu, 1) if config else 0
        quiet |= {"num_cpus": max(cores, asked) + 1, "include_dashboard": False, **local}
        quiet["_temp_dir"] = local.get("_temp_dir") or private_place()
        quiet["_system_config"] = SYSTEM_CONFIG | local.get("_system_config", {})
    else:
        check_address(address)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(afterwards())
            if address == "local":
                stack.enter_context(on_loopback())
                stack.enter_context(fewer_processes())
            stack.enter_context(quiet_start())
            ray.init(address=address, **quiet)
    except ConnectionError as error:
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise ConfigError(
            f"Ray does not connect to the address {address} ({reason}): check that its head runs "
            "and, where it wants a token, that RAY_AUTH_MODE=token is set here; or use "
            "--address local for a Ray on this machine."
        ) from error


def check_models(config: Config) -> Config:
    """Say at once what is wrong with a model folder, before anything starts.

    Returns:
        The settings as the nodes need them: words to favour instead of the name of their list.

    Raises:
        ConfigError: a model or a list of hotwords cannot be had, or cannot be used.
    """
    config = with_copies_here(with_hotwords(config))
    for kind in MODEL_KINDS:
        check_model(config.engine, kind)
    return config


def transcribe_dataset(dataset: Dataset, config: Config) -> Dataset:
    """A lazy dataset of transcripts, one row for each row of `dataset`; nothing runs yet.

    The rows come with the columns of the output contract and the other columns of `dataset`.

    Raises:
        ConfigError: a model folder is not one.
        PlanError: the cluster has no room for one actor.
    """
    config = check_models(config)
    plan = plan_run(config, measure=False)  # nothing runs yet
    steering = Steering(config, plan, recognizing_operator(plan))
    name = steering.control.name
    chunks = chunks_of_rows(dataset, config, plan, announce=name)
    transcripts = transcripts_of(chunks, config, plan, announce=name)
    steering.keep_on(transcripts.context)
    return transcripts


def transcribe_path(
    source: str,
    output: str,
    config: Config,
    address: str | None = None,
    make_engine: MakeEngine = FunASREngine,
    *,
    restart: bool = False,
    choose: Choose = what_is_missing,
    purpose: str = "transcribe",
) -> RunSummary:
    """Transcribe the Parquet files at `source` into `output`, or go on where that stopped.

    Connects to Ray at `address` (see `connect`) once the input is known to be there and to have
    rows that are not done. Each actor holds what `make_engine` makes of its settings. With
    `restart` it begins anew; what an earlier run left stays until the first new part is whole.
    `choose` says what there is to do; who wants the output meanwhile is told the `purpose`.

    Raises:
        ConfigError, DataError, PlanError: said before anything is started or written.
        TooManyFailuresError: more rows failed than allowed; everything that was done is written.
    """
    config = check_models(config)
    store, units = input_units(source, config)
    settings = settings_to_match(config)
    to_match = None if restart else settings
    filesystem, folder = open_filesystem(output)
    output = redacted(output)  # from here on it is only shown
    if not is_switching(filesystem, folder):
        parts_done(filesystem, folder, to_match)  # refuse what is another's, with nothing touched
    with held(filesystem, folder, purpose) as lease:
        finish_switch(filesystem, folder)
        done = parts_done(filesystem, folder, to_match)
        work = choose(filesystem, folder, units, done)
        pending = work.pending
        summary = _summary(output, config, work)
        where = source if "://" in source else os.path.abspath(os.path.expanduser(source))
        if not pending:
            begin_run(filesystem, folder, summary.run_id, config, where)
            write_run(filesystem, folder, summary)
            return summary
        connect(address, config)
        if make_engine is FunASREngine:  # any other knows what it loads, and when
            stage(config.engine)
        plan = plan_run(config)
        before = precision_of(filesystem, folder, done)
        placement = Placement(filesystem, folder, settings, restart=restart)
        writer = PartWriter(filesystem, placement.folder, pending, placement.written, work.places)
        steering = Steering(config, plan, recognizing_operator(plan), rows_of(pending))
        chunks = ChunkSums()
        started = time.monotonic()
        begin_run(filesystem, folder, summary.run_id, config, where)
        placement.begin()
        try:
            _run(store, pending, config, plan, steering, writer, chunks, before, make_engine, lease)
        finally:
            placement.end()
        summary = _with_results(summary, config, plan, steering, writer, started)
        write_run(
            filesystem,
            folder,
            summary,
            plan.to_dict(),
            steering.record(),
            steering.samples(),
            chunks.to_dict(),
        )
    clips = partial(read_clips, filesystem, folder, store, units, config.input)
    if purpose != MEASURING:
        report_of_run(filesystem, folder, output, summary.run_id, clips, config.control.baseline)
    if too_many_failed(writer.received, config, writer.received.rows):
        raise TooManyFailuresError(_why_ended(writer, config, rows_of(pending), output))
    return summary


def too_many_failed(tally: Tally, config: Config, rows: int) -> bool:
    """Whether of `rows` more have failed than the settings allow."""
    return tally.by_status[STATUS_FAILED] > config.job.max_failed_ratio * rows


def _why_ended(writer: PartWriter, config: Config, rows: int, output: str) -> str:
    tally = writer.received
    what_next = "all rows are in"
    if tally.rows < rows:
        what_next = (
            f"the job was ended before its other {rows - tally.rows} rows, which the same command "
            f"does; {writer.written} parts are in"
        )
    return (
        f"{tally.by_status[STATUS_FAILED]} of {tally.rows} rows failed, more than "
        f"job.max_failed_ratio={config.job.max_failed_ratio:g} allows; {what_next} {output}, "
        "and error_code says why each one failed."
    )


def _with_results(
    summary: RunSummary,
    config: Config,
    plan: Plan,
    steering: Steering,
    writer: PartWriter,
    started: float,
) -> RunSummary:
    """The summary of a run that began at `started`, by the monotonic clock, and has ended now."""
    wall_s = time.monotonic() - started
    tally = writer.received
    return replace(
        summary,
        rows_out=tally.rows,
        rows_ok=tally.by_status[STATUS_OK],
        rows_no_speech=tally.by_status[STATUS_NO_SPEECH],
        rows_failed=tally.by_status[STATUS_FAILED],
        audio_s=tally.audio_ms / 1000,
        wall_s=wall_s,
        rtfx=tally.audio_ms / 1000 / wall_s,
        cpu_percent_mean=steering.mean("cpu_percent"),
        gpu_percent_mean=steering.mean("gpu_percent"),
        actors_max=steering.control.most_running,
        ncpu=plan.ncpu,
        precision=", ".join(sorted(writer.precisions - {""})) or config.engine.precision,
        batch_size_s=writer.batch_size_s or plan.batch_size_s,
    )


def _summary(output: str, config: Config, work: Work) -> RunSummary:
    """Of a run that has not done anything."""
    by = provenance(config)
    rows = work.rows_in
    return RunSummary(
        run_id=new_run_id(),
        output=output,
        rows_in=rows,
        rows_out=0,
        rows_ok=0,
        rows_no_speech=0,
        rows_failed=0,
        rows_resumed=rows - rows_of(work.pending),
        audio_s=0.0,
        wall_s=0.0,
        rtfx=0.0,
        cpu_percent_mean=None,
        gpu_percent_mean=None,
        actors_max=0,
        ncpu=config.engine.ncpu,
        precision=config.engine.precision,
        batch_size_s=config.padded_s,
        model_id=by.model_id,
        config_fingerprint=by.config_fingerprint,
    )


def _run(
    source: pafs.FileSystem,
    pending: Sequence[Unit],
    config: Config,
    plan: Plan,
    steering: Steering,
    writer: PartWriter,
    sums: ChunkSums,
    before: str,
    make_engine: MakeEngine,
    lease: Lease,
) -> None:
    """Stream the pending units through the operators and have their parts written.

    It ends early where so many rows of written parts have failed that the job has, whatever comes.
    `before` is what earlier rows of the output were computed in, "" where there are none.
    """
    numbers = {unit.part_name: number for number, unit in enumerate(pending)}
    bundled = bundle(pending, config.job.unit_mb)
    # As many reading tasks may be at work when the job begins, or ends: one feeds several actors.
    near = -(-plan.recognize.most // _ACTORS_A_READER)
    items = [
        {
            "bundle": json.dumps(
                {
                    "units": [
                        (numbers[unit.part_name], dataclasses.asdict(unit)) for unit in units
                    ],
                    "is_first": at < near,
                    "is_last": at >= len(bundled) - near,
                }
            )
        }
        for at, units in enumerate(bundled)
    ]
    context = DataContext.get_current()
    progress_bars = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        with (
            steering.of(context),
            few_block_stats(context),
            unhurried(context),
            quiet_execution(),
            Progress(rows_of(pending)) as progress,
        ):
            bundles = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
            name = steering.control.name
            chunks = chunks_of_bundles(bundles, config, plan, source, name)
            transcripts = transcripts_of(chunks, config, plan, make_engine, announce=name)
            for table in transcripts.iter_batches(batch_size=None, batch_format="pyarrow"):
                lease.check()
                writer.add(without(table))
                sums.add(table, writer.batch_size_s)
                if say_what_differs(before, writer.precisions):
                    before = ""
                so_far = writer.received
                steering.delivered(so_far.rows, so_far.audio_ms, sums)
                progress.update(so_far.rows, so_far.audio_ms, steering.said())
                if too_many_failed(writer.kept, config, rows_of(pending)):
                    return
    except RayError as error:
        own = own_error(error)
        if own is error:
            raise
        raise own from None
    finally:
        context.enable_progress_bars, context.print_on_execution_start = progress_bars
    writer.finish()

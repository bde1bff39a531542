"""The job: units or a dataset through Ray Data to transcripts.

Owns the Ray connection, the graph of operators, and the loop that takes transcripts and has parts
written. Must not know what is inside a model.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psutil
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError

from ray_asr.config import Config, EngineConfig, InputConfig, deciding_settings, fingerprint
from ray_asr.control.plan import Plan
from ray_asr.corpus.resume import claim_output, parts_done
from ray_asr.corpus.rows import decode_rows, in_chunks, numbered, read_unit
from ray_asr.corpus.units import Unit, bundle, check_columns, list_units, open_filesystem
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import model_identity, resolve_model
from ray_asr.engine.protocol import Engine
from ray_asr.engine.threads import thread_environment
from ray_asr.errors import RayAsrError, TooManyFailuresError
from ray_asr.job.long_recording import Limits
from ray_asr.job.parts import PartWriter
from ray_asr.job.progress import Progress
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.job.steering import plan_run
from ray_asr.job.summary import RunSummary, write_run
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK, Provenance

# A worker call holds this many model batches: few, so that all actors end at the same time.
_BATCHES_IN_A_CHUNK = 2
# Over so much audio rows are sorted by length before they are cut into chunks, so that little is
# padded; one reading task holds it decoded (60 MB).
_SORTED_S = 960.0
# Chunks are scheduled one by one: a block of Ray's should not hold several.
_BLOCK_BYTES = 2**20
_MOST_BLOCKS = 10_000

MakeEngine = Callable[[EngineConfig], Engine]

logger = logging.getLogger(__name__)


def connect(address: str | None = None, config: Config | None = None, **local: Any) -> None:
    """Use the Ray that is there, or start one on this machine.

    Args:
        address: a cluster's address; "local" starts one of its own; None takes what
            `RAY_ADDRESS` or a running cluster offers, and starts one where there is none.
        config: where it asks for a number of actors, one's own Ray has slots for them, whatever the
            machine has.
        local: what `ray.init` is given besides, where it starts one.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local" or (address is None and not os.environ.get("RAY_ADDRESS")):
        # Reading takes a few percent of a core: on one machine it has a share of the cores that
        # the actors have, and a slot beside them.
        cores = len(os.sched_getaffinity(0))
        asked = config.job.num_actors * max(config.engine.ncpu, 1) if config else 0
        quiet |= {"num_cpus": max(cores, asked) + 1, "include_dashboard": False, **local}
        address = "local"
    ray.init(address=address, **quiet)


def _read_bundles(
    items: pa.Table, config: InputConfig, source: str, chunk_s: float
) -> Iterator[Any]:
    """The read and decode task: the units of one bundle as chunks of decoded rows."""
    filesystem, _ = open_filesystem(source)
    for text in items["bundle"].to_pylist():

        def runs(text: str = text) -> Iterator[tuple[pa.Table, float]]:
            for number, fields in json.loads(text):
                fields["row_groups"] = tuple(fields["row_groups"])
                fields["rows"] = tuple(fields["rows"])
                of_unit = (
                    run
                    for batch in read_unit(filesystem, Unit(**fields))
                    for run in decode_rows(batch, config, chunk_s)
                )
                yield from numbered(of_unit, number)

        yield from in_chunks(
            runs(),
            chunk_s,
            sort_window=max(1, int(_SORTED_S / chunk_s)),
            batches=_BATCHES_IN_A_CHUNK,
        )


def _decode_block(block: pa.Table, config: InputConfig, chunk_s: float) -> Iterator[pa.Table]:
    """The decode task over a dataset of one's own: a block as chunks of decoded rows."""
    check_columns("the dataset", block.schema, config.id_column, config.audio_column)
    runs = (run for batch in block.to_batches() for run in decode_rows(batch, config, chunk_s))
    yield from in_chunks(runs, chunk_s)


def _provenance(config: Config) -> Provenance:
    model_id, revision = model_identity(config.engine)
    return Provenance(model_id, revision, fingerprint(config))


def check_models(config: Config) -> None:
    """Say at once what is wrong with a model folder, before anything starts."""
    engine = config.engine
    for kind in ("model", "vad_model", "punc_model"):
        if name := getattr(engine, kind):
            resolve_model(name, kind)


def _transcribed(
    chunks: Dataset, config: Config, plan: Plan, make_engine: MakeEngine = FunASREngine
) -> Dataset:
    """Chunks of decoded rows through the actors, all steps in one pool or each in its own."""
    engine = replace(config.engine, ncpu=plan.ncpu)
    batch_size_s, language = plan.batch_size_s, config.engine.language
    limits = Limits(engine.max_single_segment_time / 1000, config.input.max_duration_s)
    provenance = _provenance(config)

    def through(
        rows: Dataset, stage: Any, engine: EngineConfig, actors: int, num_gpus: float, *more: Any
    ) -> Dataset:
        return rows.map_batches(
            stage,
            fn_constructor_args=(partial(make_engine, engine), batch_size_s, *more),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=engine.ncpu,
            num_gpus=num_gpus or None,
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            runtime_env={"env_vars": thread_environment(engine.ncpu)},
        )

    num_gpus = plan.num_gpus
    if not plan.split:
        more = (language, provenance, limits)
        return through(chunks, TranscribeWorker, engine, plan.recognize.start, num_gpus, *more)
    beside = replace(engine, model="", device="cpu", precision="auto", ncpu=1)
    detecting = replace(beside, vad_model=engine.vad_model, punc_model="")
    punctuating = replace(beside, vad_model="", punc_model=engine.punc_model)
    rows = through(chunks, DetectStage, detecting, plan.detect.start, 0.0, limits)
    # It has the detector too: for long recordings, which it searches while it recognizes.
    recognizing = replace(engine, punc_model="")
    rows = through(rows, RecognizeStage, recognizing, plan.recognize.start, num_gpus, limits)
    more = (limits, language, provenance)
    return through(rows, PunctuateStage, punctuating, plan.punctuate.start, 0.0, *more)


def transcribe_dataset(dataset: Dataset, config: Config) -> Dataset:
    """A lazy dataset of transcripts, one row for each row of `dataset`; nothing runs yet.

    The rows come with the columns of the output contract and the other columns of `dataset`.

    Raises:
        ConfigError: a model folder is not one.
        PlanError: the cluster has no room for one actor.
    """
    check_models(config)
    plan = plan_run(config)
    chunk_s = _BATCHES_IN_A_CHUNK * plan.batch_size_s
    chunks = dataset.map_batches(
        partial(_decode_block, config=config.input, chunk_s=chunk_s),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
    )
    chunks.context.target_max_block_size = _BLOCK_BYTES
    return _transcribed(chunks, config, plan)


def transcribe_path(
    source: str,
    output: str,
    config: Config,
    address: str | None = None,
    make_engine: MakeEngine = FunASREngine,
) -> RunSummary:
    """Transcribe the Parquet files at `source` into `output`, or go on where that stopped.

    Connects to Ray at `address` (see `connect`) once the input is known to be there. Each actor
    holds what `make_engine` makes of its settings.

    Raises:
        ConfigError, DataError, PlanError: said before anything is started or written.
        TooManyFailuresError: more rows failed than allowed; everything is written.
    """
    check_models(config)
    filesystem, path = open_filesystem(source)
    units = list_units(
        filesystem,
        path,
        id_column=config.input.id_column,
        audio_column=config.input.audio_column,
        unit_mb=config.job.unit_mb,
    )
    settings = {
        "job.unit_mb": config.job.unit_mb,
        "config_fingerprint": fingerprint(config),
        **deciding_settings(config),
    }
    out_filesystem, folder = open_filesystem(output)
    parts_done(out_filesystem, folder, settings)  # refuse what is another's before Ray starts
    connect(address, config)
    plan = plan_run(config)
    done = claim_output(out_filesystem, folder, settings)
    pending = [unit for unit in units if unit.part_name not in done]
    rows_in, rows_left = sum(u.num_rows for u in units), sum(u.num_rows for u in pending)
    known = len(units) - len(pending)
    if done:
        logger.info(
            "%d of %d units (%d rows) are done already; %d rows are left.",
            known, len(units), rows_in - rows_left, rows_left,
        )  # fmt: skip
    if len(done) > known:
        logger.warning(
            "%d parts in %s come from input that is no longer there or has changed; "
            "they stay as they are.", len(done) - known, output,
        )  # fmt: skip
    writer = PartWriter(out_filesystem, folder, pending)
    psutil.cpu_percent()
    started = time.monotonic()
    if pending:
        _run(source, pending, config, plan, writer, rows_left, make_engine)
    wall_s = time.monotonic() - started
    cpu_percent = psutil.cpu_percent()
    tally = writer.received
    one_node = sum(node["Alive"] for node in ray.nodes()) == 1
    provenance = _provenance(config)
    summary = RunSummary(
        run_id=time.strftime("%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:6],
        output=output,
        rows_in=rows_in,
        rows_out=tally.rows,
        rows_ok=tally.by_status[STATUS_OK],
        rows_no_speech=tally.by_status[STATUS_NO_SPEECH],
        rows_failed=tally.by_status[STATUS_FAILED],
        rows_resumed=rows_in - rows_left,
        audio_s=tally.audio_ms / 1000,
        wall_s=wall_s,
        rtfx=tally.audio_ms / 1000 / wall_s if pending else 0.0,
        cpu_percent_mean=cpu_percent if one_node and pending else None,
        gpu_percent_mean=None,
        actors_max=plan.recognize.start if pending else 0,
        ncpu=plan.ncpu,
        precision=", ".join(sorted(writer.precisions - {""})) or config.engine.precision,
        batch_size_s=plan.batch_size_s,
        model_id=provenance.model_id,
        config_fingerprint=provenance.config_fingerprint,
    )
    write_run(out_filesystem, folder, config, summary)
    if tally.rows and summary.rows_failed > config.job.max_failed_ratio * tally.rows:
        raise TooManyFailuresError(
            f"{summary.rows_failed} of {tally.rows} rows failed, more than job.max_failed_ratio="
            f"{config.job.max_failed_ratio:g} allows; all rows are in {output}, and error_code "
            "says why each one failed."
        )
    return summary


def _run(
    source: str,
    pending: Sequence[Unit],
    config: Config,
    plan: Plan,
    writer: PartWriter,
    rows_left: int,
    make_engine: MakeEngine,
) -> None:
    """Stream the pending units through the operators and have their parts written."""
    numbers = {unit.part_name: number for number, unit in enumerate(pending)}
    items = [
        {
            "bundle": json.dumps(
                [(numbers[unit.part_name], dataclasses.asdict(unit)) for unit in units]
            )
        }
        for units in bundle(pending, config.job.unit_mb)
    ]
    chunk_s = _BATCHES_IN_A_CHUNK * plan.batch_size_s
    context = DataContext.get_current()
    progress_bars = context.enable_progress_bars, context.print_on_execution_start
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        bundles = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_BLOCKS))
        chunks = bundles.map_batches(
            partial(_read_bundles, config=config.input, source=source, chunk_s=chunk_s),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=1,
        )
        chunks.context.target_max_block_size = _BLOCK_BYTES
        progress = Progress(rows_left)
        transcripts = _transcribed(chunks, config, plan, make_engine)
        for table in transcripts.iter_batches(batch_size=None, batch_format="pyarrow"):
            writer.add(table)
            progress.update(writer.received.rows, writer.received.audio_ms)
    except RayError as error:
        raise _own_error(error) from error
    finally:
        context.enable_progress_bars, context.print_on_execution_start = progress_bars
    writer.finish()


def _own_error(error: BaseException) -> BaseException:
    """The error of ours inside one of Ray's, where there is one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RayAsrError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return error

"""The operators of the job: units or a dataset to chunks of decoded rows, and these to transcripts.

Owns what Ray Data is asked to run, with which resources. Must not know what becomes of the
transcripts, or what is inside a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
from ray.data import ActorPoolStrategy, Dataset

from ray_asr.config import Config, EngineConfig, InputConfig, fingerprint
from ray_asr.control.announcing import Announcing, reading
from ray_asr.control.attempts import Attempts, MemoryStore
from ray_asr.control.batch_bounds import batches_in_a_chunk
from ray_asr.control.ledger import RayStore
from ray_asr.control.plan import Actors, Plan
from ray_asr.corpus.chunks import in_chunks
from ray_asr.corpus.rows import numbered, read_unit
from ray_asr.corpus.units import Unit, check_columns
from ray_asr.engine.cores import pin_process
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import model_identity
from ray_asr.engine.protocol import Engine
from ray_asr.engine.threads import thread_environment
from ray_asr.job.batch_size import BatchBounds
from ray_asr.job.decoding import decoded
from ray_asr.job.isolation import Isolation
from ray_asr.job.long_recording import Limits
from ray_asr.job.stages import DetectStage, PunctuateStage, RecognizeStage
from ray_asr.job.staging import Staging, before_loading, staging_of
from ray_asr.job.worker import TranscribeWorker
from ray_asr.memory import give_back_memory
from ray_asr.schema import Provenance

# A run of decoded rows holds two batches, and no more than so many seconds but for half a batch:
# the first chunks wait for two runs, and where a run ends its process, its rows are done again.
_BATCHES_IN_A_RUN, _RUN_S = 2, 60.0
# Over so much audio rows are sorted by length before they are cut into chunks, so that little is
# padded; one reading task holds it decoded, with what it holds back and has left over (100 MB).
_SORTED_S = 960.0
# Chunks are scheduled one by one: a block of Ray's should not hold several.
_BLOCK_BYTES = 2**20

MakeEngine = Callable[[EngineConfig], Engine]


def recognizing_operator(plan: Plan) -> str:
    """The class name of the callable in the pool that recognizes."""
    return RecognizeStage.__name__ if plan.split else TranscribeWorker.__name__


def provenance(config: Config) -> Provenance:
    """What every row says of how it was made."""
    model_id, revision = model_identity(config.engine)
    return Provenance(model_id, revision, fingerprint(config))


def chunks_of_bundles(
    bundles: Dataset, config: Config, plan: Plan, source: pafs.FileSystem, announce: str
) -> Dataset:
    """Rows of one JSON bundle of units each to chunks of decoded rows.

    Args:
        bundles: of units, as text, each with whether it is read when the job begins or ends.
        config: how rows are read.
        plan: how large chunks are.
        source: where the input is that the units are of.
        announce: the name of the `PoolControl` that reading tasks report to.
    """
    read = partial(
        _read_bundles,
        config=config.input,
        source=source,
        batch_s=plan.batch_size_s,
        announce=announce,
        isolation=_isolation(config, announce),
    )
    chunks = bundles.map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=1)
    chunks.context.target_max_block_size = _BLOCK_BYTES
    return chunks


def chunks_of_rows(dataset: Dataset, config: Config, plan: Plan, announce: str = "") -> Dataset:
    """Rows of the input contract to chunks of decoded rows.

    Args:
        dataset: of the input contract.
        config: how rows are read.
        plan: how large chunks are.
        announce: the name of the `PoolControl` under which tasks keep their attempts.
    """
    decode = partial(
        _decode_block,
        config=config.input,
        chunk_s=_chunk_s(plan),
        isolation=_isolation(config, announce),
    )
    chunks = dataset.map_batches(decode, batch_size=None, batch_format="pyarrow", num_cpus=1)
    chunks.context.target_max_block_size = _BLOCK_BYTES
    return chunks


def _chunk_s(plan: Plan) -> float:
    return batches_in_a_chunk(plan.batch_size_s) * plan.batch_size_s


def _isolation(config: Config, announce: str) -> Isolation:
    """The rule for rows that end their process, which the retry of a task knows by name."""
    job = config.job
    store = RayStore(announce) if announce else MemoryStore()
    return Isolation(Attempts(store), job.row_timeout_s, job.recycle_rows)


def _read_bundles(
    items: pa.Table,
    config: InputConfig,
    source: pafs.FileSystem,
    batch_s: float,
    announce: str,
    isolation: Isolation,
) -> Iterator[Any]:
    """The read and decode task: the units of one bundle as chunks of decoded rows."""
    with reading(announce):
        yield from _chunks_of(items, config, source, batch_s, isolation)
    give_back_memory()  # the process reads the next bundle


def _chunks_of(
    items: pa.Table,
    config: InputConfig,
    source: pafs.FileSystem,
    batch_s: float,
    isolation: Isolation,
) -> Iterator[pa.Table]:
    run_s = max(batch_s / 2, min(_BATCHES_IN_A_RUN * batch_s, _RUN_S))
    for text in items["bundle"].to_pylist():
        bundle = json.loads(text)

        def runs(units: list[Any] = bundle["units"]) -> Iterator[tuple[pa.Table, float]]:
            for number, fields in units:
                fields["row_groups"] = tuple(fields["row_groups"])
                fields["rows"] = tuple(fields["rows"])
                fields["chosen"] = tuple(fields["chosen"])
                unit = Unit(**fields)
                batches = read_unit(source, unit)
                of_unit = decoded(batches, unit.path, config, run_s, isolation)
                yield from numbered(of_unit, number, unit.chosen)

        yield from in_chunks(
            runs(),
            batch_s,
            batches_in_a_chunk(batch_s),
            sorted_s=_SORTED_S,
            is_first=bundle["is_first"],
            is_last=bundle["is_last"],
        )


def _decode_block(
    block: pa.Table, config: InputConfig, chunk_s: float, isolation: Isolation
) -> Iterator[pa.Table]:
    """The decode task over a dataset of one's own: a block as chunks of decoded rows."""
    check_columns("the dataset", block.schema, config.id_column, config.audio_column)
    batches = iter(block.to_batches())
    yield from in_chunks(decoded(batches, "the dataset", config, chunk_s, isolation), chunk_s)


def transcripts_of(
    chunks: Dataset,
    config: Config,
    plan: Plan,
    make_engine: MakeEngine = FunASREngine,
    announce: str = "",
) -> Dataset:
    """Chunks of decoded rows through the actors, all steps in one pool or each in its own.

    Args:
        chunks: from `chunks_of_bundles` or `chunks_of_rows`.
        config: the models, and what the rows say of them.
        plan: how many actors there are of each kind, and what each of them has.
        make_engine: makes each actor's engine of its settings.
        announce: the name of the `PoolControl` that recognizing actors report to, and under which
            all actors keep their attempts.
    """
    isolation = _isolation(config, announce)
    engine = replace(config.engine, ncpu=plan.ncpu, precision=plan.precision)
    batches = BatchBounds(
        plan.batch_size_s, plan.least_batch_s, min(plan.most_batch_s, _chunk_s(plan))
    )
    language, by = config.engine.language, provenance(config)
    # FunASR gives speakers to sentences too.
    sentences = config.engine.sentence_timestamp or bool(config.engine.spk_model)
    limits = Limits(engine.max_single_segment_time / 1000, config.input.max_duration_s)

    def through(
        rows: Dataset, stage: Any, engine: EngineConfig, actors: Actors, *more: Any, **named: Any
    ) -> Dataset:
        recognizes = bool(engine.model)
        make = partial(
            _made, make_engine, engine, staging_of(engine), pin=plan.pin_cores and recognizes
        )
        return rows.map_batches(
            stage,
            fn_constructor_args=(
                Announcing(announce, make) if announce and recognizes else make,
                batches,
                *more,
                isolation,
            ),
            fn_constructor_kwargs=named,
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=engine.ncpu,
            num_gpus=(plan.num_gpus or None) if recognizes else None,
            compute=ActorPoolStrategy(
                min_size=actors.least,
                max_size=actors.most,
                initial_size=actors.start,
                max_tasks_in_flight_per_actor=2,
            ),
            runtime_env={"env_vars": thread_environment(engine.ncpu)},
        )

    if not plan.split:
        return through(
            chunks, TranscribeWorker, engine, plan.recognize, language, by, limits,
            sentences=sentences,
        )  # fmt: skip
    beside = replace(engine, model="", spk_model="", device="cpu", precision="auto", ncpu=1)
    detecting = replace(beside, vad_model=engine.vad_model, punc_model="")
    punctuating = replace(beside, vad_model="", punc_model=engine.punc_model)
    rows = through(chunks, DetectStage, detecting, plan.detect, limits)
    # It has the detector too: for long recordings, which it searches while it recognizes.
    recognizing = replace(engine, punc_model="")
    rows = through(rows, RecognizeStage, recognizing, plan.recognize, limits)
    return through(
        rows, PunctuateStage, punctuating, plan.punctuate, limits, language, by,
        sentences=sentences,
    )  # fmt: skip


def _made(make_engine: MakeEngine, engine: EngineConfig, staging: Staging, *, pin: bool) -> Engine:
    """An engine in its actor, whose process has cores of its own before anything is loaded."""
    if pin:
        pin_process(engine.ncpu)
    before_loading(staging)
    return make_engine(engine)

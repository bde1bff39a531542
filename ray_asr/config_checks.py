"""Which settings go together: each value alone, and those that hang on one another.

Knows nothing of files, flags or names (config), of Ray or of FunASR.
"""

from __future__ import annotations

from ray_asr.config_sections import (
    BatchConfig,
    ControlConfig,
    EngineConfig,
    InputConfig,
    JobConfig,
    padded_seconds,
)
from ray_asr.errors import ConfigError

# FunASR looks for no more in a recording.
MOST_SPEAKERS = 15
# What ray_asr decides itself, or what would undo a promise of its own; not to be passed through.
OWNED_FUNASR_OPTIONS = frozenset(
    [
        "model", "vad_model", "punc_model", "spk_model", "hub", "model_revision", "hotword",
        "language", "device", "ncpu", "ngpu", "batch_size", "batch_size_s", "output_dir",
        "batch_size_threshold_s", "batch_size_token", "disable_pbar", "disable_update",
        "disable_log", "trust_remote_code", "remote_code", "fp16", "bf16", "dtype", "llm_dtype",
        "kwargs", "init_param", "use_itn", "sentence_timestamp", "preset_spk_num",
        "spk_mode", "spk_kwargs",
    ]
)  # fmt: skip


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise ConfigError(sentence)


_PRECISIONS = {"cpu": ("auto", "fp32", "int8"), "cuda": ("auto", "fp32", "bf16", "fp16")}


def _check_precision(engine: EngineConfig) -> None:
    kind = engine.device.split(":")[0]
    known = sorted({precision for of_kind in _PRECISIONS.values() for precision in of_kind})
    _require(
        engine.precision in known,
        f'engine.precision is "{engine.precision}": use one of {", ".join(known)}.',
    )
    _require(
        engine.precision in _PRECISIONS[kind],
        f"engine.precision is {engine.precision}, which engine.device={engine.device} does not "
        f"compute in: use {', '.join(_PRECISIONS[kind][:-1])} or {_PRECISIONS[kind][-1]}.",
    )


def _check_control(control: ControlConfig, num_actors: int) -> None:
    least, most = control.min_actors, control.max_actors
    for name in ("min_actors", "max_actors"):
        actors = getattr(control, name)
        _require(actors >= 0, f"control.{name} is {actors}: use 0 (automatic) or more.")
    _require(
        most == 0 or least <= most,
        f"control.min_actors is {least}, more than control.max_actors ({most}): lower the one or "
        "raise the other.",
    )
    _require(
        num_actors == 0 or least <= num_actors <= (most or num_actors),
        f"job.num_actors is {num_actors}, outside control.min_actors ({least}) and "
        f"control.max_actors ({most}): start between them.",
    )
    _require(
        control.reserve_cores >= -1,
        f"control.reserve_cores is {control.reserve_cores}: use -1 (automatic), 0 or more.",
    )
    for name in ("sample_interval_s", "actor_timeout_s"):
        seconds = getattr(control, name)
        _require(seconds > 0, f"control.{name} is {seconds:g}: use a time above 0 seconds.")


def check_settings(
    input: InputConfig,
    engine: EngineConfig,
    batch: BatchConfig,
    job: JobConfig,
    control: ControlConfig,
) -> None:
    """Whether the sections can be used together.

    Raises:
        ConfigError: one of them cannot; the first found is named.
    """
    _require(bool(engine.model), 'engine.model is empty: name a FunASR model, a folder, or "demo".')
    _require(
        engine.device == "cpu" or engine.device.split(":")[0] == "cuda",
        f'engine.device is "{engine.device}": use "cpu" or "cuda".',
    )
    _check_precision(engine)
    _require(engine.hub in ("ms", "hf"), f'engine.hub is "{engine.hub}": use "ms" or "hf".')
    _require(engine.ncpu >= 0, f"engine.ncpu is {engine.ncpu}: use 0 (automatic) or more.")
    _require(
        engine.max_single_segment_time >= 1000,
        f"engine.max_single_segment_time is {engine.max_single_segment_time} ms: use 1000 or more.",
    )
    _require(
        0 <= engine.preset_spk_num <= MOST_SPEAKERS,
        f"engine.preset_spk_num is {engine.preset_spk_num}: use 1 to {MOST_SPEAKERS}, or 0 to have "
        "them counted.",
    )
    _require(
        engine.preset_spk_num == 0 or bool(engine.spk_model),
        f"engine.preset_spk_num is {engine.preset_spk_num}, but no model tells speakers apart: set "
        "engine.spk_model=cam++ too.",
    )
    _require(
        not (engine.use_itn and engine.punc_model),
        "engine.use_itn has the model write marks itself, and engine.punc_model would set them "
        'again: set engine.punc_model="" too.',
    )
    _require(
        input.max_duration_s > 0,
        f"input.max_duration_s is {input.max_duration_s}: use a time above 0 seconds.",
    )
    _require(
        batch.batch_size_s == 0 or batch.batch_size_s >= 1.0,
        f"batch.batch_size_s is {batch.batch_size_s}: use at least 1 second, or 0 (auto).",
    )
    _require(
        job.stages in ("auto", "fused", "split"),
        f'job.stages is "{job.stages}": use "auto", "fused" or "split".',
    )
    longest_s = engine.max_single_segment_time / 1000
    _require(
        not engine.vad_model or padded_seconds(engine, batch) >= longest_s,
        f"batch.batch_size_s is {batch.batch_size_s:g}, less than one segment of "
        f"engine.max_single_segment_time ({longest_s:g} s): use at least {longest_s:g}, or "
        "lower that.",
    )
    _require(job.unit_mb > 0, f"job.unit_mb is {job.unit_mb}: use a size above 0 MiB.")
    _require(
        job.row_timeout_s == 0 or 1 <= job.row_timeout_s <= 1e6,
        f"job.row_timeout_s is {job.row_timeout_s:g}: use 1 second or more, or 0 for no bound.",
    )
    _require(
        job.recycle_rows >= 0,
        f"job.recycle_rows is {job.recycle_rows}: use 0 (never) or a number of rows.",
    )
    _require(job.num_actors >= 0, f"job.num_actors is {job.num_actors}: use 0 (automatic) or more.")
    _check_control(control, job.num_actors)
    parts = 1 / job.num_gpus if 0 < job.num_gpus < 1 else job.num_gpus
    _require(
        job.num_gpus >= 0 and abs(parts - round(parts)) < 1e-6,
        f"job.num_gpus is {job.num_gpus}: use a whole number or 1/n, since Ray packs 0.4 like 0.5.",
    )
    _require(
        job.num_gpus == 0 or engine.device != "cpu",
        f"job.num_gpus is {job.num_gpus} but engine.device is cpu: set engine.device=cuda.",
    )
    _require(
        engine.device == "cpu" or job.num_gpus > 0,
        "engine.device is cuda but job.num_gpus is 0: set job.num_gpus=1 (or 1/n to share a GPU).",
    )
    _require(
        0.0 <= job.max_failed_ratio <= 1.0,
        f"job.max_failed_ratio is {job.max_failed_ratio}: use a share between 0 and 1.",
    )
    owned = sorted(OWNED_FUNASR_OPTIONS & set(engine.funasr_options))
    _require(
        not owned,
        f"engine.funasr_options may not set {', '.join(owned)}: ray_asr sets them itself; "
        "use the settings of the same meaning.",
    )

"""The settings of a job: a frozen tree, how it is loaded, checked and fingerprinted.

Knows nothing of Ray or FunASR. Every leaf has one name in the whole tree, so a keyword argument
or a command-line flag may use the leaf alone (`batch_size_s`) and a file or `--set` the full path
(`batch.batch_size_s`).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import reprlib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from ray_asr.errors import ConfigError
from ray_asr.redaction import redacted, redacted_settings
from ray_asr.yaml_text import parse_yaml, read_yaml

# What ray_asr decides itself, or what would undo a promise of its own; not to be passed through.
OWNED_FUNASR_OPTIONS = frozenset(
    [
        "model", "vad_model", "punc_model", "spk_model", "hub", "model_revision", "hotword",
        "language", "device", "ncpu", "ngpu", "batch_size", "batch_size_s", "output_dir",
        "batch_size_threshold_s", "batch_size_token", "disable_pbar", "disable_update",
        "disable_log", "trust_remote_code", "remote_code", "fp16", "bf16", "kwargs", "init_param",
    ]
)  # fmt: skip


def setting(default: Any, text: str, unit: str = "", *, decides_text: bool = False) -> Any:
    """A leaf: its default, what it does, its unit, and whether transcripts hang on it."""
    return field(default=default, metadata={"text": text, "unit": unit, "decides": decides_text})


@dataclass(frozen=True)
class InputConfig:
    """Where a row's parts stand in the input."""

    id_column: str = setting("utterance_id", "column of row ids", decides_text=True)
    audio_column: str = setting(
        "audio", "column of encoded bytes, of {bytes, path}, or of paths/URIs", decides_text=True
    )
    max_duration_s: float = setting(
        6 * 3600.0, "a longer recording is a failed row", "s", decides_text=True
    )


@dataclass(frozen=True)
class EngineConfig:
    """Which FunASR models run, and on what; the names are FunASR's own."""

    model: str = setting("paraformer-zh", "recognition model", decides_text=True)
    vad_model: str = setting("fsmn-vad", 'voice activity model, "" for none', decides_text=True)
    punc_model: str = setting("ct-punc", 'punctuation model, "" for none', decides_text=True)
    hub: str = setting("ms", "where named models come from: ms or hf", decides_text=True)
    model_revision: str = setting("master", "revision of named models", decides_text=True)
    language: str = setting("", "language given to the model", decides_text=True)
    hotword: str = setting("", "words to favour, separated by blanks", decides_text=True)
    max_single_segment_time: int = setting(
        30_000, "longest stretch that VAD passes on", "ms", decides_text=True
    )
    device: str = setting("cpu", "cpu or cuda")
    precision: str = setting(
        "auto", "what the recognizer computes in: auto, fp32, bf16, fp16 or int8", decides_text=True
    )
    ncpu: int = setting(0, "compute threads an actor; 0: as few as memory allows", "cores")
    trust_model: bool = setting(False, "let models run code of their own; docs/security.md")
    funasr_options: dict[str, Any] = field(
        default_factory=dict[str, Any],
        metadata={
            "text": "anything else for FunASR's AutoModel",
            "unit": "",
            "decides": True,
        },
    )


@dataclass(frozen=True)
class BatchConfig:
    """How much is recognized in one call of the model."""

    batch_size_s: float = setting(
        0.0, "padded audio in one model call; 0: 30 on a CPU, 300 on a GPU", "s"
    )


@dataclass(frozen=True)
class JobConfig:
    """How the work is cut and spread."""

    unit_mb: float = setting(64.0, "encoded audio in one unit of work (one part file)", "MiB")
    stages: str = setting(
        "auto",
        "detection and punctuation in the recognizing actors or in pools: auto, fused, split",
    )
    num_actors: int = setting(
        0, "recognizing actors, at the start where it scales; 0: as many as fit", "actors"
    )
    num_gpus: float = setting(0.0, "GPUs an actor: 0, or 1/n", "GPUs")
    row_timeout_s: float = setting(
        600.0, "a row that takes longer, beside its own length, is failed; 0: no bound", "s"
    )
    recycle_rows: int = setting(
        0, "rows after which an actor's process is renewed; 0: never", "rows"
    )
    max_failed_ratio: float = setting(0.5, "more failed rows than this end with exit code 5", "")


@dataclass(frozen=True)
class ControlConfig:
    """How the job follows what it measures of itself."""

    autoscale: bool = setting(True, "change the number of actors while it runs")
    min_actors: int = setting(
        0, "never fewer recognizing actors; 0: 1 if autoscaling, else all", "actors"
    )
    max_actors: int = setting(0, "never more recognizing actors; 0: as many as fit", "actors")
    reserve_cores: int = setting(
        -1, "cores of each node kept for the system and for reading; -1: automatic", "cores"
    )
    pin_cores: bool = setting(False, "give each actor cores that no other actor uses")
    baseline: str = setting("", 'a baseline.json of `ray-asr tune`; "" for none')
    sample_interval_s: float = setting(1.0, "time between two samples of a node", "s")
    actor_timeout_s: float = setting(
        300.0, "no actor within so long, while work waits, ends the job", "s"
    )
    vary_batch: bool = setting(True, "change batch_size_s while it runs")


@dataclass(frozen=True)
class Config:
    """All settings of one job."""

    input: InputConfig = field(default_factory=InputConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    job: JobConfig = field(default_factory=JobConfig)
    control: ControlConfig = field(default_factory=ControlConfig)

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def padded_s(self) -> float:
        """`batch.batch_size_s`, or what suits the device where that is 0, in seconds.

        A CPU is as fast with batches of 30 s as with larger ones, and small ones of like length
        are padded less.
        """
        suited = _PADDED_S[self.engine.device.split(":")[0]]
        return self.batch.batch_size_s or max(suited, self.engine.max_single_segment_time / 1000)


SECTIONS: dict[str, type[Any]] = {
    "input": InputConfig,
    "engine": EngineConfig,
    "batch": BatchConfig,
    "job": JobConfig,
    "control": ControlConfig,
}
_PADDED_S = {"cpu": 30.0, "cuda": 300.0}
_SECTION_OF_LEAF = {leaf.name: name for name, cls in SECTIONS.items() for leaf in fields(cls)}


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


def _validate(config: Config) -> None:
    engine, job = config.engine, config.job
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
        config.input.max_duration_s > 0,
        f"input.max_duration_s is {config.input.max_duration_s}: use a time above 0 seconds.",
    )
    _require(
        config.batch.batch_size_s == 0 or config.batch.batch_size_s >= 1.0,
        f"batch.batch_size_s is {config.batch.batch_size_s}: use at least 1 second, or 0 (auto).",
    )
    _require(
        job.stages in ("auto", "fused", "split"),
        f'job.stages is "{job.stages}": use "auto", "fused" or "split".',
    )
    longest_s = engine.max_single_segment_time / 1000
    _require(
        not engine.vad_model or config.padded_s >= longest_s,
        f"batch.batch_size_s is {config.batch.batch_size_s:g}, less than one segment of "
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
    _check_control(config.control, job.num_actors)
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


def _checked(path: str, annotation: Any, value: Any) -> Any:
    """`value` as the leaf's type, or a ConfigError that names it."""
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation is str and value is None:
        return ""
    if typing.get_origin(annotation) is not None:
        if isinstance(value, Mapping):
            return dict(cast(Mapping[str, Any], value))
    elif isinstance(value, annotation) and not (annotation is int and isinstance(value, bool)):
        return value
    expected = "a mapping" if typing.get_origin(annotation) else annotation.__name__
    raise ConfigError(f"{path} is {reprlib.repr(value)}: it takes {expected}.")


def resolve_name(name: str) -> tuple[str, str]:
    """`batch_size_s` or `batch.batch_size_s` to its section and leaf.

    Raises:
        ConfigError: no such setting; the nearest name is offered.
    """
    section, _, leaf = name.rpartition(".")
    if leaf in _SECTION_OF_LEAF and section in ("", _SECTION_OF_LEAF[leaf]):
        return _SECTION_OF_LEAF[leaf], leaf
    known = [*_SECTION_OF_LEAF, *(f"{s}.{leaf}" for leaf, s in _SECTION_OF_LEAF.items())]
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        f'; did you mean "{near[0]}"?' if near else f": the settings are {', '.join(known[:20])}."
    )
    raise ConfigError(f'there is no setting "{name}"{hint}')


def with_settings(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with leaves replaced, named alone or by their full path."""
    changes: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, leaf = resolve_name(name)
        annotation = typing.get_type_hints(SECTIONS[section])[leaf]
        changes.setdefault(section, {})[leaf] = _checked(f"{section}.{leaf}", annotation, value)
    sections = {name: replace(getattr(config, name), **leaves) for name, leaves in changes.items()}
    return replace(config, **sections)


def load_config(
    path: str | Path | None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    base: Config | None = None,
) -> Config:
    """The defaults (or `base`), then a YAML file, then `section.leaf=value`, then single values.

    They are checked once, all together: each may need another.

    Raises:
        ConfigError: the file cannot be read or is not a tree of known settings.
    """
    settings: dict[str, Any] = {}
    flags = flags or {}
    if path is not None:
        try:
            tree: Any = read_yaml(Path(path)) or {}
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}.") from error
        except ValueError as error:
            raise ConfigError(f"{path} is not YAML: {error}.") from error
        if not isinstance(tree, dict) or not all(
            isinstance(leaves, dict) for leaves in cast(dict[str, Any], tree).values()
        ):
            raise ConfigError(f"{path} must hold sections of settings: {', '.join(SECTIONS)}.")
        for section, leaves in cast(dict[str, dict[str, Any]], tree).items():
            settings.update({f"{section}.{leaf}": value for leaf, value in leaves.items()})
    for assignment in sets:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigError(f'--set {redacted(name)}: write it as "section.setting=value".')
        try:
            value = parse_yaml(text) if text.strip() else ""
        except ValueError as error:
            raise ConfigError(f"--set {name}: the value is not YAML.") from error
        settings[".".join(resolve_name(name.strip()))] = value
    settings.update({".".join(resolve_name(name)): value for name, value in flags.items()})
    return with_settings(base or Config(), settings)


def to_dict(config: Config) -> dict[str, dict[str, Any]]:
    """The tree as plain dictionaries, ready for YAML or JSON."""
    return {
        name: {
            leaf.name: dict(cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
            for leaf in fields(section)
            for value in [getattr(section, leaf.name)]
        }
        for name, section in ((name, getattr(config, name)) for name in SECTIONS)
    }


def deciding_settings(config: Config) -> dict[str, Any]:
    """The settings that transcripts hang on: what a resumed run must match.

    Without secrets: they are written to the output, and another token is no other transcript.
    """
    tree = redacted_settings(to_dict(config))
    return {
        f"{name}.{leaf.name}": tree[name][leaf.name]
        for name, cls in SECTIONS.items()
        for leaf in dataclasses.fields(cls)
        if leaf.metadata["decides"]
    }


def fingerprint(config: Config) -> str:
    """Twelve hex digits that are equal exactly for settings that give equal transcripts."""
    canonical = json.dumps(deciding_settings(config), sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]

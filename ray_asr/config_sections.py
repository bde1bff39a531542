"""The sections of the settings' tree: each leaf with its default, its meaning and its unit.

Knows nothing of how settings are loaded or checked (config, config_checks), of Ray or of FunASR.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    spk_model: str = setting("", 'speaker model (cam++), "" for none', decides_text=True)
    hub: str = setting("ms", "where named models come from: ms or hf", decides_text=True)
    model_revision: str = setting("master", "revision of named models", decides_text=True)
    offline: bool = setting(False, "named models as they are on the nodes; no hub is asked")
    language: str = setting("", "language given to the model", decides_text=True)
    hotword: str = setting(
        "",
        "words to favour, by blanks, or a list of them: a .txt file or an address",
        decides_text=True,
    )
    use_itn: bool = setting(
        False, "digits and marks where the model writes them (SenseVoice)", decides_text=True
    )
    sentence_timestamp: bool = setting(
        False, "segments end where punctuation does; so they do with spk_model", decides_text=True
    )
    preset_spk_num: int = setting(
        0, "speakers in each recording; 0: as many as are heard", "speakers", decides_text=True
    )
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


# The settings that name a model each, in the order in which FunASR would call them.
MODEL_KINDS = ("model", "vad_model", "punc_model", "spk_model")


@dataclass(frozen=True)
class BatchConfig:
    """How much is recognized in one call of the model."""

    batch_size_s: float = setting(
        0.0, "padded audio in one model call; 0: 120 on a CPU (30 in fp32), 300 on a GPU", "s"
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


_PADDED_S = {"cpu": 120.0, "cuda": 300.0}
_PADDED_FP32_S = 30.0


def padded_seconds(engine: EngineConfig, batch: BatchConfig) -> float:
    """`batch.batch_size_s`, or what suits the device where that is 0, in seconds.

    A CPU is as fast with batches of 120 s as with larger ones (in float32, which computes padding
    too, with 30 s), and small ones of like length are padded less.
    """
    device = engine.device.split(":")[0]
    in_float32 = device == "cpu" and engine.precision == "fp32"
    suited = _PADDED_FP32_S if in_float32 else _PADDED_S[device]
    return batch.batch_size_s or max(suited, engine.max_single_segment_time / 1000)

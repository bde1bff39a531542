"""What one loaded engine takes: memory of the host and of the GPU, and the time to load it.

Owns the measurement. Must not know Ray, Parquet, or what is planned from it.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ray_asr.config import EngineConfig
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

# Two batches of the job's usual rows: their difference is what a padded second takes.
SIZES_S = (30.0, 90.0)
_UTTERANCE_S = 5.0
# What CUDA itself takes of a GPU for each process; torch's allocator does not count it.
_CUDA_CONTEXT_GB = 0.5
_GB = 2**30


@dataclass(frozen=True, slots=True)
class MeasuredFootprint:
    """What one actor's engine takes, in GiB (2**30 bytes) and seconds.

    Attributes:
        memory_gb: of the host, with all models loaded and what any batch takes at all; the whole
            process, without what it shares with others of its kind.
        loading_gb: of the host at the most while the models are loaded: a checkpoint is read whole
            before it is a model.
        gb_per_padded_s: of the host, more for each padded second of a batch.
        gpu_memory_gb: of the GPU, with all models loaded; 0 on a CPU.
        gpu_gb_per_padded_s: of the GPU, more for each padded second of a batch; 0 on a CPU.
        load_s: of the models, in a process that had not loaded any.
        parameters: of the recognizer.
        precision: what the recognizer computes in.
    """

    memory_gb: float
    loading_gb: float
    gb_per_padded_s: float
    gpu_memory_gb: float
    gpu_gb_per_padded_s: float
    load_s: float
    parameters: int
    precision: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def measure_footprint(
    config: EngineConfig, sizes_s: Sequence[float] = SIZES_S
) -> MeasuredFootprint:
    """Load an engine, compute two batches, and see what that took.

    To be called in a process of its own: what a process has used before counts too. Where the
    kernel does not reset its high-water mark, that mark is taken for all that is needed, and a
    batch's size for nothing.

    Args:
        config: as for the engine.
        sizes_s: padded seconds of the two batches, the smaller first.

    Raises:
        ConfigError, EngineFatalError: as `FunASREngine.load`.
        BatchTooLargeError: the larger batch does not fit the device.
    """
    on_gpu = config.device.startswith("cuda")
    engine = FunASREngine(config)
    _reset_peak()
    started = time.monotonic()
    engine.load()
    load_s = time.monotonic() - started
    loading_gb = peak_memory_gb()
    engine.recognize(_batch(_UTTERANCE_S))  # what the first batch of all takes once
    loaded_gb = private_memory_gb()
    device_gb = _device_gb() if on_gpu else 0.0
    small, large = (_peaks(engine, padded_s, on_gpu) for padded_s in sizes_s)
    spread_s = sizes_s[1] - sizes_s[0]
    per_s, device_per_s = (max(0.0, (large[i] - small[i]) / spread_s) for i in (0, 1))
    held_gb = max(loaded_gb, small[0] - per_s * sizes_s[0])
    if on_gpu:
        device_gb = max(device_gb, small[1] - device_per_s * sizes_s[0]) + _CUDA_CONTEXT_GB
    return MeasuredFootprint(
        memory_gb=held_gb,
        loading_gb=loading_gb,
        gb_per_padded_s=per_s,
        gpu_memory_gb=device_gb,
        gpu_gb_per_padded_s=device_per_s,
        load_s=load_s,
        parameters=engine.parameters,
        precision=engine.precision,
    )


def _batch(padded_s: float) -> list[Waveform]:
    """Noise that adds up to so many seconds, as utterances of one length: nothing is padded."""
    count = max(1, round(padded_s / _UTTERANCE_S))
    samples = round(padded_s / count * SAMPLE_RATE_HZ)
    noise = np.random.default_rng(0)
    return [noise.normal(0, 0.1, samples).astype(np.float32) for _ in range(count)]


def _peaks(engine: FunASREngine, padded_s: float, on_gpu: bool) -> tuple[float, float]:
    """The most memory of the host and of the GPU while a batch is computed, in GiB."""
    batch = _batch(padded_s)
    gc.collect()
    _reset_peak()
    if on_gpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    engine.recognize(batch)
    if (speakers := engine.speakers()) is not None:
        speakers.voices(batch)
    return peak_memory_gb(), _device_peak_gb() if on_gpu else 0.0


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # a kernel or a sandbox that does not know it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_gb() -> float:
    """The most that this process has held since the mark was reset, shared files left out."""
    return max(0.0, _status_gb("VmHWM") - _status_gb("RssFile"))


def private_memory_gb() -> float:
    """What this process holds now, in GiB; the files that it maps are shared, and left out."""
    return _status_gb("RssAnon")


def _status_gb(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next((line for line in status.splitlines() if line.startswith(f"{name}:")), "x: 0 kB")
    return int(line.split()[1]) * 1024 / _GB


def _device_gb() -> float:
    import torch

    return torch.cuda.memory_reserved() / _GB


def _device_peak_gb() -> float:
    import torch

    return torch.cuda.max_memory_reserved() / _GB

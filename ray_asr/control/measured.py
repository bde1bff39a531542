"""What was measured of a model and of a machine, as the plan reads it.

Owns the protocols only: a footprint is measured in the engine, a baseline by the tuner. Must not
know how either is measured or kept.
"""

from __future__ import annotations

from typing import Protocol


class Footprint(Protocol):
    """What one loaded actor takes; measured when a model is loaded, in GiB and seconds."""

    @property
    def memory_gb(self) -> float:
        """Of the host, with all models loaded and nothing computed."""
        ...

    @property
    def loading_gb(self) -> float:
        """Of the host, at the most while the models are loaded."""
        ...

    @property
    def gb_per_padded_s(self) -> float:
        """Of the host, more for each padded second of a batch."""
        ...

    @property
    def gpu_memory_gb(self) -> float:
        """Of the GPU, with all models loaded; 0 on a CPU."""
        ...

    @property
    def gpu_gb_per_padded_s(self) -> float:
        """Of the GPU, more for each padded second of a batch; 0 on a CPU."""
        ...

    @property
    def load_s(self) -> float:
        """From nothing to ready, in seconds."""
        ...

    @property
    def precision(self) -> str:
        """What the recognizer computes in."""
        ...


class BaselineEntry(Protocol):
    """One setting that was measured."""

    @property
    def ncpu(self) -> int:
        """Cores of each actor."""
        ...

    @property
    def actors(self) -> int:
        """Recognizing actors."""
        ...

    @property
    def batch_size_s(self) -> float:
        """Padded seconds in a batch."""
        ...

    @property
    def precision(self) -> str:
        """What it computed in."""
        ...

    @property
    def stages(self) -> str:
        """`fused` or `split`."""
        ...

    @property
    def x_real_time(self) -> float:
        """Seconds of audio a second."""
        ...


class Baseline(Protocol):
    """What was measured before on this hardware with this model."""

    def best(self) -> BaselineEntry:
        """The fastest setting."""
        ...

    def steady_best(self) -> float:
        """That setting's seconds of audio a second in a long job."""
        ...

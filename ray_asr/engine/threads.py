"""Compute threads of an engine's process: set before the libraries start, and kept.

Owns `ncpu` for every library that would otherwise count the machine's cores. Must not know models.
"""

from __future__ import annotations

import contextlib
import os

# Read once when each library is loaded; a Ray worker gets them from its runtime environment.
# pyarrow takes OMP_NUM_THREADS for its own pool too.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
_INTEROP_THREADS = 1


def thread_environment(ncpu: int) -> dict[str, str]:
    """The environment of a process that may use `ncpu` cores."""
    environment = {name: str(ncpu) for name in _VARIABLES}
    # A waiting OpenMP thread would otherwise spin on a core that was not granted for long.
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return environment


def limit_threads(ncpu: int) -> None:
    """Hold this process to `ncpu` compute threads, whatever started it.

    To be called before anything is loaded: it completes the environment for libraries that are
    imported later, and sets torch's two kinds of threads. A variable that is set to less stays.

    onnxruntime reads no variable. The one model here that uses it, FunASR's `silero-vad` with
    `silero_onnx`, opens its session with one thread.
    """
    for name, value in thread_environment(ncpu).items():
        present = os.environ.get(name, "")
        if name not in _VARIABLES or not present.isdecimal() or int(present) > ncpu:
            os.environ[name] = value
    import torch

    if torch.get_num_interop_threads() > _INTEROP_THREADS:
        with contextlib.suppress(RuntimeError):  # once such work has run it cannot be changed
            torch.set_num_interop_threads(_INTEROP_THREADS)
    keep_torch_threads(ncpu)


def keep_torch_threads(ncpu: int) -> None:
    """Hold torch to `ncpu` threads in one operation, whatever a model has set meanwhile."""
    import torch

    if torch.get_num_threads() != ncpu:
        torch.set_num_threads(ncpu)

"""Compute threads of an engine's process: set before the libraries start, and kept.

Owns `ncpu` for every library that would otherwise count the machine's cores. Must not know models.
"""

from __future__ import annotations

# Read once when each library is loaded; a Ray worker gets them from its runtime environment.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def thread_environment(ncpu: int) -> dict[str, str]:
    """The environment of a process that may use `ncpu` cores."""
    environment = {name: str(ncpu) for name in _VARIABLES}
    # A waiting OpenMP thread would otherwise spin on a core that was not granted for long.
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return environment

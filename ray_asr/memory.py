"""Memory that a process no longer uses, given back to the machine.

Owns how its allocators are told to. Must not know what used it.
"""

from __future__ import annotations

import contextlib
import ctypes

import pyarrow as pa


def give_back_memory() -> None:
    """Have the allocators of C and of Arrow let go of free pages, which they keep otherwise.

    What comes and goes in other sizes leaves holes that add up over a long job.
    """
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)

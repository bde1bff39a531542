"""How full the memory is that an engine computes in.

Owns the question to the operating system or the GPU. Must not know models, or what is done about
it.
"""

from __future__ import annotations

import psutil


def memory_share(device: str) -> float:
    """How much of the memory of `device` was taken at the most since the last call, 0 to 1.

    On a CPU it is what the whole machine has taken now.
    """
    if device == "cpu":
        return psutil.virtual_memory().percent / 100
    import torch

    free, total = torch.cuda.mem_get_info()
    share = taken_share(
        free, total, torch.cuda.memory_reserved(), torch.cuda.max_memory_allocated()
    )
    torch.cuda.reset_peak_memory_stats()
    return share


def taken_share(free: int, total: int, reserved: int, peak: int) -> float:
    """The share of a GPU's memory that was needed at the most.

    What torch's allocator keeps for itself and does not use counts as free: it is used again before
    more is asked for.

    Args:
        free: bytes that the driver could still give.
        total: bytes that there are.
        reserved: bytes that this process's allocator holds.
        peak: bytes of them that were in use at the same time.
    """
    others = total - free - reserved
    return min(1.0, max(0.0, (others + peak) / total))

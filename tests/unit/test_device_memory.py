"""How full a device's memory is."""

from __future__ import annotations

import psutil
import pytest

from ray_asr.engine.device_memory import memory_share, taken_share

GB = 2**30


def test_on_a_cpu_it_is_the_machines() -> None:
    assert memory_share("cpu") == pytest.approx(psutil.virtual_memory().percent / 100, abs=0.1)


@pytest.mark.parametrize(
    ("free", "reserved", "peak", "share"),
    [
        (80, 0, 0, 0.0),
        (20, 60, 60, 0.75),  # all that the allocator holds was in use
        (20, 60, 20, 0.25),  # most of it was not
        (10, 20, 20, 0.875),  # 50 are another process's
        (0, 80, 80, 1.0),
    ],
)
def test_on_a_gpu_what_the_allocator_only_keeps_counts_as_free(
    free: int, reserved: int, peak: int, share: float
) -> None:
    assert taken_share(free * GB, 80 * GB, reserved * GB, peak * GB) == pytest.approx(share)

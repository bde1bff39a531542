"""How large a batch is at the start, how far it may change, and how many are handed over at once.

Owns the choice among configuration, baseline and memory, and how long a chunk is. Must not know Ray
or actors' numbers.
"""

from __future__ import annotations

from ray_asr.control.case import Case
from ray_asr.control.measured import Footprint
from ray_asr.errors import PlanError

# A CPU is hardly faster with more than at the start (docs/performance.md); the double fits every
# chunk of rows in the middle of a job.
_MOST_GROWTH = {"cpu": 2.0, "cuda": 4.0}
# Handing a chunk over costs the same whatever it holds; a long one keeps others waiting.
_CHUNK_S = 240.0
_LEAST_IN_A_CHUNK, _MOST_IN_A_CHUNK = 2, 4


def batches_in_a_chunk(batch_s: float) -> int:
    """How many batches an actor is given at once: two to four, about four minutes of audio.

    Args:
        batch_s: padded seconds of a batch.
    """
    return max(_LEAST_IN_A_CHUNK, min(_MOST_IN_A_CHUNK, int(_CHUNK_S / batch_s)))


def batch_at_start(case: Case) -> float:
    """Padded seconds in the first batches.

    Raises:
        PlanError: memory does not hold the model and such a batch.
    """
    config, reasons = case.config, case.reasons
    if config.batch.batch_size_s:
        start_s, reason = config.batch.batch_size_s, "as batch.batch_size_s says"
    elif case.entry is not None:
        start_s = max(case.entry.batch_size_s, case.longest_s)
        reason = "the fastest in the baseline"
    elif case.device == "cpu":
        start_s, reason = _suits_a_cpu(case)
    else:
        start_s, reason = config.padded_s, "it fills a GPU"
    reasons["batch_size_s"] = reason
    footprint = case.footprint
    if footprint is None:
        return start_s
    room_s = _room_s(case, footprint, case.largest_gb())
    if start_s <= room_s:
        return start_s
    if config.batch.batch_size_s or room_s < case.longest_s:
        least_s = config.batch.batch_size_s or case.longest_s
        raise PlanError(_too_little_memory(case, footprint, least_s))
    reasons["batch_size_s"] = f"what memory holds beside the model, less than {start_s:g} s"
    return _whole(room_s)


def _suits_a_cpu(case: Case) -> tuple[float, str]:
    """What `padded_seconds` says, or half of it, which is little slower, where more actors fit."""
    whole_s = case.config.padded_s
    half_s = max(whole_s / 2, case.longest_s)
    ncpu = max(1, case.config.engine.ncpu)
    if case.fit(ncpu, half_s, 0) > case.fit(ncpu, whole_s, 0) > 0:
        return half_s, f"memory holds more actors so than with {whole_s:g} s"
    return whole_s, "a CPU is as fast as with more"


def batch_bounds(case: Case, start_s: float, ncpu: int) -> tuple[float, float]:
    """The least and the most padded seconds of a batch."""
    reasons = case.reasons
    if not case.config.control.vary_batch:
        reasons["least_batch_s"] = reasons["most_batch_s"] = "control.vary_batch is false"
        return start_s, start_s
    reasons["least_batch_s"] = "the longest segment has to fit"
    growth = _MOST_GROWTH[case.device]
    reasons["most_batch_s"] = f"{growth:g} times the start, as much as a trial is worth"
    most_s = growth * start_s
    if case.footprint is not None:
        room_s = _room_s(case, case.footprint, case.least_gb_each(ncpu, start_s))
        if room_s < most_s:
            reasons["most_batch_s"] = "what memory holds where all actors have one in work"
            most_s = max(start_s, _whole(room_s))
    return min(start_s, case.longest_s), most_s


def _room_s(case: Case, footprint: Footprint, host_gb: float) -> float:
    """The largest batch that memory holds, in padded seconds.

    Args:
        case: for the GPU's memory.
        footprint: what the model takes.
        host_gb: of the host, for one actor, in GiB; 0: not known.
    """
    rooms = [float("inf")]
    if host_gb:
        rooms.append(_over(host_gb - footprint.memory_gb, footprint.gb_per_padded_s))
    if gpu_gb := case.gpu_gb():
        rooms.append(_over(gpu_gb - footprint.gpu_memory_gb, footprint.gpu_gb_per_padded_s))
    return min(rooms)


def _whole(seconds: float) -> float:
    return float(int(seconds + 1e-6))


def _over(room_gb: float, gb_per_s: float) -> float:
    if room_gb <= 0:
        return 0.0
    return room_gb / gb_per_s if gb_per_s > 0 else float("inf")


def _too_little_memory(case: Case, footprint: Footprint, batch_s: float) -> str:
    """Which memory is too small for an actor, by how much, and what to do."""
    wanted_gb, largest_gb = case.actor_gb(batch_s), case.largest_gb()
    if wanted_gb > largest_gb > 0:
        return (
            f"an actor takes {wanted_gb:.2f} GB with a batch of {batch_s:g} padded seconds, and "
            f"the largest node has {largest_gb:.2f} GB for actors: lower batch.batch_size_s, or "
            "add larger nodes."
        )
    wanted_gb = footprint.gpu_memory_gb + footprint.gpu_gb_per_padded_s * batch_s
    share = min(1.0, case.num_gpus)
    holds = int(case.gpu_gb() / share / wanted_gb)
    if holds:
        advice = f"set job.num_gpus to {1 / holds:.4g}, since a GPU holds {holds} of them"
    else:
        advice = "lower batch.batch_size_s, or use larger GPUs"
    return (
        f"an actor takes {wanted_gb:.2f} GB of a GPU with a batch of {batch_s:g} padded seconds, "
        f"and job.num_gpus={case.num_gpus:g} is {case.gpu_gb():.2f} GB of the smallest: {advice}."
    )

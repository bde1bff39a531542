"""What a scaling policy is told and what it answers.

Owns the two dataclasses between the policy and whoever asks it (Ray Data's autoscaler, the
simulator). Must not know Ray.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signals:
    """One pool of actors at one moment of a run.

    Attributes:
        time_s: since the run began, in seconds.
        running: actors that have loaded and take work.
        pending: actors asked for that have not loaded yet.
        lost: actors (or their nodes) that died since the run began, cumulative.
        audio_done_s: audio delivered by the pool so far, cumulative, in seconds of audio.
        audio_left_s: audio not yet delivered, in seconds of audio; None where it is not known.
        queued: chunks of rows that wait in front of the pool.
        in_flight: chunks of rows that actors of the pool have.
        load_s: how long an actor takes from being asked for until it takes work, in seconds; None
            until one did.
        node_s: how long a new node takes until actors can start on it, in seconds; 0 where no
            nodes come or go.
        room: actors that the nodes that are there could hold in all, by cores and GPUs granted.
        nodes: that are there and could hold actors; 0 where that is not known.
        cpu_percent: of all cores of the pool's nodes, 0 to 100; None where it is not sampled.
        reserve_percent: of all cores, what is to be kept for the system and for reading.
        granted_percent: of all cores, what the running actors were granted, above 100 where there
            are more of their threads than cores; None where that is not known.
        gpu_percent: of the pool's GPUs, 0 to 100; None without one.
        gpu_memory_share: of the fullest of the pool's GPUs, 0 to 1; None without one.
        memory_share: of the fullest of the pool's nodes, 0 to 1; None where it is not sampled.
        chunks_done: chunks that the pool has delivered so far; None where they are not counted.
        busy_s: time that actors spent on the chunks delivered so far, cumulative and summed over
            the actors, in seconds; None where it is not counted. It says what an actor is worth
            sooner than deliveries do, which come in whole chunks.
        idle: of the running actors, those without a chunk.
        all_read: whether every chunk that will ever come is queued, in flight or done; None where
            that is not known.
    """

    time_s: float
    running: int
    pending: int
    lost: int
    audio_done_s: float
    audio_left_s: float | None
    queued: int
    in_flight: int
    load_s: float | None = None
    node_s: float = 0.0
    room: int = 0
    nodes: int = 0
    cpu_percent: float | None = None
    reserve_percent: float = 0.0
    granted_percent: float | None = None
    gpu_percent: float | None = None
    gpu_memory_share: float | None = None
    memory_share: float | None = None
    chunks_done: int | None = None
    busy_s: float | None = None
    idle: int = 0
    all_read: bool | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """How many actors there should be, running and pending together, and why.

    Attributes:
        target: actors.
        reason: in one clause, for the log and the report.
    """

    target: int
    reason: str

"""When the actors of a measured run had loaded their models: the start of its clock.

Owns the word from the actors to the tuner. Must not know what is measured. A clock that started
with the job would measure loading, which a long job pays once and a sample always.
"""

from __future__ import annotations

import time
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_asr.config import EngineConfig
from ray_asr.engine.protocol import Engine
from ray_asr.job.pipeline import MakeEngine


class _Board:
    """Where engines say that they have loaded; it is this process's clock that counts."""

    def __init__(self) -> None:
        self._last = 0.0
        self._load_s = 0.0

    def loaded(self, load_s: float) -> None:
        self._last = time.time()
        self._load_s = max(self._load_s, load_s)

    def read(self) -> tuple[float, float]:
        """When the last one had loaded (Unix time), and the longest load in seconds."""
        return self._last, self._load_s


def ready_board() -> Any:
    """A board beside this process, taking no core."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()


def noting(board: Any, make_engine: MakeEngine, config: EngineConfig) -> Engine:
    """What `make_engine` makes of `config`, saying so on the board when it has loaded."""
    return cast(Engine, _Noting(board, make_engine(config)))


class _Noting:
    """An engine, with `load` watched."""

    def __init__(self, board: Any, engine: Engine) -> None:
        self._board = board
        self._engine = engine

    def load(self) -> None:
        started = time.monotonic()
        self._engine.load()
        ray.get(self._board.loaded.remote(time.monotonic() - started))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

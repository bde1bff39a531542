"""A Ray of one's own without the processes that only other nodes or a dashboard need.

Each process of Ray's takes about 1 % of a core though it does nothing (the main thread of a worker
wakes a hundred times a second), and a second or two of CPU to start: on two cores that is what the
models lack. Owns which of them are left out, and what answers in the place of those that Ray Data
talks to. Must not know what runs there. A Ray that others have started stays as it is.

Read in Ray 2.60. Where a later one has no such part, its processes are started as ever.
"""

from __future__ import annotations

import importlib
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import node, worker

# Nobody asks a Ray without a dashboard for its metrics.
SYSTEM_CONFIG = {"enable_metrics_collection": False}

# They read the logs of workers for a driver, and ours wants none (`log_to_driver`); ask for more
# nodes; and answer questions about the cluster.
_LEFT_OUT = ("start_log_monitor", "start_monitor", "start_api_server")

# The node that was started here.
_own: weakref.ref[Any] | None = None


@contextmanager
def fewer_processes() -> Iterator[None]:
    """While a Ray is started by this process: it gets what it needs here, and keeps to that."""
    global _own
    theirs = {name: getattr(node.Node, name) for name in _LEFT_OUT if hasattr(node.Node, name)}
    for name in theirs:
        setattr(node.Node, name, _left_out)
    try:
        yield
    finally:
        for name, method in theirs.items():
            setattr(node.Node, name, method)
    _own = weakref.ref(worker._global_node)
    for module, name, stand_in in _STAND_INS:
        _answer_for(importlib.import_module(f"ray.data._internal.{module}"), name, stand_in)


def _left_out(*_: Any, **__: Any) -> None:
    pass


def _answer_for(module: Any, name: str, stand_in: Callable[..., Any]) -> None:
    """Have `stand_in` answer instead of what `name` starts, as long as the Ray is one's own."""
    theirs = getattr(module, name, None)
    if theirs is None or hasattr(theirs, "_is_ray_asr"):
        return

    def ours_or_theirs(*args: Any, **named: Any) -> Any:
        used = worker._global_node
        is_own = used is not None and _own is not None and _own() is used
        return (stand_in if is_own else theirs)(*args, **named)

    ours_or_theirs._is_ray_asr = True  # pyright: ignore[reportFunctionMemberAccess]
    setattr(module, name, ours_or_theirs)


class _Method:
    """A method of an actor that is not there.

    Args:
        answer: what it would give; None where nobody asks for it.
    """

    def __init__(self, answer: Callable[..., Any] | None = None) -> None:
        self._answer = answer

    def remote(self, *args: Any, **named: Any) -> Any:
        """A reference to the answer, as a call of an actor gives it."""
        return None if self._answer is None else ray.put(self._answer(*args, **named))


class _Books:
    """Ray Data's books, which a dashboard shows: none are kept."""

    gen_dataset_id = _Method(lambda: uuid.uuid4().hex)

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Method()


class _Coordinator:
    """Shares a cluster among several drivers: here one driver has all of one node.

    Ray's own says so only when it is asked a second time, and until then Ray Data takes one block
    from those who read.
    """

    def __init__(self, *_: Any, **__: Any) -> None:
        self._all: dict[str, dict[str, float]] = {}

    def request_resources(self, *_: Any, **__: Any) -> None:
        """There is no more to be had."""

    cancel_request = request_resources

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        """What each node has, by its id."""
        if not self._all:
            self._all = {of["NodeID"]: of["Resources"] for of in ray.nodes() if of["Alive"]}
        return self._all


def _as_before(_: Sequence[str]) -> dict[str, str]:
    return {}


class _Tracker:
    """Knows on which node an actor is after a restart: here on the one where it was.

    It travels to the actors, which say where they are.
    """

    update_actor_location = _Method()
    get_actor_locations = _Method(_as_before)


_TRACKER = "get_or_create_actor_location_tracker"
_COORDINATOR = "DefaultAutoscalingCoordinator"
_STAND_INS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("stats", "get_or_create_stats_actor", _Books),
    ("cluster_autoscaler.rate_based_cluster_autoscaler", _COORDINATOR, _Coordinator),
    ("cluster_autoscaler.default_cluster_autoscaler_v2", _COORDINATOR, _Coordinator),
    ("cluster_autoscaler.placement_group_cluster_autoscaler", _COORDINATOR, _Coordinator),
    ("execution.operators.actor_pool_map_operator", _TRACKER, _Tracker),
    ("utils.cached_ray_internals", _TRACKER, _Tracker),
)
